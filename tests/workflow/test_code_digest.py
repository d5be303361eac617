"""What of a source file is its code: code.smk on small files, and on the files of this project."""

import ast
import json
import os
import time
from types import SimpleNamespace

import pytest

from experiments import ROOT, code_rules

PROGRAM = '''"""A module."""
import os
from collections.abc import Mapping
from spatial_reduction.runtime.log import say

LIMIT = 3


class Pace:
    """A class."""

    took: float = 0

    def tell(self, name):
        """Say a name."""
        best = {}
        say(os.path.join(name, str(LIMIT + 1)))
'''


@pytest.fixture
def rules():
    """All that code.smk defines, as if snakemake had just been started in this folder."""

    def fresh(checkout=ROOT):
        return SimpleNamespace(**code_rules(checkout))

    return fresh


@pytest.fixture
def digest(rules, tmp_path):
    def of(text, name="module.py"):
        path = tmp_path / name
        path.write_text(text)
        return rules().read_source(str(path))[0]

    return of


HARMLESS = [
    ('"""A module."""', '"""Another docstring,\n\nof two lines."""'),
    ('        """Say a name."""\n', ""),
    ("LIMIT = 3", "# A comment.\nLIMIT = 3  # and another"),
    ("LIMIT = 3", "LIMIT: int = 3"),
    ("LIMIT = 3", "LIMIT = (\n    3\n)"),
    ("(self, name):", "(self, name: str | os.PathLike) -> None:"),
    ("best = {}", "best: Mapping[str, float] = {}"),
    ("took: float = 0", "took: int = 0"),
    ("import os\n", "import os\nfrom typing import Any\n"),
    ("import os\nfrom collections.abc import Mapping\n", "from __future__ import annotations\n\nimport os\n"),
    ("        say(", "\n        say("),
]
CHANGES = [
    ("LIMIT = 3", "LIMIT = 3.0"),
    ("LIMIT + 1", "LIMIT - 1"),
    ("LIMIT + 1", "LIMIT + True"),
    ("os.path.join", "os.path.commonpath"),
    ("took: float = 0", "took = 0"),  # no field of a dataclass any more
    ("took: float = 0", "took: ClassVar[float] = 0"),
    ("import os\n", "import ntpath as os\n"),
    ("best = {}", "best = None"),
    ("class Pace:", "@dataclass\nclass Pace:"),
    ("(self, name):", "(self, name=None):"),
    ("str(LIMIT + 1)", "f'{LIMIT + 1}'"),
    ("        best = {}\n", ""),
]


@pytest.mark.parametrize(("old", "new"), HARMLESS)
def test_what_computes_nothing_leaves_the_digest(digest, old, new):
    changed = PROGRAM.replace(old, new)
    assert changed != PROGRAM
    assert digest(changed) == digest(PROGRAM)


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_what_computes_something_else_changes_the_digest(digest, old, new):
    changed = PROGRAM.replace(old, new)
    assert changed != PROGRAM
    assert digest(changed) != digest(PROGRAM)


def test_the_names_that_a_package_hands_on_are_its_code(digest):
    imports = "from spatial_reduction.runtime.log import say\n"
    assert digest(imports, "__init__.py") != digest("", "__init__.py")


def test_no_two_modules_of_the_project_have_one_digest(rules):
    read = rules().read_source
    files = sorted((ROOT / "scripts").rglob("*.py"))
    digests = {}
    for path in files:
        digests.setdefault(read(str(path))[0], []).append(path)
    empty = [path for path in files if not [n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.Expr)]]
    assert sorted(len(paths) for paths in digests.values()) == sorted(
        [1] * (len(files) - len(empty)) + [len(empty)] * bool(empty)
    )


def test_a_job_and_a_plan_are_told_their_code_in_time(rules, tmp_path, monkeypatch):
    """Of the fastest of three: another process may hold this one up."""
    monkeypatch.chdir(tmp_path)
    told, seconds = set(), []
    for _attempt in range(4):  # the first one fills the cache
        defined = rules()
        begun = time.perf_counter()
        told.add(defined.code_digest("train_model"))
        job = time.perf_counter() - begun
        for _ in range(10_000):
            defined.code_digest("train_model")
        seconds.append((job, time.perf_counter() - begun))
    assert len(told) == 1
    assert min(job for job, _ in seconds[1:]) < 0.1
    assert min(plan for _, plan in seconds[1:]) < 1


def test_a_cache_is_used_and_a_changed_file_is_read_again(rules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts/spatial_reduction").mkdir(parents=True)
    (tmp_path / "scripts/spatial_reduction/__init__.py").touch()
    (tmp_path / "workflow/rules").mkdir(parents=True)
    (tmp_path / "workflow/rules/code.smk").write_text("version 1")
    script, module = tmp_path / "scripts/draw.py", tmp_path / "scripts/spatial_reduction/a.py"
    script.write_text("from spatial_reduction.a import f\nf()\n")
    module.write_text("def f(): return 1\n")
    first = rules(tmp_path).code_digest("draw")
    assert first.startswith("draw ")
    cache = tmp_path / ".snakemake/code_digests.json"
    known = json.loads(cache.read_text())
    defined = rules(tmp_path)
    defined.source.function = None  # what is in the cache is not read
    assert defined.code_digest("draw") == first
    (tmp_path / "workflow/rules/code.smk").write_text("version 2")
    updated = rules(tmp_path)
    updated.source.function = None
    with pytest.raises(TypeError):  # what other rules told is asked again
        updated.code_digest("draw")
    assert set(known) == {
        "told_by",
        "scripts/draw.py",
        *(f"scripts/spatial_reduction/{n}.py" for n in ("__init__", "a")),
    }
    module.write_text("def f(): return 2\n")
    os.utime(module, ns=(1, 1))
    assert rules(tmp_path).code_digest("draw") != first
    module.write_text("def f(): return 1\n")
    cache.write_text("{")
    assert rules(tmp_path).code_digest("draw") == first

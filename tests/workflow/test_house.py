import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments import ROOT, RULES, code_rules, read_directives

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
LIBRARY_FOLDER = ROOT / "scripts/spatial_reduction"
LIBRARY = sorted(LIBRARY_FOLDER.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# They print, or work beside the run: without output, so always run.
PRINTS = {"preflight", "status", "preview", "check", "set_up_site"}

# Import name or conda name -> name in pyproject.toml, where they differ. seaborn brings matplotlib.
PACKAGES = {"pytorch": "torch", "PIL": "pillow", "yaml": "pyyaml", "skimage": "scikit-image", "matplotlib": "seaborn"}
PACKAGES |= {"huggingface_hub": "huggingface-hub"}

# Prints {script: {"modules": files of the library that it loads, or will inside a function, "packages": all top-level
# modules so far}}.
IMPORT_ALL = """
import ast, importlib, json, sys

def library():
    return [module for name, module in sys.modules.items() if name.split(".")[0] == "spatial_reduction"]

def import_later_ones():
    before = 0
    while len(library()) > before:
        before = len(library())
        for module in library():
            for node in ast.walk(ast.parse(open(module.__file__).read())):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("spatial_reduction."):
                    importlib.import_module(node.module)

loaded = {}
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("spatial_reduction")]:
        del sys.modules[name]
    importlib.import_module(script)
    packages = sorted({name.split(".")[0] for name in sys.modules})
    import_later_ones()
    loaded[script] = {"modules": [module.__file__ for module in library()], "packages": packages}
print(json.dumps(loaded))
"""


ANALYSIS = [name for name in RULES if "envs/analysis.yaml" in read_directives(name)["conda"]]


def requirements(lines):
    """Return {name as in pyproject.toml: its version specifier}."""
    parsed = [Requirement(line) for line in lines]
    return {PACKAGES.get(entry.name, canonicalize_name(entry.name)): entry.specifier for entry in parsed}


def read_environment(name):
    return requirements(yaml.safe_load((ROOT / "envs" / name).read_text())["dependencies"])


@pytest.fixture(scope="module")
def loaded():
    """Import all scripts in one process, those that must do without torch first."""
    names = sorted((path.stem for path in SCRIPTS), key=lambda name: (name not in ANALYSIS, name))
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT / "scripts")
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def library():
    """The function `library` of code.smk."""
    return code_rules(ROOT)["library"]


# Modules whose tests stand with those of another module, which they are a part of.
TESTED_WITH = {
    "analysis/caveats": "analysis/test_verdict.py",
    "cluster/check_node": "workflow/test_preflight.py",
    "cluster/check_requests": "workflow/test_preflight.py",
    "cluster/preview": "workflow/test_beside_a_run.py",
    "cluster/slurm_site": "workflow/test_preflight.py",
    "cluster/watch_jobs": "slurm/test_managed.py",
    "data/labels": "metrics/test_overlap.py",
    "data/pair": "data/test_layouts.py",
    "data/picture_file": "data/test_matrix.py",
    "data/shown_picture": "data/test_matrix.py",
    "report/examples_figure": "report/test_curves.py",
    "report/ladder_figure": "workflow/test_pipeline.py",
    "report/sources_figure": "report/test_render_sources.py",
    "report/verdict_figures": "report/test_curves.py",
}


def test_each_module_has_its_test_file_by_name():
    modules = {str(path.relative_to(LIBRARY_FOLDER).with_suffix("")) for path in LIBRARY if path.stem != "__init__"}
    own = {name for name in modules if (ROOT / "tests" / name).with_name(f"test_{Path(name).name}.py").is_file()}
    assert modules - own == set(TESTED_WITH)
    assert all((ROOT / "tests" / file).is_file() for file in TESTED_WITH.values())


def script_of(rule):
    """The name of a rule's script; a figure's is its param `drawn_by`."""
    directives = read_directives(rule)
    name = re.fullmatch(r'\s+"\.\./\.\./scripts/(.+)\.py"\n', directives["script"])[1]
    return name.replace("{params.drawn_by}", *re.findall(r'drawn_by="(\w+)"', directives["params"])[:1] or [""])


def test_rules_and_scripts_have_the_same_names():
    assert {rule: script_of(rule) for rule in RULES} == {rule: rule for rule in RULES} | {
        "train_single_pass": "train_model"
    }
    assert sorted(set(RULES) - {"train_single_pass"}) == [path.stem for path in SCRIPTS]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_states_all_it_must(rule):
    needed = {"log", "conda", "script"} | (set() if rule in PRINTS else {"output", "benchmark"})
    assert needed <= set(read_directives(rule))
    assert re.match(r'    """[A-Z].+\."""\n', RULES[rule])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_its_log_and_its_benchmark_share_one_name(rule):
    directives = read_directives(rule)
    figure = re.findall(r'figure="(\w+)"', directives.get("pathvars", ""))
    for kind in ("log",) if rule in PRINTS else ("log", "benchmark"):
        written = directives[kind].replace("<figure>", *figure or [""])
        assert re.match(rf'\s+"<{kind}s>/{rule}[./]', written)


def figure_captions():
    """Return {kind of figure: the file of its caption, as the rule that draws it names it}."""
    drawn = {rule: read_directives(rule) for rule in RULES if "drawn_by" in read_directives(rule)["params"]}
    names = {rule: re.search(r'figure="([a-z_]+?)(?:_top_.*)?"', text["pathvars"])[1] for rule, text in drawn.items()}
    return {names[rule]: re.search(r'figure_files\("(.+?)"\)', drawn[rule]["output"])[1] + ".rst" for rule in drawn}


def test_a_figure_has_one_caption_in_both_reports_and_one_place_on_the_page():
    captions = figure_captions()
    assert captions == {figure: f"{figure}.rst" for figure in captions}  # where `caption` of figures.smk finds it
    page = (ROOT / "workflow/report/report.html.j2").read_text()
    assert sorted(re.findall(r'draw\("(\w+)"\)', page)) == sorted(captions)
    planned = re.search(r"def figures\(\):.*?\n\n\n", (ROOT / "workflow/rules/figures.smk").read_text(), re.DOTALL)[0]
    for figure, name in captions.items():
        assert re.search(rf'f?"{figure}(_top_.*)?"', planned), figure
        text = (ROOT / "workflow/report" / name).read_text()
        assert re.fullmatch(r"[A-Z][^{}<>`\n]+\.\n", text), name  # one paragraph of plain text


def test_every_caption_is_used():
    used = set(re.findall(r'caption="\.\./report/(.+?)"', "".join(RULES.values()))) | set(figure_captions().values())
    assert {path.name for path in (ROOT / "workflow/report").glob("*.rst")} == used


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_depends_on_the_code_of_its_own_script(rule):
    told = re.findall(r"^        code=(.+),$", read_directives(rule)["params"], re.MULTILINE)[0]
    script = script_of(rule)
    asks = {"compute_saliency": "scoring_code", "render_examples": "scoring_code"}
    asks |= dict.fromkeys(["train_model", "predict_images", "export_model"], "network_code")
    own = {"evaluate_model": "evaluation_code", "render_sources": "sources_code"}
    assert told == own.get(script, f'{asks.get(script, "code")}("{script}")')


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_whose_library_reads_models_says_what_code_they_may_run(library, path):
    sources = ["saliency.probability"] if path.stem == "compute_saliency" else []
    files = [Path(file) for file in library(path.stem, *sources)]
    # A training trusts the section `model` that it is given.
    reads = any("load_model(" in file.read_text() for file in files if file.stem not in ("model_file", "train"))
    assert ("trust_network(snakemake.params.network)" in path.read_text()) == reads


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_wiring_only(path):
    docstring, *imports, main = ast.parse(path.read_text()).body
    assert isinstance(docstring.value.value, str)
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imports)
    assert ast.unparse(main.test) == "__name__ == '__main__'"
    assert not [node for node in ast.walk(main) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]


def test_scripts_of_the_analysis_environment_import_no_torch(loaded):
    needed = {"shrink_mask", "collect_tables", "compare_arms", "plot_examples", "plot_thresholds", "write_report"}
    assert needed <= set(ANALYSIS)
    assert [name for name in ANALYSIS if {"torch", "torchvision"} & set(loaded[name]["packages"])] == []
    assert "torch" in loaded["train_model"]["packages"]


@pytest.mark.parametrize("script", [path.stem for path in SCRIPTS])
def test_the_listed_code_of_a_script_is_what_it_imports(library, loaded, script):
    listed = {str(Path(path).resolve()) for path in library(script)}
    assert listed == set(loaded[script]["modules"]) | {str(ROOT / "scripts" / f"{script}.py")}


def test_the_library_does_not_know_the_workflow():
    assert [path.name for path in LIBRARY if re.search(r"\bsnakemake\.", path.read_text())] == []


def test_module_names_say_what_is_inside():
    assert {path.stem for path in (*LIBRARY, *SCRIPTS)}.isdisjoint({"utils", "helpers", "misc"})


def test_environments_agree_with_the_project():
    bounds = requirements(PROJECT["project"]["dependencies"]) | {"python": PROJECT["project"]["requires-python"]}
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        environment = read_environment(path.name)
        assert {name: str(specifier) for name, specifier in environment.items()} == {
            name: str(bounds[name]) for name in environment
        }


@pytest.mark.parametrize("environment", ["analysis", "training"])
def test_an_environment_holds_what_its_rules_import(library, environment):
    rules = [rule for rule in RULES if f"envs/{environment}.yaml" in read_directives(rule)["conda"]]
    sources = [
        f"saliency.{path.stem}" for path in LIBRARY if path.parent.name == "saliency" and path.stem != "__init__"
    ]
    files = {
        path for rule in rules for path in library(script_of(rule), *(sources if rule == "compute_saliency" else []))
    }
    nodes = [node for path in files for node in ast.walk(ast.parse(Path(path).read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"spatial_reduction"}
    assert {PACKAGES.get(name, name) for name in packages} <= set(read_environment(f"{environment}.yaml"))


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependency-groups"]["test"]),
    ],
)
def test_every_requirement_is_one_version_that_the_project_allows(file, group):
    lines = (ROOT / file).read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; [^/@]+)?", line)] == []
    pins = {name: str(specifier).removeprefix("==") for name, specifier in requirements(lines).items()}
    assert {name: pins[name] for name, bound in requirements(group).items() if not bound.contains(pins[name])} == {}


def test_a_licence_is_named_for_every_package():
    section = (ROOT / "README.md").read_text().partition("## Licence and citation")[2].lower()
    names = {Requirement(line).name for line in PROJECT["project"]["dependencies"]} - {
        "snakemake-executor-plugin-slurm"
    }
    assert [name for name in sorted(names) if name not in section] == []


# What runs code that a file holds, hands text to a shell, or reaches the network.
BANNED = {
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "cloudpickle",
    "eval",
    "exec",
    "__import__",
    "compile",
}
BANNED |= {
    "torch.load",
    "np.load",
    "pd.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "os.chmod",
}
REACHES = {"socket", "urllib", "urllib.request", "http.client", "requests", "urlopen", "huggingface_hub"}


def named_in(path):
    """Return the modules that a file imports and the functions that it calls, as written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
            found |= {"shell=True" for keyword in node.keywords if keyword.arg == "shell"}
    return found


@pytest.mark.parametrize("path", [*LIBRARY, *SCRIPTS], ids=lambda path: path.stem)
def test_no_code_unpickles_evaluates_or_uses_a_shell_and_two_modules_reach_the_network(path):
    named = named_in(path)
    assert named & (BANNED | {"shell=True"}) == set()
    assert bool(named & REACHES) == (path.stem in ("download", "encoder_weights"))


def test_no_name_is_defined_in_two_files_of_rules():
    """They share one namespace, and the later file would win without a word."""
    files = sorted((ROOT / "workflow/rules").glob("*.smk"))
    found = [re.findall(r"^(?:def|class) (\w+)|^(\w+) = ", path.read_text(), re.MULTILINE) for path in files]
    names = [name for file in found for name in {plain or constant for plain, constant in file}]
    assert [name for name in sorted(set(names)) if names.count(name) > 1] == []


def test_tables_and_figures_of_all_chains_travel_as_one_slurm_job():
    groups = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["groups"]
    tail = {line.partition("=")[0] for line in groups if line.endswith("=tail")}
    early = {"plot_labels"}  # looked at before anything is trained
    assert tail == {name for name in RULES if re.match("plot_|measure_|collect_tables|compare_arms", name)} - early


DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(
        path
        for folder in ("config", "docs", "profiles", "workflow")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".md", ".smk", ".yaml")
    ),
]


def test_documented_commands_name_their_target_before_the_options_that_take_all_words_that_follow():
    for path in DOCUMENTS:
        for command in re.findall(r"snakemake [^`#|\\\n]*", path.read_text()):
            options = re.split(r" --(?:configfiles?|config) ", command)[1:]
            words = [word for option in options for word in re.sub(r'"[^"]*"', "", option.partition(" --")[0]).split()]
            assert all("." in word or "=" in word or word.isupper() for word in words), (path, command)

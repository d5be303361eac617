"""What a job computes, as one short text: a digest of the syntax trees of its script and of what that imports. No rules.

It is a param of every rule. Comments, docstrings, annotations, layout and the order of imports leave it as it is.
"""

import ast
import json
import platform
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256

UNCOMPUTED = {"annotation", "returns", "type_comment", "type_params", "ctx", "kind"}
MEANT = {"ClassVar", "InitVar", "KW_ONLY"}  # the annotations that a dataclass obeys


class Remembered:
    """What a function tells of files, by path, size and time of change; kept for the next start of Snakemake.

    Each job of a cluster reads these rules, and would parse 50 files.
    """

    def __init__(self, function, name):
        self.function, self.place, self.known, self.is_new = function, f".snakemake/{name}.json", None, False

    def __call__(self, path):
        if self.known is None:
            self.known = self.read()
        about = os.stat(path)
        version = [about.st_size, about.st_mtime_ns]
        if self.known.get(path, [None])[0] != version:
            self.known[path], self.is_new = [version, self.function(path)], True
        return self.known[path][1]

    def read(self):
        """Read what is kept; nothing, if that cannot be read."""
        with suppress(OSError, ValueError), open(self.place) as file:
            known = json.load(file)
            if known.pop("python") == platform.python_version():
                return known
        return {}

    def keep(self):
        """Write what is new, whole; where it cannot be written, the next start asks again."""
        if not self.is_new:
            return
        with suppress(OSError):
            os.makedirs(os.path.dirname(self.place), exist_ok=True)
            partial = f"{self.place}.{platform.node()}-{os.getpid()}"
            with open(partial, "w") as file:
                json.dump({"python": platform.python_version(), **self.known}, file)
            os.replace(partial, self.place)
        self.is_new = False


def checkout(path):
    """Return a path of this checkout, relative: a moved checkout reruns nothing."""
    return os.path.relpath(os.path.join(workflow.basedir, path))


def computed_statements(body, is_class):
    """Drop the statements that compute nothing; an annotation makes a field in a class, elsewhere a note."""
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and not is_class:
            if statement.value is None:
                continue
            statement = ast.Assign([statement.target], statement.value)
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Pass):
            yield statement


def computation(node, used, is_class=False):
    """Return what a syntax tree computes as nested lists, alike in all versions of Python; add its names to `used`."""
    if isinstance(node, list):
        if node and isinstance(node[0], ast.stmt):
            node = computed_statements(node, is_class)
        return [computation(each, used) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Name):
        used.add(node.id)
    is_meant = isinstance(node, ast.AnnAssign) and any(name in ast.unparse(node.annotation) for name in MEANT)
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    is_class = isinstance(node, ast.ClassDef) or (is_class and not is_function)
    fields = [
        (field, computation(value, used, is_class))
        for field, value in ast.iter_fields(node)
        if (field not in UNCOMPUTED or is_meant) and value is not None and value != []
    ]
    return [type(node).__name__, *fields]


def read_source(path):
    """Return [digest of what a file computes, the library modules that it imports]; an unused name is no import."""
    with open(path, encoding="utf-8") as source:
        tree = ast.parse(source.read(), path)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    used = set()
    computed = computation([node for node in tree.body if node not in imports], used)
    named = {
        (getattr(node, "module", None), alias.name, alias.asname)
        for node in imports
        for alias in node.names
        if path.endswith("__init__.py") or (alias.asname or alias.name).partition(".")[0] in used
    }
    every = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    modules = {node.module for node in every} | {
        f"{node.module}.{alias.name}" for node in every for alias in node.names
    }
    text = repr([sorted(named, key=repr), computed])
    return [
        sha256(text.encode()).hexdigest(),
        sorted(name.partition(".")[2] for name in modules if name.startswith("spatial_reduction.")),
    ]


source = Remembered(read_source, "code_digests")


@cache
def module_files(module):
    """List the files that an import of a library module runs: its own, and `__init__.py` of each package above it.

    A name that a module defines is listed as that module is.
    """
    library_folder = checkout("scripts/spatial_reduction")
    parts = [part for part in module.split(".") if part]
    folders = ["/".join([library_folder, *parts[:depth]]) for depth in range(len(parts) + 1)]
    packages = [folder for folder in folders if os.path.isdir(folder)]
    own = [f"{folder}.py" for folder in folders if os.path.isfile(f"{folder}.py")]
    return [*(f"{folder}/__init__.py" for folder in packages), *own]


@cache
def library(script, *modules):
    """List a script and the library modules that it imports, directly or not, and those that it loads by name."""
    listed = {f"{checkout('scripts')}/{script}.py", *(file for module in modules for file in module_files(module))}
    queue = list(listed)
    while queue:
        imported = {file for module in source(queue.pop())[1] for file in module_files(module)}
        queue += imported - listed
        listed |= imported
    return tuple(sorted(listed))


@cache
def code_digest(script, *modules):
    """Return the name of a script with a digest of what it and its library modules compute."""
    here = checkout("scripts")
    digests = [(os.path.relpath(path, here), source(path)[0]) for path in library(script, *modules)]
    source.keep()
    return f"{script} {sha256(repr(digests).encode()).hexdigest()[:32]}"


def code(script):
    """Return the function that tells the code of a rule; asked only of the jobs that are planned."""

    def code_of(wildcards):
        return code_digest(script)

    return code_of


def saliency_code(wildcards):
    return code_digest("compute_saliency", f"saliency.{ARMS[wildcards.arm]['reduction']['source']}")


def examples_code(wildcards):
    return code_digest("render_examples", f"saliency.{ARMS[wildcards.arm]['reduction']['source']}")


def evaluation_code(wildcards):
    """Code of an evaluation: the oracle makes the masks of `label_masked`, the arm's source those of `self_masked`."""
    reduction = ARMS[wildcards.arm]["reduction"]
    own = [f"saliency.{reduction['source']}"] if reduction["iterations"] > 1 else []
    return code_digest("evaluate_model", "saliency.oracle", *own)


def sources_code(wildcards):
    return code_digest("render_sources", *(f"saliency.{name}" for name in config["report"]["sources"]))

"""What a job computes, as one short text: a digest of the syntax trees of its script and of what that imports. No rules.

It is a param of every rule. Comments, docstrings, annotations, layout and the order of imports leave it as it is.
With `keep_code` results stay although it changed; what was kept so is noted in <results>/code.json.
"""

import ast
import importlib
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

    Each job of a cluster reads these rules, and would parse 50 files. What another version of
    Python or of these rules noted is not used.
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
            if known.pop("told_by", None) == self.told_by():
                return known
        return {}

    def told_by(self):
        with open(os.path.join(CHECKOUT, "workflow/rules/code.smk"), "rb") as rules:
            return [platform.python_version(), sha256(rules.read()).hexdigest()]

    def keep(self):
        """Write what is new, whole; where it cannot be written, the next start asks again."""
        if not self.is_new:
            return
        with suppress(OSError):
            os.makedirs(os.path.dirname(self.place), exist_ok=True)
            partial = f"{self.place}.{platform.node()}-{os.getpid()}"
            with open(partial, "w") as file:
                json.dump({"told_by": self.told_by(), **self.known}, file)
            os.replace(partial, self.place)
        self.is_new = False


def checkout(path):
    """Return a path of this checkout, relative: a moved checkout reruns nothing."""
    return os.path.relpath(os.path.join(CHECKOUT, path))


def library_module(name):
    """Import a module of the library that needs neither torch nor h5py, so that a plan needs none."""
    sys.path.insert(0, checkout("scripts"))
    try:
        return importlib.import_module(f"spatial_reduction.{name}")
    finally:
        sys.path.pop(0)


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
    """List a script and the library modules that it imports, directly or not, and those that it loads by name.

    A module may be a file of the user's own.
    """
    loaded = (file for module in modules for file in ([module] if module.endswith(".py") else module_files(module)))
    listed = {f"{checkout('scripts')}/{script}.py", *loaded}
    queue = list(listed)
    while queue:
        imported = {file for module in source(queue.pop())[1] for file in module_files(module)}
        queue += imported - listed
        listed |= imported
    return tuple(sorted(listed))


@cache
def code_digest(script, *modules):
    """Return the names of a script and of what it loads by name, with a digest of what they compute."""
    here, label = checkout("scripts"), " ".join([script, *modules])
    digests = [(os.path.relpath(path, here), source(path)[0]) for path in library(script, *modules)]
    source.keep()
    return f"{label} {KEPT_CODE.digest_of(label, sha256(repr(digests).encode()).hexdigest()[:32])}"


class KeptCode:
    """Which code the last run of these results had, and which later code its user takes for the same.

    Attributes:
        ran: {label: digest} of the jobs that were planned when a run last began.
        same: {label: {digest: the earlier digest that it counts as}}.
    """

    def __init__(self, place):
        self.place, self.planned, self.ran, self.same = place, {}, {}, {}
        self.changed = []
        with suppress(OSError, ValueError, KeyError), open(place) as file:
            stored = json.load(file)
            self.ran, self.same = stored["ran"], stored["same"]

    def digest_of(self, label, digest):
        """Return the digest that a code counts as; note it, if the configuration says that results are to be kept."""
        self.planned[label] = digest
        before, same = self.ran.get(label), self.same.get(label, {})
        if config["keep_code"] and before not in (None, digest) and digest not in same:
            self.same[label] = same = {**same, digest: same.get(before, before)}
            if workflow.is_main_process:
                print(
                    f"keep_code: what {label.partition(' ')[0]} made before the change of its code is kept",
                    file=sys.stderr,
                )
                self.write()
        if before not in (None, same.get(digest, digest)):
            self.changed.append(label.partition(" ")[0])
        return same.get(digest, digest)

    def tell_changes(self):
        """Say whose code changed since these results were made, and how they are kept."""
        if self.changed and workflow.is_main_process:
            print(
                f"code: what {', '.join(sorted(set(self.changed)))} computes has changed since these results were made, so "
                "that they are made again; if you know that the change is harmless, add --config keep_code=true once",
                file=sys.stderr,
            )

    def write(self):
        """Write the note, whole; a dry run changes nothing."""
        if workflow.output_settings.dryrun:
            return
        os.makedirs(os.path.dirname(self.place), exist_ok=True)
        partial = f"{self.place}.{platform.node()}-{os.getpid()}"
        with open(partial, "w") as file:
            json.dump({"ran": self.ran, "same": self.same}, file, indent=1, sort_keys=True)
        os.replace(partial, self.place)

    def note_run(self):
        """Note the code of a run that begins."""
        self.ran |= self.planned
        self.write()


KEPT_CODE = KeptCode(f"{config['pathvars']['results']}/code.json")


def code(script):
    """Return the function that tells the code of a rule; asked only of the jobs that are planned."""

    def code_of(wildcards):
        return code_digest(script)

    return code_of


def template(name):
    """Return the function that gives the path of a template; it takes `input`, so Snakemake reruns nothing for it."""

    def template_of(wildcards, input):
        return checkout(f"workflow/report/{name}")

    return template_of


def words_of(*names):
    """Return the function that gives one digest of a template and of captions."""

    def digest_of(wildcards):
        digest = sha256()
        for name in names:
            with open(checkout(f"workflow/report/{name}"), "rb") as file:
                digest.update(file.read())
        return digest.hexdigest()[:32]

    return digest_of


def source_module(source):
    """Return what holds a source of saliency: a module of the library, or the user's file."""
    return source if source.endswith(".py") else f"saliency.{source}"


def network_file(arm):
    """List the file of an arm's network, if that is the user's own."""
    path = ARMS[arm]["model"].get("path")
    return [path] if path else []


def network_code(script):
    """Return the function that tells the code of a rule that builds the network of its arm."""

    def code_of(wildcards):
        return code_digest(script, *network_file(wildcards.arm))

    return code_of


def own_network(wildcards):
    """Return the section `model` of an arm whose network is code of the user's: what its jobs may run."""
    arm = wildcards.get("arm", config["report"]["method"])
    return ARMS[arm]["model"] if ARMS[arm]["model"]["name"] == "file" else None


def scoring_code(script):
    """Return the function that tells the code of a rule that asks the arm's source of saliency."""

    def code_of(wildcards):
        return code_digest(
            script, source_module(ARMS[wildcards.arm]["reduction"]["source"]), *network_file(wildcards.arm)
        )

    return code_of


def evaluation_code(wildcards):
    """Code of an evaluation: the oracle makes the masks of `label_masked`, the arm's source those of `self_masked`."""
    reduction = ARMS[wildcards.arm]["reduction"]
    own = [source_module(reduction["source"])] if reduction["iterations"] > 1 else []
    return code_digest("evaluate_model", "saliency.oracle", *own, *network_file(wildcards.arm))


def sources_code(wildcards):
    asked = map(source_module, config["report"]["sources"])
    return code_digest("render_sources", *asked, *network_file(config["report"]["method"]))

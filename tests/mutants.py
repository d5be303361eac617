"""Change one place of the library at a time and see whether a test notices: `make mutants`.

Two kinds of changes. Random ones replace an operator, a constant or a condition. Wiring ones hand a number of the
right type from the wrong place: swapped arguments, a neighbouring index, a dropped term, keyword or statement, first
for last, another split, another iteration, another field or parameter of the same type.

Each change is made in a copy of the tree. Its tests run in a process forked from this one, where torch and the others
are imported already: those of its module, then the recomputation of drawn experiments and of a chain, then those of its
package and of modules that import it, then the recomputation of a whole experiment. The outcomes are kept in a file of
JSON lines, so that a run goes on where it was stopped; whoever has added tests runs the survivors again (--survivors).
"""

import argparse
import ast
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path("scripts/spatial_reduction")
PACKAGES = ("metrics", "masks", "training", "evaluation", "analysis", "saliency")
QUICK = "not slow and not pipeline and not real_data"
RECOMPUTED = "tests/recomputed"
SIMULATION = "tests/analysis/test_simulation.py"  # tells how often something is claimed, within wide bounds
LIMIT = 300  # seconds for a file of tests
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div}
OPERATORS |= {ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARISONS |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
FUNCTIONS = {"min": "max", "argmin": "argmax", "minimum": "maximum", "any": "all", "floor": "ceil", "sum": "mean"}
FUNCTIONS |= {other: name for name, other in FUNCTIONS.items()} | {"train": "eval", "eval": "train"}
WORDS = {"train": "test", "validation": "test", "test": "validation", "training": "validation", "intact": "self_masked"}
WORDS |= {"self_masked": "intact", "label_masked": "intact", "highest": "lowest", "steps": "pixels", "pixels": "steps"}
WORDS |= {"mean_iou": "mean_dice", "mean_dice": "pixel_accuracy", "binary_iou": "mean_iou", "warm": "scratch"}
WORDS |= {"supported": "refuted", "refuted": "supported", "first": "last", "last": "first", "best": "last"}
WORDS |= {"arm": "comparator", "threshold": "comparator_threshold", "p_value": "p_holm", "p_holm": "p_value"}
SILENT = {"say", "progress", "set_postfix_str", "print"}  # calls that only tell
WITHOUT_EFFECT = {"strict", "encoding", "newline", "dtype", "compression", "chunks"}


@dataclass(frozen=True)
class Mutant:
    """One change: what stands from (line, column) to the end is replaced; the columns count bytes.

    Attributes:
        path: of the module, from the root of the tree.
        kind: what sort of change.
        before, after: source text.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    kind: str
    before: str
    after: str

    @property
    def package(self) -> str:
        """Package that it is in."""
        return Path(self.path).parent.name

    @property
    def family(self) -> str:
        """`random` or `wiring`."""
        return "random" if self.kind in ("operator", "comparison", "constant", "condition") else "wiring"

    def applied(self, source: bytes) -> bytes:
        """Return the changed text of the module."""
        lines = source.splitlines(keepends=True)
        head = b"".join(lines[: self.line - 1]) + lines[self.line - 1][: self.column]
        tail = lines[self.end_line - 1][self.end_column :] + b"".join(lines[self.end_line :])
        return head + self.after.encode() + tail


class Signatures:
    """What the library's functions and data classes take, by their names."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.required: dict[str, set[str]] = defaultdict(set)
        self.known: set[str] = set()
        self.alike: dict[str, set[str]] = {}  # of a field, those of its type in every class that has it
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    arguments = node.args
                    self.known.add(node.name)
                    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
                    self.required[node.name] |= {each.arg for each in arguments.args} - {e.arg for e in with_default}
                elif isinstance(node, ast.ClassDef):
                    self.known.add(node.name)
                    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                    self.required[node.name] |= {f.target.id for f in fields if f.value is None}
                    for one in fields:
                        same = {each.target.id for each in fields if _same_type(one, each)} - {one.target.id}
                        self.alike[one.target.id] = self.alike.get(one.target.id, same) & same


def _same_type(one: ast.arg | ast.AnnAssign, other: ast.arg | ast.AnnAssign) -> bool:
    types = [each.annotation and ast.dump(each.annotation) for each in (one, other)]
    return types[0] is not None and types[0] == types[1]


class Finder(ast.NodeVisitor):
    """Gathers the changes of a module."""

    def __init__(self, path: str, source: str, signatures: Signatures) -> None:
        self.path, self.source, self.signatures = path, source, signatures
        self.found: list[Mutant] = []
        self.parameters: list[dict[str, set[str]]] = [{}]  # of the functions around: names of the same type

    def add(self, kind: str, node: ast.AST, replacement: ast.AST | str) -> None:
        before = ast.get_source_segment(self.source, node)
        after = replacement if isinstance(replacement, str) else ast.unparse(replacement)
        if isinstance(node, ast.expr) and not isinstance(replacement, str | ast.Name | ast.Constant):
            after = f"({after})"
        is_new = ast.unparse(node) != (replacement if isinstance(replacement, str) else ast.unparse(replacement))
        if before is not None and is_new:
            place = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
            self.found.append(Mutant(self.path, *place, kind, before, after))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.args, *node.args.kwonlyargs]
        alike: dict[str, set[str]] = {}
        for one in arguments:
            alike[one.arg] = {each.arg for each in arguments if each is not one and _same_type(one, each)}
        for each in ast.walk(node):  # names that one tuple is taken apart into
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Tuple):
                names = [target.id for target in each.targets[0].elts if isinstance(target, ast.Name)]
                for name in names:
                    alike.setdefault(name, set()).update(set(names) - {name})
        self.parameters.append(alike)
        for default in node.args.defaults:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.parameters.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Positions within an f-string are not told rightly before Python 3.12, and most are messages."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """A message."""

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing to change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing to change."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Call):
            if _name(node.value.func) in SILENT:
                return
            self.add("statement dropped", node, "None")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in OPERATORS:
            self.add("operator", node, ast.AugAssign(node.target, OPERATORS[type(node.op)](), node.value))
        self.add("statement dropped", node, "None")
        self.visit(node.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            return
        if type(node.op) in OPERATORS:
            self.add("operator", node, ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right))
        if isinstance(node.op, ast.Add | ast.Sub):
            self.add("term dropped", node, node.left)
            if isinstance(node.op, ast.Add):
                self.add("term dropped", node, node.right)
        if isinstance(node.op, ast.Mult):
            self.add("factor dropped", node, node.left)
            self.add("factor dropped", node, node.right)
        if isinstance(node.op, ast.Div | ast.FloorDiv):
            self.add("factor dropped", node, node.left)
        if isinstance(node.op, ast.Sub):
            self.add("swapped sides", node, ast.BinOp(node.right, node.op, node.left))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if type(node.ops[0]) in COMPARISONS:
            changed = [COMPARISONS[type(node.ops[0])](), *node.ops[1:]]
            self.add("comparison", node, ast.Compare(node.left, changed, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.add("condition", node, ast.BoolOp(other, node.values))
        for position in range(len(node.values)):
            rest = [value for place, value in enumerate(node.values) if place != position]
            self.add("term dropped", node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            self._index(node, -node.operand.value)
        else:
            self.add("condition" if isinstance(node.op, ast.Not) else "operator", node, node.operand)
            self.visit(node.operand)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add("constant", node, ast.Constant(not value))
        elif isinstance(value, int):
            self.add("constant", node, ast.Constant(value + 1))
        elif isinstance(value, float):
            self.add("constant", node, ast.Constant(value * 2 if value else 1.0))
        elif isinstance(value, str) and value in WORDS:
            self.add("another name", node, ast.Constant(WORDS[value]))

    def visit_If(self, node: ast.If) -> None:
        self.add("condition", node.test, ast.UnaryOp(ast.Not(), node.test))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.add("condition", node, ast.IfExp(node.test, node.orelse, node.body))
        self.add("branch dropped", node, node.body)
        self.add("branch dropped", node, node.orelse)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, int) and not isinstance(part.value, bool):
                self._index(part, part.value)
            elif isinstance(part, ast.Slice):
                self._slice(part)
            else:
                self.visit(part)
        if isinstance(node.slice, ast.Slice):
            self.add("slice dropped", node, node.value)
        self.visit(node.value)

    def _index(self, node: ast.expr, value: int) -> None:
        if value in (0, -1):
            self.add("first for last", node, ast.unparse(ast.Constant(-1 - value)))
        self.add("neighbouring index", node, ast.unparse(ast.Constant(value + (1 if value >= 0 else -1))))

    def _slice(self, node: ast.Slice) -> None:
        if node.lower and not node.upper:
            self.add("first for last", node, f":{ast.unparse(node.lower)}")
        elif node.upper and not node.lower:
            self.add("first for last", node, f"{ast.unparse(node.upper)}:")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        for other in sorted(self.signatures.alike.get(node.attr, ())):
            self.add("another field", node, ast.Attribute(node.value, other, node.ctx))
        if node.attr in FUNCTIONS:
            self.add("another function", node, ast.Attribute(node.value, FUNCTIONS[node.attr], node.ctx))
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        around = self.parameters[-1].get(node.id, set())
        for other in sorted(around):
            self.add("another parameter", node, ast.Name(other, node.ctx))
        if node.id in ("min", "max", "any", "all"):
            self.add("another function", node, ast.Name(FUNCTIONS[node.id], node.ctx))
        if node.id == "iteration":
            self.add("another iteration", node, "(iteration - 1)")
            self.add("another iteration", node, "(iteration + 1)")
        if node.id in ("seed", "epoch"):
            self.add("another seed or epoch", node, f"({node.id} + 1)")

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name in SILENT:
            return
        plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)
        for place, (one, other) in enumerate(pairwise(node.args)):
            if isinstance(one, plain) and type(one) is type(other):
                swapped = [*node.args[:place], other, one, *node.args[place + 2 :]]
                self.add("swapped arguments", node, ast.Call(node.func, swapped, node.keywords))
        for place, keyword in enumerate(node.keywords):
            if keyword.arg is None or keyword.arg in WITHOUT_EFFECT:
                continue
            if name not in self.signatures.known or keyword.arg not in self.signatures.required[name]:
                rest = [each for at, each in enumerate(node.keywords) if at != place]
                self.add("keyword dropped", node, ast.Call(node.func, node.args, rest))
        for one, other in pairwise([each for each in node.keywords if each.arg]):
            if isinstance(one.value, plain) and type(one.value) is type(other.value):
                swapped = [
                    ast.keyword(each.arg, other.value if each is one else one.value if each is other else each.value)
                    for each in node.keywords
                ]
                self.add("swapped arguments", node, ast.Call(node.func, node.args, swapped))
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg not in WITHOUT_EFFECT:
                self.visit(keyword.value)


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def find_mutants(root: Path, packages: Sequence[str]) -> list[Mutant]:
    """Return every change of the packages."""
    trees = {path: ast.parse(path.read_bytes()) for path in sorted((root / LIBRARY).glob("*/*.py"))}
    signatures, found = Signatures(list(trees.values())), []
    for path, tree in trees.items():
        if path.parent.name in packages:
            finder = Finder(str(path.relative_to(root)), path.read_text(encoding="utf-8"), signatures)
            finder.visit(tree)
            found += dict.fromkeys(finder.found)
    return found


def _is_python(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def choose(found: Sequence[Mutant], package: str, family: str, count: int, seed: int) -> list[Mutant]:
    """Draw changes of a package that are still Python: of the wiring ones as many of each kind as there are."""
    rng = random.Random(f"{seed} {package} {family}")
    by_kind: dict[str, list[Mutant]] = defaultdict(list)
    for each in found:
        if (each.package, each.family) == (package, family):
            by_kind["random" if family == "random" else each.kind].append(each)
    for each in by_kind.values():
        rng.shuffle(each)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(by_kind.values()):
        drawn = [each.pop() for each in by_kind.values() if each]
        chosen += [each for each in drawn if _is_python(each.applied((ROOT / each.path).read_bytes()))]
    return chosen[:count]


class Tests:
    """Which test files concern a module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(str(path.relative_to(root)) for path in (root / "tests").glob("*/test_*.py"))
        self.library = {
            str(path.relative_to(root)): _imported(path) for path in sorted((root / LIBRARY).glob("*/*.py"))
        }

    def stages(self, path: str) -> list[tuple[list[str], str]]:
        """Return (test files, marks) in the order in which they run, the nearest first; the last takes minutes."""
        package, name = Path(path).parent.name, Path(path).stem
        module = f"spatial_reduction.{package}.{name}"
        own = f"tests/{package}/test_{name}.py"
        importers = [other for other, imported in self.library.items() if module in imported]
        near = {f"tests/{Path(each).parent.name}/test_{Path(each).stem}.py" for each in importers}
        near |= {each for each in self.files if each.startswith(f"tests/{package}/")}
        near = {each for each in near if each in self.files} - {SIMULATION}
        again = [each for each in self.files if each.startswith(RECOMPUTED)]
        nearest = [own] if own in self.files else []
        quick = [each for each in again if path in self._reached(_imported(self.root / each))]
        return [(nearest, QUICK), (quick, QUICK), (sorted(near - {own}), QUICK), (again, "pipeline")]

    def _reached(self, imported: set[str]) -> set[str]:
        """Return the modules of the library that are imported with these, by their paths."""
        left, found = set(imported), set()
        while left:
            path = str(LIBRARY.parent / f"{left.pop().replace('.', '/')}.py")
            if path in self.library and path not in found:
                found.add(path)
                left |= self.library[path]
        return found


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def run_tests(root: Path, files: Sequence[str], marks: str, limit: float) -> str:
    """Run tests in a fork; return "" if all pass, else the first that fails, or "time"."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _be_pytest(root, files, marks)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _kill(child)
            return "" if status == 0 or os.waitstatus_to_exitcode(status) == 5 else _first_failure(root)
        time.sleep(0.1)
    _kill(child)
    os.waitpid(child, 0)
    return "time"


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _be_pytest(root: Path, files: Sequence[str], marks: str) -> None:
    code = 3
    try:
        os.setsid()
        os.chdir(root)
        out = os.open(root / "pytest.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        import pytest

        temporary = ["--basetemp", str(root / "temporary"), "-p", "no:cacheprovider", "-p", "no:xdist"]
        code = int(pytest.main(["-x", "-q", "--tb=no", "-m", marks, *temporary, *files]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _first_failure(root: Path) -> str:
    lines = (root / "pytest.txt").read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" ")[1].removeprefix("tests/") if failed else "ended without a result"


class Bench:
    """A copy of the tree, where one change is tried at a time.

    Attributes:
        costs: seconds of each test file, as last run: the cheapest is run first.
        sound: test files that were seen to pass without a change.
    """

    def __init__(self, root: Path, stages: int) -> None:
        self.root, self.tests, self.stages = root, Tests(root), stages
        self.costs: dict[str, float] = {}
        self.sound: set[str] = set()

    def judge(self, mutant: Mutant) -> dict:
        """Run the tests of one change; return its record."""
        begun = time.monotonic()
        record = {**asdict(mutant), "noticed_by": ""}
        for files, marks in self.tests.stages(mutant.path)[: self.stages]:
            for name in sorted(files, key=lambda name: self.costs.get(name, 0)):
                record["noticed_by"] = record["noticed_by"] or self._notice(mutant, name, marks)
        return record | {"seconds": round(time.monotonic() - begun, 1)}

    def _notice(self, mutant: Mutant, name: str, marks: str) -> str:
        """Return the test of a file that notices a change, or nothing; end the program if the file fails without."""
        file, begun = self.root / mutant.path, time.monotonic()
        source = file.read_bytes()
        file.write_bytes(mutant.applied(source))
        try:
            by = run_tests(self.root, [name], marks, LIMIT)
        finally:
            file.write_bytes(source)
        if not by:
            self.costs[name] = time.monotonic() - begun
            self.sound.add(name)
        if by and name not in self.sound:
            if failed := run_tests(self.root, [name], marks, LIMIT):
                sys.exit(f"{name} fails without any change: {failed}; mend it first")
            self.sound.add(name)
        return by


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git knows of, as it lies there now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)


def key_of(record: dict) -> tuple:
    """Return what tells a change apart from all others."""
    return tuple(record[name] for name in ("path", "line", "column", "kind", "before", "after"))


def table(records: Sequence[dict]) -> str:
    """Return the outcomes as Markdown: a row per package, then every survivor."""
    lines = ["| package | random | noticed | wiring | noticed |", "|---|---|---|---|---|"]
    for package in [*dict.fromkeys(Mutant(**_fields(each)).package for each in records), "all"]:
        cells = [package]
        for family in ("random", "wiring"):
            chosen = [
                each
                for each in records
                if (mutant := Mutant(**_fields(each))).family == family and package in (mutant.package, "all")
            ]
            noticed = sum(bool(each["noticed_by"]) for each in chosen)
            cells += [str(len(chosen)), f"{noticed} ({100 * noticed / len(chosen):.0f} %)" if chosen else ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| survivor | kind | was | is |", "|---|---|---|---|"]
    for each in records:
        if not each["noticed_by"]:
            texts = (" ".join(each[name].split()).replace("|", "\\|") for name in ("before", "after"))
            before, after = (f"`{text[:90]}`" for text in texts)
            place = f"{each['path'].removeprefix(str(LIBRARY) + '/')}:{each['line']}"
            lines.append(f"| {place} | {each['kind']} | {before} | {after} |")
    return "\n".join(lines)


def _fields(record: dict) -> dict:
    return {name: record[name] for name in Mutant.__dataclass_fields__}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description="see the module", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=PACKAGES)
    parser.add_argument("--random", type=int, default=10, help="random changes of each package")
    parser.add_argument("--wiring", type=int, default=20, help="wiring changes of each package")
    parser.add_argument("--seed", type=int, default=1, help="which are drawn")
    parser.add_argument("--outcomes", type=Path, default=ROOT / "results/mutants.jsonl")
    parser.add_argument("--survivors", action="store_true", help="run those again that no test noticed")
    parser.add_argument("--quick", action="store_true", help="leave out what runs whole workflows (minutes a change)")
    parser.add_argument("--table", action="store_true", help="print the table of the outcomes and end")
    options = parser.parse_args()
    lines = options.outcomes.read_text().splitlines() if options.outcomes.exists() else []
    records = {key_of(record): record for record in map(json.loads, lines)}
    if options.table:
        print(table(list(records.values())))
        return
    found = find_mutants(ROOT, options.packages)
    wanted = [
        choose(found, package, family, getattr(options, family), options.seed)
        for family in ("wiring", "random")
        for package in options.packages
    ]
    longest = max(map(len, wanted))
    chosen = [each[at] for at in range(longest) for each in wanted if at < len(each)]  # packages in turn
    if options.survivors:
        chosen = [each for each in found if not records.get(key_of(asdict(each)), {"noticed_by": "?"})["noticed_by"]]
    else:
        chosen = [each for each in chosen if key_of(asdict(each)) not in records]
    for name in ("numpy", "scipy.stats", "scipy.ndimage", "pandas", "h5py", "torch", "skimage", "sklearn.metrics"):
        __import__(name)  # once, for all forks
    options.outcomes.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        copy_tree(ROOT, root)
        bench = Bench(root, 3 if options.quick else 4)
        for number, mutant in enumerate(chosen, 1):
            record = bench.judge(mutant)
            with open(options.outcomes, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            records[key_of(record)] = record
            place = f"{mutant.path.removeprefix(str(LIBRARY) + '/')}:{mutant.line}"
            print(f"{number}/{len(chosen)} {place} {mutant.kind}: {record['noticed_by'] or 'SURVIVED'}", flush=True)
    print(table(list(records.values())))


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # two changes within a second and of one length look the same
    sys.dont_write_bytecode = True
    main()

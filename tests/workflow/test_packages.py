"""The packages of the library import downwards only, so that each can be read and tested before those above it."""

import ast

import pytest

from experiments import ROOT

LIBRARY = ROOT / "scripts/spatial_reduction"
ORDER = ["runtime", "data", "networks", "metrics", "saliency", "masks", "training", "evaluation", "analysis", "report"]


def imported_packages(text):
    """Return the packages of the library that a module imports anywhere, inside functions too."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "spatial_reduction" and len(part) > 1}


def read_graph():
    """Return {package: the other packages that its modules import}."""
    return {
        folder.name: set().union(*(imported_packages(path.read_text()) for path in folder.glob("*.py"))) - {folder.name}
        for folder in LIBRARY.iterdir()
        if (folder / "__init__.py").exists()
    }


GRAPH = read_graph()


def find_cycle(graph):
    """Return packages that import each other in a circle, or none."""
    left = dict(graph)
    while free := [package for package, imported in left.items() if not imported & left.keys()]:
        for package in free:
            del left[package]
    return sorted(left)


def test_the_library_is_these_packages():
    assert sorted(GRAPH) == sorted([*ORDER, "cluster"])


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_what_is_below_it(package):
    above = set(ORDER[ORDER.index(package) + 1 :])
    assert GRAPH[package] & above == set()


def test_the_graph_of_packages_has_no_cycle():
    assert find_cycle(GRAPH) == []
    assert find_cycle(GRAPH | {"runtime": {"masks"}}) != []  # the search finds one


def test_the_cluster_stands_beside_the_method():
    assert GRAPH["cluster"] <= {"runtime", "data"}
    assert [package for package, imported in GRAPH.items() if "cluster" in imported] == ["report"]


def test_an_import_inside_a_function_counts():
    assert imported_packages("def f():\n    from spatial_reduction.masks import crop") == {"masks"}

"""The bounds that keep the code readable, and the line along which packages import."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
LINE = ("searchspaces", "hardware", "predictors", "nas")
FILES = sorted(path for package in LINE for path in (ROOT / package).rglob("*.py"))
FORBIDDEN = {"utils", "util", "common", "core", "helpers", "misc"}
EXCEPTIONS: dict[str, str] = {}
"""`file:function` -> why it may exceed a bound."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imports(path: Path, everywhere: bool) -> set[str]:
    """Modules of ours that a file imports: anywhere in it, or at its top level only."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {item for item in found if item.partition(".")[0] in LINE}


def nesting(node: ast.AST, depth: int = 0) -> int:
    """The deepest nesting of statements that open a block, `elif` not counted as deeper."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        opens = isinstance(child, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match)
        elif_ = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            deepest = max(deepest, nesting(child, depth + (opens and not elif_)))
    return deepest


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_are_short_and_functions_within_bounds(path: Path) -> None:
    assert path.read_text().count("\n") <= 300
    for function in functions(path):
        where = f"{name(path)}:{function.name}"
        if where in EXCEPTIONS:
            continue
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        assert (function.end_lineno or 0) - function.lineno + 1 <= 50, where
        assert len([a for a in arguments if a.arg not in ("self", "cls")]) <= 8, where
        assert nesting(function) <= 3, where
        assert function.returns is not None, where
        assert all(a.annotation for a in arguments if a.arg not in ("self", "cls")), where


@pytest.mark.parametrize("path", FILES, ids=name)
def test_packages_import_to_their_left_only(path: Path) -> None:
    rank = LINE.index(module(path).partition(".")[0])
    assert all(LINE.index(found.partition(".")[0]) <= rank for found in imports(path, everywhere=True))
    assert not FORBIDDEN & set(module(path).split("."))


def test_no_import_cycles() -> None:
    modules = {module(path): path for path in FILES}
    graph = networkx.DiGraph(
        (importer, found)
        for importer, path in modules.items()
        for found in imports(path, everywhere=False)
        if found in modules and found != importer
    )
    assert not list(networkx.simple_cycles(graph))


def test_no_heavy_import_where_help_must_be_fast() -> None:
    text = (ROOT / "nas" / "cli.py").read_text()
    top = {node.module for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)}
    assert top <= {"__future__", "pathlib", "typing", "searchspaces.deferred"}


def test_tests_are_substantial() -> None:
    source = sum(path.read_text().count("\n") for path in FILES)
    tests = sum(path.read_text().count("\n") for path in (ROOT / "tests").rglob("*.py"))
    assert tests >= 0.6 * source

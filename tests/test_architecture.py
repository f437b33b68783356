"""The floors hold: a file imports only from floors below it, never sideways and never up (see ARCHITECTURE.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "toolkit"

FLOORS = {
    "version": 0, "errors": 0, "bounds": 0, "registry": 0, "files": 0, "progress": 0, "labels": 0, "drawing": 0,
    "samples": 1, "contracts": 1,
    "ops": 2, "layers": 2,
    "backbones": 3, "necks": 3, "heads": 3, "losses": 3, "data": 3, "evaluators": 3,
    "models": 4, "analysis": 4, "engine": 4, "inference": 4, "preflight": 4, "report": 4,
    "config": 5,
    "jobs": 6,
    "cli": 7, "__main__": 8, "__init__": 8,
}  # fmt: skip

# Folders of one floor that may use one another, in this direction only.
SIDEWAYS = {
    ("registry", "errors"), ("files", "errors"), ("drawing", "labels"), ("contracts", "samples"), ("layers", "ops"),
    ("heads", "losses"),
    ("analysis", "models"), ("engine", "models"), ("engine", "analysis"), ("inference", "analysis"),
    ("preflight", "analysis"), ("report", "analysis"), ("inference", "models"), ("report", "inference"), ("report", "preflight"),
    ("preflight", "models"), ("preflight", "inference"), ("preflight", "engine"),
}  # fmt: skip

MODULES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def own_imports(tree: ast.AST) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "toolkit":
            names = node.module.split(".")
            places = [names[1]] if len(names) > 1 else [alias.name for alias in node.names]
            found += [(name, node.lineno) for name in places]
        elif isinstance(node, ast.Import):
            found += [
                (alias.name.split(".")[1], node.lineno) for alias in node.names if alias.name.startswith("toolkit.")
            ]
    return [(name, line) for name, line in found if name in FLOORS]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = place(path)
    assert here in FLOORS, f"{here} has no floor: give it one here and in ARCHITECTURE.md"
    for name, line in own_imports(ast.parse(path.read_text())):
        if name == here or here == "__init__":
            continue
        allowed = FLOORS[name] < FLOORS[here] or (here, name) in SIDEWAYS
        assert allowed, f"{path.name}:{line}: '{here}' (floor {FLOORS[here]}) imports '{name}' (floor {FLOORS[name]})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_own_imports_stand_at_the_top(path: Path) -> None:
    if place(path) in ("cli", "__init__"):  # their --help and plain import shall not wait for torch
        return
    tree = ast.parse(path.read_text())
    inside = [
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and own_imports(ast.Module([node], []))
    ]
    assert not inside, f"{path.name}: imports of the package inside functions, lines {[node.lineno for node in inside]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_library_does_not_print_and_names_no_device(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print" or place(path) == "cli", f"{path.name}:{node.lineno}: print in the library"
            assert not called.endswith(".cuda"), f"{path.name}:{node.lineno}: .cuda()"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} says nothing of itself"


@pytest.mark.parametrize("word", ["utils", "misc", "common", "helpers", "helper"])
def test_no_drawer_for_everything(word: str) -> None:
    assert not [path for path in MODULES if path.stem == word]


PARTS = ("backbones", "necks", "heads", "losses", "evaluators", "data.datasets")
"""Folders whose modules are concrete parts, which register themselves."""


def concrete_parts(tree: ast.AST) -> list[tuple[str, int]]:
    """Imports of a part's module; those of a whole folder, which registers what is in it, do not count."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
    return [(name, line) for name, line in found if name.startswith(tuple(f"toolkit.{part}." for part in PARTS))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_above_the_parts_nobody_knows_a_concrete_one(path: Path) -> None:
    """What others must know of a part is asked through its contract, and a part is found through its registry."""
    if FLOORS[place(path)] <= FLOORS["heads"]:
        return
    found = concrete_parts(ast.parse(path.read_text()))
    assert not found, f"{path.name} imports concrete parts: {found}; ask the contract (contracts.py) or the registry"

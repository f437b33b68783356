"""The package's files as syntax trees, parsed once a process, and which of them import which."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "toolkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {".".join(("toolkit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
         for path in MODULES}  # fmt: skip
Graph = dict[str, set[str]]


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    """All nodes of each file, in no order that counts."""
    return {path: list(ast.walk(tree)) for path, tree in trees().items()}


def own_imports(nodes: list[ast.AST]) -> set[str]:
    """Modules of the package that are imported by any of the nodes, also where only types need them."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES.keys()
            found |= inside or ({node.module} & NAMES.keys())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & NAMES.keys()
    return found


@cache
def imports_of_files() -> Graph:
    return {name: own_imports(nodes()[path]) - {name} for name, path in NAMES.items()}

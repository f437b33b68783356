"""Imports have no ring, and the floors they make are those of the picture in ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from package_trees import MODULES, NAMES, PACKAGE, Graph, imports_of_files, nodes, own_imports, trees

PICTURE = PACKAGE.parent / "ARCHITECTURE.md"


def place(path: Path) -> str:
    """The folder below `toolkit/`, or the file that stands there itself."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of_places(files: Graph) -> Graph:
    graph: Graph = {place(path): set() for path in MODULES}
    for name, imported in files.items():
        here = place(NAMES[name])
        graph[here] |= {place(NAMES[other]) for other in imported} - {here}
    return graph


def circle(graph: Graph) -> list[str]:
    """Names that import one another in a ring, or [] when there is no ring."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        found = next((ring for other in sorted(graph[name]) if (ring := follow(other, [*way, name]))), [])
        done.add(name)
        return found

    return next((ring for name in sorted(graph) if (ring := follow(name, []))), [])


def floors(graph: Graph) -> dict[str, int]:
    """How many floors lie below each: 0 imports nothing of the package, others stand on the highest they import."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((floor(other) for other in graph[name]), default=-1)
        return found[name]

    return {name: floor(name) for name in graph}


def floors_of_picture(text: str) -> dict[str, int]:
    """The block below "## Floors": lines of a floor's number or none, names that end in `/` or `.py`, and words."""
    found: dict[str, int] = {}
    number = -1
    for line in text.partition("## Floors")[2].split("```")[1].splitlines():
        told = re.match(r" *(\d+)? +((?:\w+(?:/|\.py) {0,2})+)", line)
        if told:
            number = int(told[1]) if told[1] else number
            found |= dict.fromkeys(re.findall(r"\w+(?=/|\.py)", told[2]), number)
    return found


def test_no_file_imports_itself_by_others() -> None:
    ring = circle(imports_of_files())
    assert not ring, f"these import one another: {' -> '.join(ring)}"


def test_no_folder_imports_itself_by_others() -> None:
    files = imports_of_files()
    ring = circle(imports_of_places(files))
    causes = [f"{name} imports {other}" for name, imported in sorted(files.items()) for other in sorted(imported)
              if place(NAMES[name]) in ring and place(NAMES[other]) in ring
              and place(NAMES[name]) != place(NAMES[other])]  # fmt: skip
    assert not ring, "\n".join([f"a ring of folders: {' -> '.join(ring)}", *causes])


def test_the_picture_shows_the_floors_that_the_imports_make() -> None:
    """ARCHITECTURE.md is drawn from the code: whoever adds an import that lifts a folder moves it there, too."""
    graph = imports_of_places(imports_of_files())
    assert not circle(graph)
    made, shown = floors(graph), floors_of_picture(PICTURE.read_text(encoding="utf-8"))
    wrong = [f"{name} stands on floor {made.get(name)}, the picture says {shown.get(name)}"
             for name in sorted(made.keys() | shown.keys()) if made.get(name) != shown.get(name)]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w/]+/[\w.]*)`", PICTURE.read_text(encoding="utf-8")))
    roots = (PACKAGE.parent, PACKAGE)
    assert not [name for name in sorted(named) if not any((root / name).exists() for root in roots)]


def test_rings_and_floors_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": 2, "b": 1, "c": 0}
    text = "## Floors\n```\n  2  a/   words/ that\n  1  b/ c.py  f.py\n     d/       more\n  0  e.py\n```\n"
    assert floors_of_picture(text) == {"a": 2, "b": 1, "c": 1, "f": 1, "d": 1, "e": 0}
    tree = ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toolkit.errors import Problem")
    assert own_imports(list(ast.walk(tree))) == {"toolkit.errors"}


def is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def test_own_imports_stand_at_the_top() -> None:
    inside = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, found in nodes().items()
        if place(path) not in ("cli", "__init__")  # their --help and plain import shall not wait for torch
        for function in filter(is_function, found)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and own_imports([node])
    }
    assert not inside, f"imports of the package inside functions: {sorted(inside)}"


def test_library_does_not_print_and_names_no_device() -> None:
    wrong = []
    for path, found in nodes().items():
        for node in found:
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
                if called == "cuda" or (called == "print" and isinstance(node.func, ast.Name) and place(path) != "cli"):
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {called}()")
    assert not wrong, "\n".join(wrong)


def test_every_module_opens_with_a_docstring() -> None:
    assert not [str(path) for path, tree in trees().items() if not ast.get_docstring(tree)]


@pytest.mark.parametrize("word", ["utils", "misc", "common", "helpers", "helper"])
def test_no_drawer_for_everything(word: str) -> None:
    assert not [path for path in MODULES if path.stem == word]


PARTS = ("backbones", "necks", "heads", "losses", "evaluators", "data.datasets")
"""Folders whose modules are concrete parts, which register themselves."""


def concrete_parts(nodes: list[ast.AST]) -> list[tuple[str, int]]:
    """Imports of a part's module; those of a whole folder, which registers what is in it, do not count."""
    found: list[tuple[str, int]] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
    return [(name, line) for name, line in found if name.startswith(tuple(f"toolkit.{part}." for part in PARTS))]


def test_above_the_parts_nobody_knows_a_concrete_one() -> None:
    """What others must know of a part is asked through its contract, and a part is found through its registry."""
    own = {part.split(".")[0] for part in PARTS}
    parts_of = {
        str(path.relative_to(PACKAGE)): concrete_parts(found)
        for path, found in nodes().items()
        if place(path) not in own
    }
    wrong = [f"{path}:{line}: {name}" for path, parts in parts_of.items() for name, line in parts]
    assert not wrong, "\n".join(["concrete parts are imported; ask the contract (contracts/) or the registry", *wrong])

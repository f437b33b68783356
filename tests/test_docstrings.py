"""One form of docstrings: Google's `Args:` wherever a public callable has three parameters or more, each in a sentence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from package_trees import PACKAGE, trees

PARAMETERS = 3
WORDS = 5

# A command's parameters are the options of the command line, and each has its help there.
NOT_CALLED = {"overload", "setter", "command"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Callable(NamedTuple):
    """A public function, method or constructor: its place, its parameters and the docstring that has to name them."""

    name: str
    line: int
    parameters: list[str]
    docstring: str


def parameters_of(function: Function, *, method: bool = False) -> list[str]:
    """All but `self` and `cls`; private ones are nobody's to give."""
    each = function.args
    named = [*each.posonlyargs, *each.args, *([each.vararg] if each.vararg else []), *each.kwonlyargs]
    named += [each.kwarg] if each.kwarg else []
    names = [one.arg for one in named if not one.arg.startswith("_")]
    return names[1:] if method and names[:1] in (["self"], ["cls"]) else names


def decorators(node: ast.ClassDef | Function) -> set[str]:
    names = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return {ast.unparse(name).rpartition(".")[2] for name in names}


def fields_of(cls: ast.ClassDef) -> list[str] | None:
    """Of a NamedTuple or a dataclass, whose fields are the parameters of its constructor; a field may have its own
    docstring below it, and is then documented there."""
    if "NamedTuple" not in map(ast.unparse, cls.bases) and "dataclass" not in decorators(cls):
        return None
    fields = []
    for one, after in zip(cls.body, [*cls.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_"):
            own = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            fields += [] if own or "init=False" in ast.unparse(one) else [one.target.id]
    return fields


def callables(tree: ast.Module) -> Iterator[Callable]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_") and not decorators(node) & NOT_CALLED:
            yield Callable(node.name, node.lineno, parameters_of(node), ast.get_docstring(node) or "")
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from of_class(node)


def of_class(cls: ast.ClassDef) -> Iterator[Callable]:
    docstring = ast.get_docstring(cls) or ""
    fields = fields_of(cls)
    if fields is not None:
        yield Callable(cls.name, cls.lineno, fields, docstring)
    for node in cls.body:
        if not isinstance(node, Function) or decorators(node) & NOT_CALLED:
            continue
        if node.name == "__init__" and fields is None:
            yield Callable(cls.name, node.lineno, parameters_of(node, method=True), docstring)
        elif not node.name.startswith("_"):
            parameters = parameters_of(node, method=True)
            yield Callable(f"{cls.name}.{node.name}", node.lineno, parameters, ast.get_docstring(node) or "")


def entries(docstring: str) -> dict[str, str]:
    """{parameter: its sentence} of the section `Args:`."""
    found = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^    (\*{0,2}\w+)(?: \([^)]*\))?:", found[1], flags=re.MULTILINE) if found else [""]
    return {name.lstrip("*"): " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def problems(tree: ast.Module) -> list[str]:
    found = []
    for one in callables(tree):
        told = entries(one.docstring)
        if len(one.parameters) >= PARAMETERS:
            missing = [name for name in one.parameters if name not in told]
            found += [f"{one.line}: {one.name} has no entry in Args: for {', '.join(missing)}"] if missing else []
        found += [f"{one.line}: {one.name} has no parameter {name}" for name in told.keys() - {*one.parameters}]
        short = [name for name, text in told.items() if len(text.split()) < WORDS]
        found += [f"{one.line}: {one.name} says too little of {', '.join(short)}"] if short else []
    return found


def test_every_parameter_is_told_of() -> None:
    found = [f"{path.relative_to(PACKAGE)}:{problem}" for path, tree in trees().items() for problem in problems(tree)]
    assert not found, "\n".join(found)


def test_what_is_wrong_is_found() -> None:
    text = '''
def f(a, b, c):
    """Adds.

    Args:
        a: The first of three numbers.
        b: Second.
        d: There is no such parameter.

    Returns:
        c: this is no entry of Args.
    """
'''
    assert problems(ast.parse(text)) == [
        "2: f has no entry in Args: for c",
        "2: f has no parameter d",
        "2: f says too little of b",
    ]

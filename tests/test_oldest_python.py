"""The oldest Python that setup.cfg allows could read every file: no newer syntax, no newer names of the standard library."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NEWER = {
    "asyncio": "TaskGroup Runner timeout Barrier",
    "builtins": "ExceptionGroup BaseExceptionGroup",
    "contextlib": "chdir",
    "copy": "replace",
    "datetime": "UTC",
    "enum": "StrEnum verify EnumCheck FlagBoundary member nonmember global_enum property",
    "hashlib": "file_digest",
    "inspect": "getmembers_static markcoroutinefunction",
    "itertools": "batched",
    "logging": "getLevelNamesMapping getHandlerByName",
    "math": "cbrt exp2 sumprod fma",
    "operator": "call",
    "os": "process_cpu_count",
    "re": "NOFLAG",
    "sys": "exception",
    "tomllib": "load loads",
    "typing": "Self Never assert_never assert_type reveal_type LiteralString NotRequired Required Unpack TypeVarTuple "
    "dataclass_transform get_overloads override TypeAliasType ReadOnly TypeIs NoDefault",
    "warnings": "deprecated",
}
"""Names by module that came with Python 3.11, 3.12 or 3.13."""
METHODS = {"add_note", "walk_up", "onexc", "skip_file_prefixes"}
"""Methods and arguments that came with them, of names that nothing else has."""


def oldest() -> tuple[int, int]:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    found = re.search(r">=\s*(\d+)\.(\d+)", config["options"]["python_requires"])
    assert found
    return int(found[1]), int(found[2])


def newer_names(tree: ast.AST) -> list[str]:
    """What of the standard library a file asks for that Python 3.10 lacks."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in NEWER and not node.level:
            found += [f"{node.module}.{one.name}" for one in node.names if one.name in NEWER[node.module].split()]
        elif isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name == "tomllib"]
        elif isinstance(node, ast.Attribute):
            module = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in METHODS or node.attr in NEWER.get(module, "").split():
                found.append(f"{module}.{node.attr}")
        elif isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base) for base in node.bases]
            found += [f"{node.name}(NamedTuple, ...)" for base in bases if base == "NamedTuple" and len(bases) > 1]
        elif isinstance(node, ast.Call):
            found += [one.arg for one in node.keywords if one.arg in METHODS]
        elif isinstance(node, ast.Name) and node.id in NEWER["builtins"].split():
            found.append(node.id)
    return found


@pytest.mark.parametrize(
    "folder", ["toolkit", "tools", "docs/site", pytest.param("tests", marks=pytest.mark.slow), "benchmarks"]
)
def test_the_oldest_python_reads_every_file(folder: str) -> None:
    assert oldest() == (3, 10), "the lists above are of what 3.10 lacks"
    wrong = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=oldest())
        wrong += [f"{path.relative_to(REPOSITORY)}: {name}" for name in newer_names(tree)]
    assert not wrong, "\n".join(wrong)


def test_newer_names_are_found() -> None:
    text = "import hashlib\nfrom datetime import UTC\nhashlib.file_digest\nshutil.rmtree(x, onexc=f)\nExceptionGroup"
    text += "\nclass Row(NamedTuple, Generic[T]): pass"
    found = ["datetime.UTC", "hashlib.file_digest", "onexc", "ExceptionGroup", "Row(NamedTuple, ...)"]
    assert sorted(newer_names(ast.parse(text))) == sorted(found)

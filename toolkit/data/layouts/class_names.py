"""Tables of classes that lie beside the data, as labelling tools and data sets write them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from toolkit.data.layouts.tree import Tree, joined
from toolkit.labels import Color

IGNORED = frozenset(("ignore", "ignored", "void", "unlabeled", "unlabelled", "unknown", "don't care", "dontcare"))
"""Names, in lower case, of pixels that belong to no class."""

_LISTS = re.compile(
    r"(obj|classes|class_?names?|labels?|label_?names?|names|codes|categories|predefined_classes)\.(txt|names)"
)
_TABLES = re.compile(r".*(class|label|color|colour|palette|codes).*\.(csv|txt)|labelmap\.txt")
_LARGEST = 2**20


class NameTable(NamedTuple):
    """The classes of a file.

    Args:
        source: path of the file, relative to the folder that was looked at.
        names: of the classes, in the file's order.
        values: what masks store for each; None where the file gives an order only.
        colors: how masks show each; None where the file has no colours.
        ignored: names of those that do not count.
    """

    source: str
    names: tuple[str, ...]
    values: tuple[int, ...] | None = None
    colors: tuple[Color, ...] | None = None
    ignored: frozenset[str] = frozenset()


def name_tables(tree: Tree, root: str = "") -> list[NameTable]:
    """The tables of classes in a folder, below it and above it, those that say most first.

    Args:
        tree: the names of all files below the folder.
        root: the data set's folder, relative to the tree's.
    """
    found = []
    for folder, names in tree.folders.items():
        near = not root or not folder or folder.startswith(root) or root.startswith(folder)
        for name in names if near else ():
            reader = _reader(name.lower())
            table = _read(tree.root, joined(folder, name), reader) if reader else None
            if table is not None:
                found.append(table)
    return sorted(found, key=lambda one: (one.colors is None, one.values is None, one.source.count("/"), one.source))


Rows = Callable[[str], "NameTable | None"]


def _reader(name: str) -> Rows | None:
    if name in ("data.yaml", "data.yml", "dataset.yaml"):
        return _of_yaml
    if name == "labelmap.txt":
        return _of_labelmap
    if _LISTS.fullmatch(name):
        return _of_list
    if name in ("meta.json", "classes.json", "notes.json"):
        return _of_json
    if _TABLES.fullmatch(name):
        return _of_rows
    return None


def _read(root: Path, source: str, reader: Rows) -> NameTable | None:
    try:
        if (root / source).stat().st_size > _LARGEST:
            return None
        table = reader((root / source).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if table is None or not table.names or len(set(table.names)) < len(table.names):
        return None
    ignored = {name for name in table.names if name.lower() in IGNORED} | table.ignored
    return table._replace(source=source, ignored=frozenset(ignored))


def _of_yaml(text: str) -> NameTable | None:
    content = yaml.safe_load(text)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    return NameTable("", tuple(map(str, names))) if isinstance(names, list) else None


def _of_labelmap(text: str) -> NameTable | None:
    """CVAT's `name:r,g,b:parts:actions`."""
    lines = [line.split(":") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [(line[0].strip(), _color(line[1].split(","))) for line in lines if len(line) > 1]
    if not pairs or any(color is None for _, color in pairs):
        return None
    return NameTable("", tuple(n for n, _ in pairs), colors=tuple(c for _, c in pairs if c is not None))


def _of_list(text: str) -> NameTable | None:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    columns = [re.split(r"[\s,;]+", line) for line in lines]
    if lines and all(len(row) >= 4 and _color(row[:3]) for row in columns):
        return _of_rows(text)
    return NameTable("", tuple(lines)) if lines and not any("/" in line for line in lines) else None


def _of_json(text: str) -> NameTable | None:
    """A list of names, {id: name}, Supervisely's meta.json or Label Studio's notes.json."""
    content: Any = json.loads(text)
    if isinstance(content, dict):
        rows = content.get("classes") or content.get("categories")
        if rows is None and all(isinstance(value, str) for value in content.values()):
            rows = list(content.values())
    else:
        rows = content
    if not isinstance(rows, list):
        return None
    names = [row.get("title") or row.get("name") if isinstance(row, dict) else row for row in rows]
    texts = tuple(name for name in names if isinstance(name, str))
    return NameTable("", texts) if texts and len(texts) == len(names) else None


def _of_rows(text: str) -> NameTable | None:
    """A table with or without a head: names with values, colours, or both, and a column `ignore` of 0 and 1."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), None)
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=mark)] if mark else []
    rows = rows or [re.split(r"\s+", line.strip()) for line in lines]
    if not rows or len({len(row) for row in rows}) > 2:
        return None
    head = [field.lower() for field in rows[0]] if not any(_is_number(field) for field in rows[0]) else None
    body = [row for row in (rows[1:] if head else rows) if len(row) == len(rows[-1])]
    place = _places(head, body)
    if place is None:
        return None
    names = tuple(row[place["name"]] for row in body)
    colors = [_color([row[place[one]] for one in "rgb"]) for row in body] if "r" in place else []
    values = [int(row[place["value"]]) for row in body] if "value" in place else None
    ignored = {
        row[place["name"]] for row in body if "ignore" in place and row[place["ignore"]] in ("1", "true", "True")
    }
    own = tuple(color for color in colors if color is not None)
    return NameTable(
        "",
        names,
        tuple(values) if values else None,
        own if own and len(own) == len(names) else None,
        frozenset(ignored),
    )


def _places(head: list[str] | None, body: list[list[str]]) -> dict[str, int] | None:
    """Which column is what; None for a table that is none of classes."""
    if not body:
        return None
    numeric = [all(_is_number(row[place]) for row in body) for place in range(len(body[0]))]
    words = [place for place, is_number in enumerate(numeric) if not is_number]
    if head is None:
        numbers = [place for place, is_number in enumerate(numeric) if is_number]
        if len(words) != 1 or len(numbers) not in (1, 3, 4):
            return None
        color = dict(zip("rgb", numbers[-3:], strict=True)) if len(numbers) >= 3 else {}
        return {"name": words[0], **color, **({"value": numbers[0]} if len(numbers) in (1, 4) else {})}
    known = {
        "name": ("name", "class", "class_name", "label", "classname", "category"),
        "value": ("id", "value", "pixel value", "pixel_value", "index", "train_id", "label_id", "class_id"),
        "r": ("r", "red"), "g": ("g", "green"), "b": ("b", "blue"), "ignore": ("ignore", "ignored", "void"),
    }  # fmt: skip
    place = {what: head.index(word) for what, wanted in known.items() for word in reversed(wanted) if word in head}
    if "name" not in place or numeric[place["name"]]:
        return None
    if "value" in place and not numeric[place["value"]]:
        del place["value"]
    return place


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def _color(fields: Iterable[str]) -> Color | None:
    numbers = [int(field) for field in fields if _is_number(field.strip()) and 0 <= int(field) <= 255]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None

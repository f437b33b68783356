"""Lists of a split, one image a line, as this and other tools write them.

A line is first of all a name as it stands, with all its blanks and signs. Only what names nothing that way is read by
another tool's convention: back slashes, URL-quoted characters, the images' folder before the name, further columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote

from toolkit.data.images.listing import same_name
from toolkit.errors import DataError, Problem, missing_path

T = TypeVar("T")

_FORMS = {
    "columns": "lines with several columns, of which the first names the image",
    "slashes": "back slashes between folders",
    "quoted": "URL-quoted names (%20 for a blank)",
    "folder": "names that begin with the images' folder",
    "header": "a first line that is a table's header",
}
_SEPARATOR = re.compile(r"[ \t]*[,;\t][ \t]*|[ \t]+")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One line that was understood.

    Args:
        found: what the line names, as `find` gave it.
        line: the whole line, as it stands in the list.
        rest: the further columns of the line, "" for none.
    """

    found: T
    line: str
    rest: str = ""


@dataclass(frozen=True)
class Matched(Generic[T]):
    """A list, understood.

    Args:
        entries: the lines that name something, in the order of the list.
        unknown: the lines that name nothing, as they stand.
        notes: a sentence for each convention of other tools that was met.
    """

    entries: list[Entry[T]]
    unknown: list[str]
    notes: list[str]


def read_lines(path: Path, what: str = "split file") -> list[str]:
    """The lines of a list that are not empty, without blanks at their ends.

    Raises DataError when the file is missing, no text in UTF-8, or empty.
    """
    if not path.is_file():
        raise DataError(missing_path(what, path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(Problem(path, "is no UTF-8 text", f"a {what} has one image name a line")) from None
    except OSError as error:
        raise DataError(Problem(path, f"cannot be read: {error.strerror}")) from None
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(Problem(path, f"the {what} names no images"))
    return lines


def match_lines(path: Path, lines: Sequence[str], find: Callable[[str], T | None], folder: str = "") -> Matched[T]:
    """What each line names, in order; `#` begins a comment only where the line names nothing.

    Args:
        path: the list, for what is said of it.
        lines: the lines of the list, as `read_lines` gives them.
        find: what a name stands for, or None; it gets names with `/`, in one Unicode form.
        folder: name of the folder the names are relative to, which a line may repeat.
    """
    entries: list[Entry[T]] = []
    unknown: list[str] = []
    met: Counter[str] = Counter()
    for number, line in enumerate(lines):
        entry, forms = _matched(line, find, folder)
        if entry is not None:
            entries.append(entry)
            met.update(forms)
        elif number == 0 and len(lines) > 1 and _is_header(line, lines[1], find, folder):
            met["header"] += 1
        elif not line.startswith("#"):
            unknown.append(line)
    notes = [f"{path}: {_FORMS[form]} ({count} of {len(lines)} lines)" for form, count in sorted(met.items())]
    return Matched(entries, unknown, notes)


def form_of(lines: Sequence[str]) -> str:
    """The convention that lines which name nothing seem to follow, for a message; "" when they show none."""
    if any("\\" in line for line in lines):
        return "back slashes stand between folders"
    parted = [_SEPARATOR.split(line) for line in lines]
    if all(len(columns) > 1 and "/" in columns[1] for columns in parted):
        return "each line holds two paths, an image and its mask"
    if all(len(columns) > 1 for columns in parted) and any(sign in lines[0] for sign in ",;\t"):
        return "these are rows of a table, of which the first column would name the image"
    if all("/" in line for line in lines):
        return "these are paths; a line is relative to the images' folder, or begins with that folder"
    return ""


def _matched(line: str, find: Callable[[str], T | None], folder: str) -> tuple[Entry[T] | None, list[str]]:
    """The entry of a line, and the conventions by which it was understood."""
    for text, rest, forms in _readings(line):
        for name, more in _names(text, folder):
            found = find(same_name(name))
            if found is not None:
                return Entry(found, line, rest), [*forms, *more]
    return None, []


def _readings(line: str) -> Iterator[tuple[str, str, list[str]]]:
    """(name, further columns, conventions): the line as it stands first, then its longest beginnings."""
    yield line, "", []
    bare = line.strip("\"'")
    for text, forms in ((bare, list[str]()), (bare.replace("\\", "/"), ["slashes"]), (unquote(bare), ["quoted"])):
        if forms and text == bare:
            continue
        yield text, "", forms
        for place in reversed(list(_SEPARATOR.finditer(text))):
            name = text[: place.start()].strip("\"'")
            if name:
                yield name, text[place.end() :], [*forms, "columns"]


def _names(text: str, folder: str) -> Iterator[tuple[str, list[str]]]:
    name = text.removeprefix("./")
    yield name, []
    parts = name.split("/")
    for place in range(1, len(parts)):
        if folder and parts[place - 1] == folder:
            yield "/".join(parts[place:]), ["folder"]


def _is_header(first: str, second: str, find: Callable[[str], T | None], folder: str) -> bool:
    """Whether only the second line of a table names something."""
    columns = _SEPARATOR.split(first)
    return len(columns) > 1 and any(sign in first for sign in ",;\t") and _matched(second, find, folder)[0] is not None

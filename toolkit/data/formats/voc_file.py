"""VOC's annotation XML: one image's size and objects, read with care.

Format: the development kit of Pascal VOC 2007-2012 (VOCreadxml, `bndbox` with xmin, ymin, xmax, ymax).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.xml_file import parse_xml
from toolkit.errors import Place

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}


class VocObject(NamedTuple):
    """One object of a VOC annotation file, as it is written there.

    Args:
        name: name of the object's class.
        box: xmin, ymin, xmax and ymax as written, 1-based and inclusive.
        difficult: whether the file marks it as difficult.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class VocFile(NamedTuple):
    """What a VOC annotation file says of its image.

    Args:
        filename: name of the image, "" when not given.
        size: (height, width) in pixels, 0 where not given.
        objects: the objects in the order of the file.
    """

    filename: str
    size: tuple[int, int]
    objects: list[VocObject]


class _Reader:
    """Collects the texts of the few elements that matter, by their path below the root."""

    def __init__(self) -> None:
        self.filename = ""
        self.size: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []
        self.root = ""
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        self._path.append(tag)
        self._text.clear()
        if self._path[1:] == ["object"]:
            self.objects.append({})

    def end(self, _tag: str) -> None:
        path, text = self._path[1:], "".join(self._text).strip()
        if path == ["filename"]:
            self.filename = text
        elif len(path) == 2 and path[0] == "size":
            self.size[path[1]] = text
        elif path[:1] == ["object"] and (len(path) == 2 or (len(path) == 3 and path[1] == "bndbox")):
            self.objects[-1][path[-1]] = text
        self._path.pop()
        self._text.clear()

    def text(self, data: str) -> None:
        self._text.append(data)


def read_voc_file(path: Path, problems: ProblemList) -> VocFile | None:
    """The contents of one XML file; None, with a problem added, when nothing can be made of it.

    Objects that are wrong are left out, each with a problem; see `parse_xml` for what is refused.
    """
    reader = _Reader()
    if not parse_xml(path, reader, problems):
        return None
    if reader.root != "annotation":
        message = f"the root element is <{reader.root}>, wanted <annotation>"
        problems.add("XML files of another kind", path, message)
        return None
    size = _size(path, reader.size, problems)
    objects = [_object(path, place, found, problems) for place, found in enumerate(reader.objects, 1)]
    return VocFile(reader.filename, size, [one for one in objects if one is not None])


def number(text: str | None) -> float | None:
    """A number written in digits; None for anything else, an underscore or hexadecimal included.

    >>> number(" 12.5 "), number("1_000"), number("twelve"), number(None)
    (12.5, None, None, None)
    """
    if text is None or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _size(path: Path, found: dict[str, str], problems: ProblemList) -> tuple[int, int]:
    sides = []
    for key in ("height", "width"):
        side = number(found.get(key, "0"))
        if side is None or not math.isfinite(side) or side < 0 or side != int(side):
            message = f"<size><{key}> is '{found[key]}', wanted a whole number of pixels"
            problems.add("wrong image sizes", path, message)
            side = 0
        sides.append(int(side))
    return sides[0], sides[1]


def _object(path: Path, place: int, found: dict[str, str], problems: ProblemList) -> VocObject | None:
    where = Place(str(path), item=f"object {place} ({found.get('name') or 'no name'})")
    if not found.get("name"):
        problems.add("objects without a name", where, "has no <name>")
        return None
    box = [number(found.get(side)) for side in _SIDES]
    wrong = [
        f"<{side}> is {found.get(side, 'missing')!r}" for side, value in zip(_SIDES, box, strict=True) if value is None
    ]
    if wrong:
        problems.add("boxes that are not four numbers", where, f"{', '.join(wrong)}; wanted a number")
        return None
    difficult = _FLAGS.get(found.get("difficult", "").lower())
    if difficult is None:
        problems.add("wrong flags", where, f"<difficult> is '{found['difficult']}', wanted 0 or 1")
        return None
    return VocObject(found["name"], tuple(value for value in box if value is not None), difficult)  # type: ignore[arg-type]

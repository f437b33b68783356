"""YOLO's files: the data.yaml that names folders and classes, and the label text of one image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.voc_file import number
from toolkit.errors import DataError, Place, Problem, did_you_mean, missing_path


class YoloRow(NamedTuple):
    """One line of a label file.

    Args:
        line: number of the line in its file, from 1.
        label: number of the object's class.
        numbers: center x, center y, width and height, or the corners x, y in turn of an outline; fractions of the image.
    """

    line: int
    label: int
    numbers: tuple[float, ...]

    @property
    def is_outline(self) -> bool:
        """Whether the numbers are corners of an outline."""
        return len(self.numbers) > 4


class YoloData(NamedTuple):
    """What a data.yaml says of one split.

    Args:
        source: file that named the classes, for messages.
        base: folder that `places` start from.
        names: names of the classes by id, or None.
        places: folders of images, or text files that list them.
    """

    source: Path
    base: Path
    names: list[str] | None
    places: list[Path]


def read_data_yaml(path: Path, split: str) -> YoloData:
    """Reads a data.yaml. Relative paths start at its `path`, which starts at the file's own folder.

    Raises DataError for a file that is no YAML mapping, lacks the split or has wrong names.
    """
    content = _mapping(path)
    names = _names(path, content)
    base = path.parent / str(content.get("path") or ".")
    entries = content.get(split)
    if not entries:
        splits = [key for key in ("train", "val", "test") if content.get(key)]
        raise DataError(Problem(path, f"has no split '{split}'", did_you_mean(split, splits)))
    entries = entries if isinstance(entries, list) else [entries]
    return YoloData(path, base, names, [_place(base, str(entry)) for entry in entries])


def names_of_yaml(path: Path) -> list[str]:
    """The class names of a data.yaml. Raises DataError for a file that is no YAML mapping or has wrong names."""
    return _names(path, _mapping(path))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(Problem(path, f"is no valid YAML: {' '.join(str(error).split())}")) from None
    if not isinstance(content, dict):
        raise DataError(Problem(path, f"wanted 'train', 'val' and 'names', found {type(content).__name__}"))
    return content


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(Problem(path, f"the keys of 'names' must be 0..{len(names) - 1}, found {list(names)[:20]}"))
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(Problem(path, "wanted 'names', a list of class names or a mapping 0: name, 1: name ..."))
    names = [str(name) for name in names]
    problems = [Problem(path, f"'names' has '{name}' twice") for name in sorted(set(names)) if names.count(name) > 1]
    if content.get("nc") not in (None, len(names)):
        problems.append(Problem(path, f"'nc' is {content['nc']}, but there are {len(names)} names"))
    if problems:
        raise DataError(problems)
    return names


def _place(base: Path, entry: str) -> Path:
    place = base / entry
    # Roboflow writes ../train/images where it means train/images.
    if not place.exists() and entry.startswith("../") and (base / entry[3:]).exists():
        place = base / entry[3:]
    if not place.exists():
        raise DataError(missing_path("folder", place))
    return place


def read_yolo_labels(path: Path, num_classes: int, problems: ProblemList) -> list[YoloRow]:
    """The objects of one label file; lines that are wrong are left out, each with a problem.

    Args:
        path: the label file of one image.
        num_classes: number of classes; a line with another is wrong.
        problems: takes a problem for every wrong line.
    """
    found = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add("unreadable label files", path, f"cannot be read as text: {error}")
        return []
    for place, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        row = _row(Place(str(path), place), fields, num_classes, problems)
        if row is not None:
            found.append(row)
    return found


def _row(where: Place, fields: list[str], num_classes: int, problems: ProblemList) -> YoloRow | None:
    is_outline = len(fields) >= 7 and len(fields) % 2 == 1
    if len(fields) != 5 and not is_outline:
        hint = "a sixth column looks like a confidence: are these predictions?" if len(fields) == 6 else ""
        message = f"{len(fields)} columns, wanted 5: class, center x, center y, width, height"
        problems.add("lines with a wrong number of columns", where, message, hint)
        return None
    values = [number(field) for field in fields]
    wrong = [field for field, value in zip(fields, values, strict=True) if value is None]
    numbers = [value for value in values if value is not None]
    if wrong:
        problems.add("lines that are not numbers", where, f"'{wrong[0]}' is no number")
        return None
    if not math.isfinite(numbers[0]) or numbers[0] != int(numbers[0]) or not 0 <= numbers[0] < num_classes:
        message = f"class {fields[0]}, but the {num_classes} classes are 0..{num_classes - 1}"
        problems.add("unknown classes", where, message, "add its name to 'names', or correct the label")
        return None
    if max(numbers[1:]) > 2:
        message = f"[{', '.join(fields[1:])}] are no fractions of the image"
        problems.add(
            "boxes in pixels", where, message, "divide x and width by the image's width, y and height by its height"
        )
        return None
    return YoloRow(where.line or 0, int(numbers[0]), tuple(numbers[1:]))

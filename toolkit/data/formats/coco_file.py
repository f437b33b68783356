"""COCO's instances JSON as flat arrays: structure, types and ids checked, geometry not yet.

Format: https://cocodataset.org/#format-data. `bbox` is x, y, width, height in pixels, 0-based.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import ProblemList
from toolkit.errors import DataError, Place, Problem, missing_path

Row = dict[str, Any]

_OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\d\s.,eE+\-]*\]')
"""A list of outlines: nine tenths of a file, and of the time and memory it takes. Inside a JSON string the quotes would
be escaped, so this cannot match there."""


class CocoFile(NamedTuple):
    """The images, categories and M boxes of a COCO annotation file, flat.

    Args:
        image_names: names of the images, as in `file_name`.
        image_ids: (N,) int64 id of each image.
        sizes: (N, 2) int64 height and width, 0 where not given.
        categories: id, name and supercategory of each, by id.
        annotation_ids: (M,) int64 id of each annotation.
        owners: (M,) int64 place in image_names.
        category_ids: (M,) int64 category of each annotation.
        xywh: (M, 4) float64 left, top, width and height in pixels.
        crowd: (M,) bool: whether the annotation is a crowd region.
        area: (M,) float64 square pixels, NaN where absent.
    """

    image_names: list[str]
    image_ids: np.ndarray
    sizes: np.ndarray
    categories: list[tuple[int, str, str]]
    annotation_ids: np.ndarray
    owners: np.ndarray
    category_ids: np.ndarray
    xywh: np.ndarray
    crowd: np.ndarray
    area: np.ndarray


def read_coco_file(path: Path, problems: ProblemList) -> CocoFile:
    """Reads a file; wrong entries become problems and are left out.

    Raises DataError at once when nothing can be made of the file: missing, empty, no JSON, truncated (with the
    place), not COCO's sections.
    """
    content = _sections(path, _parsed(path))
    images = _with_integers(path, content["images"], ("id",), "image", problems)
    categories = _with_integers(path, content["categories"], ("id",), "category", problems)
    annotations = _with_integers(
        path, content["annotations"], ("id", "image_id", "category_id"), "annotation", problems
    )
    images = [image for image in images if _is_named(path, image, "file_name", "image", problems)]
    categories = [row for row in categories if _is_named(path, row, "name", "category", problems)]
    for rows, kind in ((images, "image"), (categories, "category"), (annotations, "annotation")):
        _refuse_repeated(path, [row["id"] for row in rows], kind, problems)
    _refuse_repeated(path, [row["name"] for row in categories], "category name", problems)

    image_ids = _column(images, "id")
    owners, known = _places(_column(annotations, "image_id"), image_ids)
    _refuse_unknown(path, annotations, known, "image_id", "images", problems)
    before = problems.number
    _, named = _places(_column(annotations, "category_id"), _column(categories, "id"))
    _refuse_unknown(path, annotations, named, "category_id", "categories", problems)
    xywh, readable = _boxes(path, annotations, problems)
    keep = known & named & readable
    if problems.number > before:
        problems.blame("annotations of unknown categories", owners[known & ~named].tolist())
        problems.blame("boxes that are not four numbers", owners[known & ~readable].tolist())
    extra = _numbers(path, annotations, ("area", "iscrowd"), problems)
    return CocoFile(
        [image["file_name"] for image in images],
        image_ids,
        np.nan_to_num(_numbers(path, images, ("height", "width"), problems)).astype(np.int64),
        sorted((row["id"], row["name"], str(row.get("supercategory", ""))) for row in categories),
        _column(annotations, "id")[keep],
        owners[keep],
        _column(annotations, "category_id")[keep],
        xywh[keep],
        np.nan_to_num(extra[keep, 1]) > 0,
        extra[keep, 0],
    )


def _parsed(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(missing_path("file", path)) from None
    except OSError as error:
        raise DataError(Problem(path, f"cannot be read: {error.strerror}")) from None
    if not data.strip():
        raise DataError(Problem(path, "the annotation file is empty"))
    try:
        return json.loads(_OUTLINE.sub(b'"segmentation":null', data))
    except (ValueError, RecursionError):
        return _parsed_whole(path, data)


def _parsed_whole(path: Path, data: bytes) -> Any:
    """Parses the unchanged file, so that the place in an error is the place in the file."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        length = len(error.doc)
        whole = f"; the file ends at character {length}, so it may be cut off" if error.pos > length - 100 else ""
        message = f"is no valid JSON: {error.msg} (character {error.pos}){whole}"
        raise DataError(
            Problem(Place(str(path), error.lineno, error.colno), message, "fetch or export it again")
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(path, f"is no valid JSON: {error}")) from None


def _sections(path: Path, content: Any) -> dict[str, list[Row]]:
    wanted = ("images", "annotations", "categories")
    if not isinstance(content, dict):
        found = f"a {type(content).__name__}"
        if isinstance(content, list) and content and isinstance(content[0], dict) and "score" in content[0]:
            found = "a list of results (predictions, not annotations)"
        raise DataError(Problem(path, f"wanted an object with {', '.join(wanted)}, found {found}"))
    problems = []
    for name in wanted:
        section = content.get(name)
        if not isinstance(section, list) or not all(isinstance(row, dict) for row in section):
            found = "nothing" if section is None else type(section).__name__
            problems.append(Problem(path, f"'{name}' must be a list of objects, found {found}"))
    if problems:
        raise DataError(problems)
    return content


def _with_integers(path: Path, rows: list[Row], keys: Sequence[str], kind: str, problems: ProblemList) -> list[Row]:
    """The rows whose keys are integers (1.0 counts, and is made one)."""
    if all(_is_integer_column(rows, key) for key in keys):
        return rows
    good = []
    for place, row in enumerate(rows):
        wrong = [key for key in keys if _integer(row.get(key)) is None]
        for key in wrong:
            message = f"'{key}' is {_shown(row.get(key))}, wanted an integer"
            problems.add(f"{kind} entries without integer ids", Place(str(path), item=f"{kind} entry {place}"), message)
        if not wrong:
            good.append({**row, **{key: _integer(row[key]) for key in keys}})
    return good


def _is_integer_column(rows: list[Row], key: str) -> bool:
    try:
        return not rows or np.array([row[key] for row in rows]).dtype.kind == "i"
    except (KeyError, ValueError):
        return False


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        return None
    return value


def _is_named(path: Path, row: Row, key: str, kind: str, problems: ProblemList) -> bool:
    if isinstance(row.get(key), str) and row[key]:
        return True
    problems.add(
        f"{kind} entries without a name",
        Place(str(path), item=f"{kind} {row['id']}"),
        f"'{key}' is {_shown(row.get(key))}",
    )
    return False


def _refuse_repeated(path: Path, values: list[Any], kind: str, problems: ProblemList) -> None:
    if len(set(values)) == len(values):
        return
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            what = kind if kind.endswith("name") else f"{kind} id"
            problems.add(f"repeated {what}s", path, f"{what} {_shown(value)} occurs more than once")
        seen.add(value)


def _refuse_unknown(
    path: Path, annotations: list[Row], known: np.ndarray, key: str, section: str, problems: ProblemList
) -> None:
    for place in np.flatnonzero(~known).tolist():
        row = annotations[place]
        where = Place(str(path), item=f"annotation {row['id']} (image {row['image_id']})")
        problems.add(f"annotations of unknown {section}", where, f"{key} {row[key]} is not among the file's {section}")


def _boxes(path: Path, annotations: list[Row], problems: ProblemList) -> tuple[np.ndarray, np.ndarray]:
    """(M, 4) float64 boxes, and which of them are four numbers."""
    try:
        boxes = np.array([row["bbox"] for row in annotations])
        if boxes.dtype.kind in "iuf" and boxes.shape == (len(annotations), 4):
            return boxes.astype(np.float64), np.ones(len(boxes), bool)
    except (KeyError, ValueError, OverflowError):
        pass
    boxes = np.zeros((len(annotations), 4))
    readable = np.zeros(len(annotations), bool)
    for place, row in enumerate(annotations):
        box = row.get("bbox")
        if isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box):
            boxes[place], readable[place] = box, True
        else:
            where = Place(str(path), item=f"annotation {row['id']} (image {row['image_id']})")
            problems.add("boxes that are not four numbers", where, f"'bbox' is {_shown(box)}, wanted four numbers")
    return boxes, readable


def _numbers(path: Path, rows: list[Row], keys: Sequence[str], problems: ProblemList) -> np.ndarray:
    """(len(rows), len(keys)) float64, NaN where a key is absent or null."""
    values = [row.get(key) for row in rows for key in keys]
    if _is_column_of_sizes(values):
        return np.array(values, np.float64).reshape(len(rows), len(keys))
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        if value is None:
            continue
        if (isinstance(value, bool) or _is_number(value)) and 0 <= value < 2**62:
            numbers[place] = value
        else:
            row, key = rows[place // len(keys)], keys[place % len(keys)]
            message = f"'{key}' is {_shown(value)}, wanted a number that is not negative"
            problems.add(f"wrong values of '{key}'", Place(str(path), item=f"entry with id {row['id']}"), message)
    return numbers.reshape(len(rows), len(keys))


def _is_column_of_sizes(values: list[Any]) -> bool:
    """Whether all are finite numbers from 0 up, found out without looking at them one by one."""
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return False
    return array.dtype.kind in "if" and bool(((array >= 0) & (array < 2**62)).all())


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**62) or value != value


def _column(rows: list[Row], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows], np.int64)


def _places(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands in an unsorted table, and whether it does."""
    if not len(table):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    order = np.argsort(table, kind="stable")
    place = order[np.minimum(np.searchsorted(table[order], values), len(table) - 1)]
    return place, table[place] == values


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

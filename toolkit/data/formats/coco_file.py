"""COCO's instances JSON as flat arrays: structure, types and ids checked, geometry not yet.

Format: https://cocodataset.org/#format-data. `bbox` is x, y, width, height in pixels, 0-based.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.json_file import json_bytes, parse_json, read_json
from toolkit.data.formats.outlines import Outline, outline_box, ring, run_lengths
from toolkit.errors import DataError, Place, Problem

Row = dict[str, Any]

_OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\d\s.,eE+\-]*\]')
"""A list of outlines: nine tenths of a file, and of the time and memory it takes. Inside a JSON string the quotes would
be escaped, so this cannot match there."""


class CocoFile(NamedTuple):
    """What a file holds, without the entries at which something is wrong.

    Args:
        image_names: names of the images, as in `file_name`.
        image_ids: (N,) int64 id of each image, or its number from 1 on where ids are text.
        sizes: (N, 2) int64 height and width, 0 where not given.
        categories: id, name and supercategory of each, by id.
        entries: (M,) int64 place of each annotation in the file.
        annotation_ids: ids of all annotations in the file, for messages.
        owners: (M,) int64 place of the image in image_names.
        category_ids: (M,) int64 category of each annotation.
        xywh: (M, 4) float64 left, top, width and height in pixels.
        crowd: (M,) bool: whether the annotation is a crowd region.
        area: (M,) float64 square pixels, NaN where absent.
        outlines: `segmentation` of each annotation as it stands in the file, where it was asked for.
    """

    image_names: list[str]
    image_ids: np.ndarray
    sizes: np.ndarray
    categories: list[tuple[int, str, str]]
    entries: np.ndarray
    annotation_ids: Sequence[Any]
    owners: np.ndarray
    category_ids: np.ndarray
    xywh: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    outlines: Sequence[Any] = ()

    def annotation(self, box: int) -> str:
        """What a message calls a box: by its id, or by its place where it has none."""
        return _called(self.annotation_ids, int(self.entries[box]))


def read_coco_file(path: Path, problems: ProblemList, *, with_outlines: bool = False) -> CocoFile:
    """Reads a file; wrong entries become problems of the image they belong to, and are left out.

    Ids serve to join only: they may be text, and those of annotations, which join nothing, may be missing.

    Args:
        path: the JSON file of instances.
        problems: takes what is wrong with single entries.
        with_outlines: whether `segmentation` is read too, which takes ten times as long.

    Raises:
        DataError: at once when nothing can be made of the file: missing, empty, no JSON, truncated (with the place),
            not COCO's sections.
    """
    content = _sections(path, _parsed(path, with_outlines), problems)
    images = _with_names(path, _with_ids(path, content["images"], "image", problems), problems)
    images = [row for row in images if _is_named(path, row, "file_name", "image", problems)]
    categories = [row for row in _with_ids(path, content["categories"], "category", problems)
                  if _is_named(path, row, "name", "category", problems)]  # fmt: skip
    _refuse_repeated(path, [row["name"] for row in categories], "category name", problems)
    image_keys, category_keys = _keys(images, "id"), _keys(categories, "id")
    _refuse_repeated(path, image_keys, "image", problems)
    _refuse_repeated(path, category_keys, "category", problems)
    category_numbers = _numbered(path, category_keys, "category", problems)

    annotations = content["annotations"]
    ids = [row.get("id") for row in annotations]
    clashing = len(ids) - len({str(one) for one in ids}) - max(0, ids.count(None) - 1)
    if clashing:
        problems.notes.append(f"{path}: {clashing} annotation ids stand more than once; they serve nothing here")
    owners, owned = _places(_keys(annotations, "image_id"), image_keys)
    _refuse_unknown(path, annotations, ids, owned, "image_id", "images", problems, None)
    places, named = _places(_keys(annotations, "category_id"), category_keys)
    _refuse_unknown(path, annotations, ids, owned & ~named, "category_id", "categories", problems, owners)
    boxes = _boxes(path, annotations, problems)
    for place in np.flatnonzero(owned & named & np.isnan(boxes[:, 0])).tolist():
        where = Place(str(path), item=f"{_called(ids, place)} (image {annotations[place]['image_id']})")
        message = f"'bbox' is {shown(annotations[place].get('bbox'))}, wanted four numbers"
        problems.add("boxes that are not four numbers", where, message, image=int(owners[place]))
    extra = _numbers(path, annotations, ("area", "iscrowd"), problems, owners)
    keep = np.flatnonzero(owned & named & ~np.isnan(boxes[:, 0]))
    everyone = np.arange(len(images))
    return CocoFile(
        [image["file_name"] for image in images],
        _numbered(path, image_keys, "image", problems),
        np.nan_to_num(_numbers(path, images, ("height", "width"), problems, everyone)).astype(np.int64),
        sorted((number, row["name"], str(row.get("supercategory", "")))
               for number, row in zip(category_numbers.tolist(), categories, strict=True)),
        keep,
        ids,
        owners[keep],
        category_numbers[places[keep]] if len(categories) else places[keep],
        boxes[keep],
        np.nan_to_num(extra[keep, 1]) > 0,
        extra[keep, 0],
        [annotations[place].get("segmentation") for place in keep.tolist()] if with_outlines else (),
    )  # fmt: skip


def _parsed(path: Path, with_outlines: bool) -> Any:
    data = json_bytes(path)
    try:
        return json.loads(data if with_outlines else _OUTLINE.sub(b'"segmentation":null', data))
    except (ValueError, RecursionError):
        return parse_json(path, data)


def _sections(path: Path, content: Any, problems: ProblemList) -> dict[str, list[Row]]:
    wanted = ("images", "annotations", "categories")
    if not isinstance(content, dict):
        found = f"a {type(content).__name__}"
        if isinstance(content, list) and content and isinstance(content[0], dict) and "score" in content[0]:
            found = "a list of results (predictions, not annotations)"
        raise DataError(Problem(path, f"wanted an object with {', '.join(wanted)}, found {found}"))
    faults = []
    if content.get("annotations") is None and isinstance(content.get("images"), list) and content.get("categories"):
        content = {**content, "annotations": []}
        problems.tally[NO_ANNOTATIONS] += 1
        problems.notes.append(
            f"{path}: has no 'annotations': its images can be predicted on, not learned from or measured"
        )
    for name in wanted:
        section = content.get(name)
        if not isinstance(section, list) or not all(isinstance(row, dict) for row in section):
            found = "nothing" if section is None else type(section).__name__
            faults.append(Problem(path, f"'{name}' must be a list of objects, found {found}"))
    if faults:
        raise DataError(faults)
    return content


NO_ANNOTATIONS = "no annotations"
"""Counted in `ProblemList.tally` for a file that lists images and categories only, such as COCO's image_info files."""


def _with_names(path: Path, rows: list[Row], problems: ProblemList) -> list[Row]:
    """The images with a `file_name`: LVIS gives a `coco_url` in its place, whose last two parts are folder and file."""
    bare = [place for place, row in enumerate(rows) if "file_name" not in row and isinstance(row.get("coco_url"), str)]
    if not bare:
        return rows
    problems.notes.append(f"{path}: {len(bare)} images have no file_name; folder and name are taken from coco_url")
    named = list(rows)
    for place in bare:
        named[place] = {**rows[place], "file_name": "/".join(rows[place]["coco_url"].split("/")[-2:])}
    return named


Key = int | str | None
"""What joins two sections: a number, also one that is written as text, or a text; None for neither."""


def _key(value: Any) -> Key:
    """An id as it is compared.

    >>> _key(7), _key("007"), _key(7.0), _key("p 1"), _key(True), _key(None)
    (7, 7, 7, 'p 1', None, None)
    """
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else text or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return value
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _keys(rows: list[Row], key: str) -> np.ndarray | list[Key]:
    """(N,) int64 when all are numbers, which is quick; else a list."""
    try:
        column = np.array([row[key] for row in rows] or np.empty(0, np.int64))
        if column.dtype.kind == "i":
            return column.astype(np.int64)
    except (KeyError, ValueError, OverflowError):
        pass
    keys = [_key(row.get(key)) for row in rows]
    return np.array(keys, np.int64) if all(isinstance(one, int) for one in keys) else keys


def _with_ids(path: Path, rows: list[Row], kind: str, problems: ProblemList) -> list[Row]:
    """The rows that have an id."""
    good = []
    for place, row in enumerate(rows):
        if _key(row.get("id")) is None:
            where = Place(str(path), item=f"{kind} entry {place}")
            problems.add(f"{kind} entries without ids", where, f"'id' is {shown(row.get('id'))}, wanted an integer")
        else:
            good.append(row)
    return good


def _numbered(path: Path, keys: np.ndarray | list[Key], kind: str, problems: ProblemList) -> np.ndarray:
    """(N,) int64 ids: those of the file, or numbers from 1 on in its order where an id is text."""
    if isinstance(keys, np.ndarray):
        return keys
    problems.notes.append(f"{path}: {kind} ids are text; results number them from 1 on, in the order of the file")
    return np.arange(1, len(keys) + 1)


def _called(ids: Sequence[Any], place: int) -> str:
    return f"annotation {ids[place]}" if _key(ids[place]) is not None else f"annotation entry {place}"


def _is_named(path: Path, row: Row, key: str, kind: str, problems: ProblemList) -> bool:
    if isinstance(row.get(key), str) and row[key]:
        return True
    where = Place(str(path), item=f"{kind} {row['id']}")
    problems.add(f"{kind} entries without a name", where, f"'{key}' is {shown(row.get(key))}")
    return False


def _refuse_repeated(path: Path, keys: Sequence[Any] | np.ndarray, kind: str, problems: ProblemList) -> None:
    values = keys.tolist() if isinstance(keys, np.ndarray) else keys
    if len(set(values)) == len(values):
        return
    for value in [value for value, count in Counter(values).items() if count > 1]:
        what = kind if kind.endswith("name") else f"{kind} id"
        problems.add(f"repeated {what}s", path, f"{what} {shown(value)} occurs more than once")


def _refuse_unknown(
    path: Path,
    annotations: list[Row],
    ids: Sequence[Any],
    which: np.ndarray,
    key: str,
    section: str,
    problems: ProblemList,
    owners: np.ndarray | None,
) -> None:
    """A problem for each annotation that refers to nothing; of its image, where `owners` says which that is."""
    wrong = which if owners is not None else ~which
    for place in np.flatnonzero(wrong).tolist():
        row = annotations[place]
        where = Place(str(path), item=f"{_called(ids, place)} (image {row.get('image_id')})")
        value = row.get(key)
        message = f"{key} {value} is not among the file's {section}"
        if _key(value) is None:
            message = f"'{key}' is {shown(value)}, wanted an integer"
        image = None if owners is None else int(owners[place])
        problems.add(f"annotations of unknown {section}", where, message, image=image)


def _boxes(path: Path, annotations: list[Row], problems: ProblemList) -> np.ndarray:
    """(M, 4) float64 boxes; NaN where there are no four numbers, and no outline to take the box from."""
    try:
        boxes = np.array([row["bbox"] for row in annotations])
        if boxes.dtype.kind in "iuf" and boxes.shape == (len(annotations), 4):
            return np.where(np.isfinite(boxes), boxes, np.inf).astype(np.float64)
    except (KeyError, ValueError, OverflowError):
        pass
    boxes = np.full((len(annotations), 4), np.nan)
    missing = []
    for place, row in enumerate(annotations):
        box = row.get("bbox")
        if isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box):
            boxes[place] = [value if math.isfinite(value) else math.inf for value in box]
        elif not box:
            missing.append(place)
    if missing:
        outlines = read_json(path)["annotations"]
        for place in missing:
            found = outline_of(outlines[place].get("segmentation"))
            x1, y1, x2, y2 = outline_box(found or Outline(""))
            boxes[place] = x1, y1, x2 - x1, y2 - y1
        taken = int(np.isfinite(boxes[missing, 0]).sum())
        if taken:
            problems.notes.append(f"{path}: {taken} annotations have no 'bbox'; it was taken from their outlines")
    return boxes


def outline_of(found: Any) -> Outline | None:
    """COCO's `segmentation` as an outline without a name: polygons or run lengths; None for what is neither.

    Polygons of fewer than three corners have no area and are left out.

    >>> [points.tolist() for points in outline_of([[2, 1, 5, 1, 5, 9], [0, 0, 1, 1]]).rings], outline_of("a")
    ([[[2.0, 1.0], [5.0, 1.0], [5.0, 9.0]]], None)
    """
    if isinstance(found, dict):
        mask = run_lengths(found)
        return None if mask is None else Outline("", mask=mask)
    if not found:
        return Outline("")
    if not isinstance(found, list):
        return None
    rings = [ring(part) for part in outline_parts(found) if not isinstance(part, list) or len(part) >= 6]
    return None if any(one is None for one in rings) else Outline("", tuple(one for one in rings if one is not None))


def outline_parts(found: Any) -> list[Any]:
    """The polygons of a `segmentation`; some tools write a single one without the list around it."""
    if not isinstance(found, list) or not found:
        return []
    return found if isinstance(found[0], list) else [found]


def _numbers(path: Path, rows: list[Row], keys: Sequence[str], problems: ProblemList, owners: np.ndarray) -> np.ndarray:
    """(len(rows), len(keys)) float64, NaN where a key is absent or null. owners: position of each row's image."""
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
            where = Place(str(path), item=f"entry with id {row.get('id')}")
            message = f"'{key}' is {shown(value)}, wanted a number that is not negative"
            problems.add(f"wrong values of '{key}'", where, message, image=int(owners[place // len(keys)]))
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


def _places(values: np.ndarray | list[Key], table: np.ndarray | list[Key]) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands in an unsorted table, and whether it does."""
    if not len(table):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    if isinstance(values, list) or isinstance(table, list):
        known = {key: place for place, key in enumerate(table) if key is not None}
        place = np.array([known.get(value, -1) for value in values], np.int64).reshape(-1)
        return np.maximum(place, 0), place >= 0
    order = np.argsort(table, kind="stable")
    place = order[np.minimum(np.searchsorted(table[order], values), len(table) - 1)]
    return place, table[place] == values


def shown(value: Any) -> str:
    """A value of the file in a message: its text, cut at 60 letters."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""COCO's instances JSON as flat arrays: structure, types and ids checked, geometry not yet.

Format: https://cocodataset.org/#format-data. `bbox` is x, y, width, height in pixels, 0-based. The file is read a piece
at a time, and of a million annotations only columns of numbers are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import SHOWN_OF_A_KIND, ProblemList
from toolkit.data.formats.coco_columns import (
    Annotations,
    Entry,
    Keys,
    OutlinedEntry,
    Row,
    annotations_of,
    called,
    key_of,
    keys_of,
    places_in,
    shown,
    sizes_of,
    together,
)
from toolkit.data.formats.json_stream import pieces
from toolkit.data.formats.outlines import Outline, outline_box, ring, run_lengths
from toolkit.errors import DataError, Place, Problem


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
    annotation_ids: Sequence[Any] | np.ndarray
    owners: np.ndarray
    category_ids: np.ndarray
    xywh: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    outlines: Sequence[Any] = ()

    def annotation(self, box: int) -> str:
        """What a message calls a box: by its id, or by its place where it has none."""
        return called(self.annotation_ids, int(self.entries[box]))


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
    content = _sections(path, with_outlines, problems)
    images = _with_names(path, _with_ids(path, content.images, "image", problems), problems)
    images = [row for row in images if _is_named(path, row, "file_name", "image", problems)]
    categories = [row for row in _with_ids(path, content.categories, "category", problems)
                  if _is_named(path, row, "name", "category", problems)]  # fmt: skip
    _refuse_repeated(path, [row["name"] for row in categories], "category name", problems)
    image_keys, category_keys = (keys_of([row["id"] for row in rows], set()) for rows in (images, categories))
    _refuse_repeated(path, image_keys, "image", problems)
    _refuse_repeated(path, category_keys, "category", problems)
    category_numbers = _numbered(path, category_keys, "category", problems)

    found = content.annotations
    _note_clashing(path, found.ids, problems)
    owners, owned = places_in(found.images, image_keys)
    places, named = places_in(found.categories, category_keys)
    _refuse_unknown(path, found, ~owned, "image_id", "images", problems, None)
    _refuse_unknown(path, found, owned & ~named, "category_id", "categories", problems, owners)
    boxes = _with_boxes_of_outlines(path, found, problems)
    boxed = ~np.isnan(boxes[:, 0])
    for place in np.flatnonzero(owned & named & ~boxed).tolist():
        where = Place(str(path), item=f"{found.called(place)} (image {found.value(place, 'image_id')})")
        message = f"'bbox' is {shown(found.value(place, 'bbox'))}, wanted four numbers"
        problems.add("boxes that are not four numbers", where, message, image=int(owners[place]))
    _refuse_sizes(path, found.odd, {"area": found.area, "iscrowd": found.crowd}, problems, owners)
    odd: set[int] = set()
    sizes = {key: sizes_of([row.get(key) for row in images], odd) for key in ("height", "width")}
    _refuse_sizes(path, {place: images[place] for place in odd}, sizes, problems, np.arange(len(images)))
    keep = np.flatnonzero(owned & named & boxed)
    return CocoFile(
        [image["file_name"] for image in images],
        _numbered(path, image_keys, "image", problems),
        np.nan_to_num(np.stack(list(sizes.values()), 1)).astype(np.int64),
        sorted((number, row["name"], str(row.get("supercategory", "")))
               for number, row in zip(category_numbers.tolist(), categories, strict=True)),
        keep,
        found.ids,
        owners[keep],
        category_numbers[places[keep]] if len(categories) else places[keep],
        boxes[keep],
        np.nan_to_num(found.crowd[keep]) > 0,
        found.area[keep],
        [found.outlines[place] for place in keep.tolist()] if with_outlines else (),
    )  # fmt: skip


class _Content(NamedTuple):
    """The three sections: rows of images and categories, columns of annotations."""

    images: list[Row]
    annotations: Annotations
    categories: list[Row]


_SECTIONS = ("images", "annotations", "categories")
_OBJECTS = {dict, Entry, OutlinedEntry}
_KEPT = ("id", "file_name", "coco_url", "height", "width", "name", "supercategory")


def _sections(path: Path, with_outlines: bool, problems: ProblemList) -> _Content:
    """The sections of a file, whose rows are objects, but not looked at yet. Raises DataError as `read_coco_file`."""
    rows: dict[str, list[Row]] = {}
    columns: list[Annotations] = []
    other: dict[str, Any] = {}
    count = 0
    lists = {**dict.fromkeys(_SECTIONS), "annotations": OutlinedEntry if with_outlines else Entry}
    for key, value in pieces(path, lists):
        if not key:
            raise DataError(_no_object(path, value))
        if key not in _SECTIONS:
            continue
        if not isinstance(value, list) or not set(map(type, value)) <= _OBJECTS:
            other[key] = value
        elif key == "annotations":
            columns.append(annotations_of(value, count))
            count += len(value)
        else:
            slim = [{name: row[name] for name in _KEPT if name in row} for row in value]
            rows.setdefault(key, []).extend(slim)
    categories = rows.get("categories") or other.get("categories")
    if not columns and other.get("annotations") is None and "images" in rows and categories:
        columns = [annotations_of([], 0)]
        other.pop("annotations", None)
        problems.tally[NO_ANNOTATIONS] += 1
        problems.notes.append(
            f"{path}: has no 'annotations': its images can be predicted on, not learned from or measured"
        )
    there = {**rows, **({"annotations": columns} if columns else {})}
    faults = []
    for name in _SECTIONS:
        if name in other or name not in there:
            found = "nothing" if other.get(name) is None else type(other[name]).__name__
            faults.append(Problem(path, f"'{name}' must be a list of objects, found {found}"))
    if faults:
        raise DataError(faults)
    return _Content(rows["images"], together(columns), rows["categories"])


def _no_object(path: Path, content: Any) -> Problem:
    found = f"a {type(content).__name__}"
    if isinstance(content, list) and content and isinstance(content[0], dict) and "score" in content[0]:
        found = "a list of results (predictions, not annotations)"
    return Problem(path, f"wanted an object with {', '.join(_SECTIONS)}, found {found}")


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


def _with_ids(path: Path, rows: list[Row], kind: str, problems: ProblemList) -> list[Row]:
    """The rows that have an id."""
    good = []
    for place, row in enumerate(rows):
        if key_of(row.get("id")) is None:
            where = Place(str(path), item=f"{kind} entry {place}")
            problems.add(f"{kind} entries without ids", where, f"'id' is {shown(row.get('id'))}, wanted an integer")
        else:
            good.append(row)
    return good


def _numbered(path: Path, keys: Keys, kind: str, problems: ProblemList) -> np.ndarray:
    """(N,) int64 ids: those of the file, or numbers from 1 on in its order where an id is text."""
    if isinstance(keys, np.ndarray):
        return keys
    problems.notes.append(f"{path}: {kind} ids are text; results number them from 1 on, in the order of the file")
    return np.arange(1, len(keys) + 1)


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


def _note_clashing(path: Path, ids: np.ndarray | list[Any], problems: ProblemList) -> None:
    """Annotations may lack an id; those that have one should not share it."""
    given = ids if isinstance(ids, np.ndarray) else np.array([str(one) for one in ids if one is not None], object)
    ordered = np.sort(given)
    clashing = int((ordered[1:] == ordered[:-1]).sum())
    if clashing:
        problems.notes.append(f"{path}: {clashing} annotation ids stand more than once; they serve nothing here")


def _refuse_unknown(
    path: Path,
    found: Annotations,
    wrong: np.ndarray,
    key: str,
    section: str,
    problems: ProblemList,
    owners: np.ndarray | None,
) -> None:
    """A problem for each annotation that refers to nothing; of its image, where `owners` says which that is."""
    kind, places = f"annotations of unknown {section}", np.flatnonzero(wrong).tolist()
    for place in places[:SHOWN_OF_A_KIND]:
        where = Place(str(path), item=f"{found.called(place)} (image {found.value(place, 'image_id')})")
        value = found.value(place, key)
        message = f"{key} {value} is not among the file's {section}"
        if key_of(value) is None:
            message = f"'{key}' is {shown(value)}, wanted an integer"
        problems.add(kind, where, message, image=None if owners is None else int(owners[place]))
    for place in places[SHOWN_OF_A_KIND:]:
        problems.count(kind, [] if owners is None else [int(owners[place])])


def _refuse_sizes(
    path: Path, odd: dict[int, Row], columns: dict[str, np.ndarray], problems: ProblemList, owners: np.ndarray
) -> None:
    """A problem for each value of odd rows that is none of a size, of the image that `owners` says."""
    for place, row in sorted(odd.items()):
        for key in [key for key, column in columns.items() if row.get(key) is not None and np.isnan(column[place])]:
            where = Place(str(path), item=f"entry with id {row.get('id')}")
            message = f"'{key}' is {shown(row[key])}, wanted a number that is not negative"
            problems.add(f"wrong values of '{key}'", where, message, image=int(owners[place]))


def _with_boxes_of_outlines(path: Path, found: Annotations, problems: ProblemList) -> np.ndarray:
    """(M, 4) boxes; NaN where there are no four numbers, and no outline to take the box from."""
    missing = {place for place, row in found.odd.items() if not row.get("bbox")}
    if not missing:
        return found.xywh
    boxes, first = found.xywh.copy(), 0
    for key, rows in pieces(path, {"annotations": OutlinedEntry}):
        for place in missing.intersection(range(first, first + len(rows))) if key == "annotations" else ():
            outline = outline_of(rows[place - first].segmentation) or Outline("")
            x1, y1, x2, y2 = outline_box(outline)
            boxes[place] = x1, y1, x2 - x1, y2 - y1
        first += len(rows) if key == "annotations" else 0
    taken = int(np.isfinite(boxes[sorted(missing), 0]).sum())
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

"""Rows of COCO's lists as columns: a piece of the file at a time, what is not as it should be kept as it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

Row = dict[str, Any]
Key = int | str | None
"""What joins two sections: a number, also one that is written as text, or a text; None for neither."""
Keys = np.ndarray | list[Key]
"""(N,) int64 when all are numbers, which is quick; else a list."""


class Annotations(NamedTuple):
    """The annotations of a file, or of a piece of it.

    Args:
        ids: (M,) int64, or the ids as they stand in the file where one is no number.
        images: key of the image of each.
        categories: key of the category of each.
        xywh: (M, 4) float64 left, top, width, height; NaN where there are no four numbers, infinite for what is not finite.
        area: (M,) float64 square pixels, NaN where absent or no size.
        crowd: (M,) float64 0 or 1, NaN where absent or neither.
        odd: the rows with a value that is absent or of another type, by their place, but for their outlines.
        outlines: `segmentation` of each where it is asked for, else nothing.
    """

    ids: np.ndarray | list[Any]
    images: Keys
    categories: Keys
    xywh: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    odd: dict[int, Row]
    outlines: list[Any]

    def value(self, place: int, key: str) -> Any:
        """What stands in the file under a key of an annotation that is odd, or refers to something by number."""
        if place in self.odd:
            return self.odd[place].get(key)
        value = {"id": self.ids, "image_id": self.images, "category_id": self.categories}[key][place]
        return int(value) if isinstance(value, np.integer) else value

    def called(self, place: int) -> str:
        """What a message calls an annotation: by its id, or by its place where it has none."""
        return called(self.ids, place)


class Entry(msgspec.Struct, gc=False):
    """What is read of an annotation, as it stands in the file; None for what is absent."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None


class OutlinedEntry(Entry, gc=False):
    """An annotation with its outline."""

    segmentation: Any = None


def annotations_of(entries: Sequence[Entry], first: int) -> Annotations:
    """The columns of some annotations, one behind the other in the file; their outlines, too, where they were read.

    Args:
        entries: what the file says of each.
        first: place of the first of them in the file.
    """
    odd: set[int] = set()
    ids = [entry.id for entry in entries]
    numbers = integers(ids)
    outlined = bool(entries) and isinstance(entries[0], OutlinedEntry)
    outlines = [entry.segmentation for entry in entries] if outlined else []  # type: ignore[attr-defined]
    return Annotations(
        ids if numbers is None else numbers,
        keys_of([entry.image_id for entry in entries], odd),
        keys_of([entry.category_id for entry in entries], odd),
        _boxes([entry.bbox for entry in entries], odd),
        sizes_of([entry.area for entry in entries], odd),
        sizes_of([entry.iscrowd for entry in entries], odd),
        {first + place: {name: getattr(entries[place], name) for name in Entry.__struct_fields__} for place in odd},
        outlines,
    )


def together(parts: Sequence[Annotations]) -> Annotations:
    """The columns of all pieces, in their order."""
    columns = zip(*parts, strict=True)
    return Annotations(*(_joined(list(column)) for column in columns))


def _joined(column: list[Any]) -> Any:
    if isinstance(column[0], dict):
        return {place: row for piece in column for place, row in piece.items()}
    if all(isinstance(piece, np.ndarray) for piece in column):
        return np.concatenate(column)
    return [value for piece in column for value in (piece.tolist() if isinstance(piece, np.ndarray) else piece)]


def integers(values: Sequence[Any]) -> np.ndarray | None:
    """(N,) int64 of a list of integers; None for a list with anything else."""
    if not set(map(type, values)) <= {int}:
        return None
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return None


def keys_of(values: Sequence[Any], odd: set[int]) -> Keys:
    """What rows refer to, or are referred to by: ids, as they stand in the file.

    Args:
        values: an id of each row.
        odd: takes the places of those that are no integers.
    """
    column = integers(values)
    if column is not None:
        return column
    keys = [key_of(value) for value in values]
    odd.update(place for place, (value, one) in enumerate(zip(values, keys, strict=True)) if value is not one)
    return np.array(keys, np.int64) if all(isinstance(one, int) for one in keys) else keys


def key_of(value: Any) -> Key:
    """An id as it is compared.

    >>> key_of(7), key_of("007"), key_of(7.0), key_of("p 1"), key_of(True), key_of(None)
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


def places_in(values: Keys, table: Keys) -> tuple[np.ndarray, np.ndarray]:
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


def called(ids: Sequence[Any] | np.ndarray, place: int) -> str:
    """What a message calls an annotation: by its id, or by its place where it has none."""
    has_id = isinstance(ids, np.ndarray) or key_of(ids[place]) is not None
    return f"annotation {ids[place]}" if has_id else f"annotation entry {place}"


def _boxes(found: Sequence[Any], odd: set[int]) -> np.ndarray:
    try:
        boxes = np.array(found or np.empty((0, 4)))
        if boxes.dtype.kind in "iuf" and boxes.shape == (len(found), 4):
            return np.where(np.isfinite(boxes), boxes, np.inf).astype(np.float64)
    except (ValueError, OverflowError):
        pass
    boxes = np.full((len(found), 4), np.nan)
    for place, box in enumerate(found):
        if isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box):
            boxes[place] = [value if math.isfinite(value) else math.inf for value in box]
        else:
            odd.add(place)
    return boxes


def sizes_of(values: Sequence[Any], odd: set[int]) -> np.ndarray:
    """(N,) float64, NaN where a value is None (absent, null), or no number from 0 up.

    Args:
        values: a size, an area or a flag of each row.
        odd: takes the places of those that have another value than such a number.
    """
    absent = values.count(None)
    try:
        column = np.array([math.nan if value is None else value for value in values] if absent else values)
        if column.dtype.kind in "if" and int(((column >= 0) & (column < 2**62)).sum()) == len(values) - absent:
            return column.astype(np.float64)
    except (ValueError, OverflowError):
        pass
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        if value is None:
            continue
        if (isinstance(value, bool) or _is_number(value)) and 0 <= value < 2**62:
            numbers[place] = value
        else:
            odd.add(place)
    return numbers


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**62) or value != value


def shown(value: Any) -> str:
    """A value of the file in a message: its text, cut at 60 letters."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

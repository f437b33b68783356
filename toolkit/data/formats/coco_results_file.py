"""Boxes that somebody's model found, in a JSON file of COCO's results format: https://cocodataset.org/#format-results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.errors import DataError, Problem, listed, missing_path
from toolkit.samples import Detections

_SHOWN = 5


class CocoResults(NamedTuple):
    """What a file of results holds.

    Args:
        found: the detections of each image, best first, boxes and scores in float64 as they stand in the file.
        by_file: whether images were found by `file` in each entry, because `image_id` counts something else.
    """

    found: list[Detections]
    by_file: bool


def read_coco_results(
    path: Path,
    by_id: Callable[[Any], int | None],
    by_name: Callable[[str], int | None],
    images: int,
    categories: Mapping[Any, int],
    classes: Sequence[str],
) -> CocoResults:
    """The detections of each image.

    `toolkit predict` numbers the pictures of a folder, and says in `file` which one an entry belongs to: where the two do
    not mean the same image, the names count.

    Args:
        path: a list of entries, or a mapping with such a list as "annotations" and, to be compared, "categories".
        by_id: the place among N images that an `image_id` means, or None.
        by_name: the place among N images that a `file` means, or None.
        images: N, how many annotated images there are.
        categories: label 0..K-1 of each `category_id`.
        classes: K names, in the order of the labels.

    Raises:
        DataError: for a file that is missing, no JSON or no such list; for entries of unknown images or categories,
            boxes that are not four finite numbers with a width and a height, scores that are no finite numbers, and
            category names in another order: all at once, each with an example.
    """
    entries = _entries(path, categories, classes)
    faults = _Faults(path)
    rows: list[list[tuple[float, list[float], int]]] = [[] for _ in range(images)]
    by_file = any(_contradicts(entry, by_id, by_name) for entry in entries)
    what = "file" if by_file else "image_id"
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            faults.add("entries that are no mappings", number, entry)
            continue
        place, label = by_id(entry.get("image_id")), categories.get(entry.get("category_id"))
        if by_file:
            place = by_name(str(entry.get("file")))
        box, score = entry.get("bbox"), entry.get("score")
        if place is None:
            faults.add(f"{'a' if by_file else 'an'} {what} that no annotated image has", number, entry.get(what))
        if label is None:
            faults.add("a category_id that the annotations have not", number, entry.get("category_id"))
        if not _is_box(box):
            faults.add("a 'bbox' that is not x, y, width and height, finite and not negative", number, box)
        if not _is_number(score):
            faults.add("a 'score' that is no finite number", number, score)
        if place is not None and label is not None and _is_box(box) and _is_number(score):
            x, y, width, height = map(float, box)  # type: ignore[arg-type]
            rows[place].append((float(score), [x, y, x + width, y + height], label))  # type: ignore[arg-type]
    faults.stop(len(entries))
    return CocoResults([_detections(one) for one in rows], by_file)


def _contradicts(entry: Any, by_id: Callable[[Any], int | None], by_name: Callable[[str], int | None]) -> bool:
    """Whether an entry's `file` means another image than its `image_id`."""
    file = entry.get("file") if isinstance(entry, dict) else None
    named = by_name(file) if isinstance(file, str) else None
    return named is not None and named != by_id(entry.get("image_id"))


def _detections(rows: list[tuple[float, list[float], int]]) -> Detections:
    order = sorted(range(len(rows)), key=lambda place: -rows[place][0])
    boxes = np.array([rows[place][1] for place in order], np.float64).reshape(-1, 4)
    scores = np.array([rows[place][0] for place in order], np.float64)
    labels = np.array([rows[place][2] for place in order], np.int64)
    return Detections(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)) and min(value[2:]) >= 0


class _Faults:
    """Wrong entries of a file, by kind: how many, and the first few."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, list[tuple[int, Any]]] = {}

    def add(self, kind: str, number: int, value: Any) -> None:
        self.found.setdefault(kind, []).append((number, value))

    def stop(self, entries: int) -> None:
        """Raises DataError when there are any."""
        problems = []
        for kind, members in self.found.items():
            examples = listed((f"entry {number} has {str(value)[:60]}" for number, value in members), _SHOWN)
            problems.append(Problem(self.path, f"{len(members)} of {entries} entries have {kind}: {examples}"))
        if problems:
            raise DataError(problems)


def _entries(path: Path, categories: Mapping[Any, int], classes: Sequence[str]) -> list[Any]:
    if not path.is_file():
        raise DataError(missing_path("file of predictions", path))
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(path, f"cannot be read as JSON ({error})")) from None
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        _refuse_other_names(path, content.get("categories") or [], categories, classes)
        content = content["annotations"]
    if not isinstance(content, list):
        message = "wanted a list of entries with image_id, category_id, bbox and score, as COCO's results have them"
        raise DataError(Problem(path, message))
    return content


def _refuse_other_names(path: Path, own: Any, categories: Mapping[Any, int], classes: Sequence[str]) -> None:
    """Raises DataError when a file says names of its categories and they are not those of the annotations."""
    told = [row for row in own if isinstance(row, dict) and "name" in row] if isinstance(own, list) else []
    differing = [
        f"{row.get('id')} is {row['name']}, annotated as {classes[categories[row.get('id')]]}"
        for row in told
        if row.get("id") in categories and classes[categories[row.get("id")]] != row["name"]
    ]
    if differing:
        message = f"its categories are called otherwise than those of the annotations: {listed(differing, _SHOWN)}"
        raise DataError(Problem(path, message, "use the annotations' category ids"))

"""Whether records can be compared: the same images of the same split, with the same annotations and the same classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.errors import DataError, Problem, listed
from toolkit.results.box_numbers import limits_of
from toolkit.results.record import Record


def refuse_others(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Raises DataError, with everything that differs, unless all records are of what the first is of; returns notes.

    Args:
        records: the records, the first of which the others are held against.
        names: what each is called in messages.
    """
    first, problems, notes = records[0], list[Problem](), list[str]()
    for record, name in zip(records[1:], names[1:], strict=True):
        found = _differs_in_kind(first, record, names[0]) or _differs_in_images(first, record, names[0])
        problems += [Problem(name, message, suggestion) for message, suggestion in found]
        if not found and record.classes != first.classes:
            notes.append(f"{name} lists the same classes in another order than {names[0]}: they are joined by name")
        if not found and record.groups != first.groups:
            notes.append(f"{name} groups its images otherwise: the groups of {names[0]} are drawn")
    if problems:
        raise DataError(problems)
    return notes


def in_order_of(record: Record, first: Record) -> Record:
    """The record with its images in the order of another's, which has the same ones."""
    if record.images == first.images:
        return record
    place = {key: number for number, key in enumerate(_keys(record))}
    return record.take([place[key] for key in _keys(first)]).with_numbers(**dict(record.numbers))


def _differs_in_kind(first: Record, other: Record, name: str) -> list[tuple[str, str]]:
    """(what is different, what to do) of what was measured, whatever the images."""
    found = []
    for key, word in (("task", "task"), ("split", "split")):
        one, two = (record.about.get(key) for record in (first, other))
        if one != two:
            remedy = f"evaluate both on one split: toolkit evaluate RUN --split {one}" if key == "split" else ""
            found.append((f"is of the {word} '{two}', {name} of '{one}'", remedy))
    if set(first.classes) != set(other.classes):
        only = [sorted(set(a.classes) - set(b.classes)) for a, b in ((first, other), (other, first))]
        parts = [f"it lacks {listed(only[0])}" if only[0] else "", f"{name} lacks {listed(only[1])}" if only[1] else ""]
        message = f"has other classes than {name}: {', '.join(filter(None, parts))}"
        found.append((message, "only numbers of the same classes can be compared"))
    excluded = [sorted(record.about.get("excluded") or ()) for record in (first, other)]
    if excluded[0] != excluded[1]:
        told = [listed(names) or "none" for names in excluded]
        message = f"leaves classes out of its means ({told[1]}) that {name} does not ({told[0]})"
        found.append((message, "evaluate both with the same evaluate.exclude"))
    limits = [limits_of(tuple(record.numbers.get("metrics", {}))) for record in (first, other)]
    if limits[0] != limits[1]:
        message = f"looks at {limits[1]} detections of a class in an image, {name} at {limits[0]}"
        found.append((message, "evaluate both with the same max_detections"))
    return found


def _differs_in_images(first: Record, other: Record, name: str) -> list[tuple[str, str]]:
    """The same of the images and their annotations."""
    missing = [key for key in _keys(first) if key not in set(_keys(other))]
    extra = [key for key in _keys(other) if key not in set(_keys(first))]
    if missing or extra:
        parts = [
            f"lacks {len(missing)} of its {len(first)} images: {listed(key[0] for key in missing)}" if missing else "",
            f"has {len(extra)} that it lacks: {listed(key[0] for key in extra)}" if extra else "",
        ]
        message = f"is of other images than {name}: {' and '.join(filter(None, parts))}"
        return [(message, "evaluate both on the same data")]
    aligned = in_order_of(other, first)
    changed = [first.images[place] for place in np.flatnonzero(_other_truths(first, aligned))]
    if changed:
        message = f"was measured against other annotations than {name}, of {len(changed)} images: {listed(changed)}"
        return [(message, "evaluate both again on today's annotations")]
    return []


def _keys(record: Record) -> list[tuple[str, int]]:
    """Names, with a number for the second image of one name."""
    seen: dict[str, int] = {}
    keys = []
    for name in record.images:
        seen[name] = seen.get(name, -1) + 1
        keys.append((name, seen[name]))
    return keys


def _other_truths(first: Record, other: Record) -> np.ndarray:
    """(N,) bool: images whose annotation differs between two records of the same images in the same order."""
    places = [other.classes.index(name) for name in first.classes]
    differs = (first.sizes != other.sizes).any(axis=1)
    if "confusion_cells" in first.arrays and "confusion_cells" in other.arrays:
        differs |= (first.class_pixels[:, 1] != other.class_pixels[:, 1][:, places]).any(axis=1)
    if "truth_counts" in first.arrays and "truth_counts" in other.arrays:
        boxes = [_sorted_boxes(record, names) for record, names in ((first, None), (other, places))]
        differs |= np.array([not np.array_equal(a, b) for a, b in zip(*boxes, strict=True)], bool)
    if "image_label" in first.arrays and "image_label" in other.arrays:
        mine = np.array(first.classes, object)[first.arrays["image_label"]]
        differs |= mine != np.array(other.classes, object)[other.arrays["image_label"]]
    return differs


def _sorted_boxes(record: Record, places: Sequence[int] | None) -> list[np.ndarray]:
    """The true boxes of each image as sorted rows: label, corners, whether it is a crowd."""
    labels = record.arrays["truth_labels"]
    if places is not None:
        labels = np.argsort(np.asarray(places))[labels]
    rows = np.column_stack([labels, record.arrays["truth_boxes"], record.arrays["truth_crowd"]])
    ends = np.cumsum(record.arrays["truth_counts"])[:-1]
    return [part[np.lexsort(part.T[::-1])] for part in np.split(rows, ends)]

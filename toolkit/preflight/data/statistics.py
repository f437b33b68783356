"""Numbers of a data set: class frequencies with the weights that follow, objects, image sizes, pixel mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.data.classes.frequencies import (
    FAR_APART,
    SOFT_LIMIT,
    ClassCounts,
    median_frequency_weights,
    softened_weights,
    weight_ratio,
)
from toolkit.errors import Problem
from toolkit.preflight.data.record import SampleRecord, SplitRecords
from toolkit.preflight.findings import BoxNumbers, ClassNumbers, Report, SizeNumbers, SplitNumbers, Table
from toolkit.samples import IGNORE_INDEX

_SHOWN_CLASSES = 100

_SMALL, _LARGE = 32.0**2, 96.0**2
"""COCO's borders between small, medium and large objects, square pixels (cocoeval.py, Params.areaRng)."""


def class_images(split: SplitRecords) -> np.ndarray:
    """(K,) int64: images that hold each class, whatever way they are labelled."""
    counts = np.zeros(len(split.dataset.classes), np.int64)
    for record in split.records:
        held = set(record.labels or ()) | {int(box[4]) for box in record.boxes or ()}
        held |= {record.image_label} if record.image_label is not None else set()
        counts[[label for label in held if label < len(counts)]] += 1
    return counts


def note_statistics(report: Report, splits: Sequence[SplitRecords]) -> None:
    """Fills `report.data` and adds tables and lines for people."""
    report.data = {split.name: _of_split(split) for split in splits}
    _tell_images(report)
    _tell_classes(report, splits[0].dataset.classes)
    _tell_boxes(report)
    train = report.data.get("train")
    if train is not None and train.pixel_mean and train.pixel_std:
        mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (train.pixel_mean, train.pixel_std))
        report.note("pixels", f"train: mean [{mean}], standard deviation [{std}] of values 0..1")
    if train is not None and train.median_frequency_weights is not None:
        _tell_weights(report, list(train.classes), train.median_frequency_weights)


def _tell_weights(report: Report, names: Sequence[str], weights: Sequence[float]) -> None:
    """The weights as config lines, a softer choice beside them, and a warning where they are far apart."""
    softer = _listed(softened_weights(weights))
    report.note("weights", f"class_weights: [{_listed(weights)}]  # median frequency, of train")
    report.note("weights", f"class_weights: [{softer}]  # softer: square roots, at most {SOFT_LIMIT:g}")
    ratio = weight_ratio(weights)
    if ratio > FAR_APART:
        message = (
            f"weights by median frequency differ by a factor of {ratio:.0f}: a pixel of '{names[int(np.argmax(weights))]}' "
            f"counts as much as {ratio:.0f} of '{names[_smallest(weights)]}'; so rare a class then drowns the others"
        )
        report.warn("class_weights_ratio", Problem("data.train", message, f"softer are class_weights: [{softer}]"))


def _smallest(weights: Sequence[float]) -> int:
    return min((label for label, weight in enumerate(weights) if weight > 0), key=lambda label: weights[label])


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)


def _of_split(split: SplitRecords) -> SplitNumbers:
    records, names = split.records, split.dataset.classes
    labelled = [record for record in records if record.labels is not None]
    counts = _counts(labelled, len(names))
    boxes = [np.array(record.boxes, np.float64).reshape(-1, 7) for record in records if record.boxes is not None]
    by_class = np.bincount(np.concatenate(boxes)[:, 4].astype(int), minlength=len(names)) if boxes else None
    classes = {
        name: ClassNumbers(
            int(held),
            int(counts.pixels[label]) if labelled else None,
            int(by_class[label]) if by_class is not None else None,
        )
        for label, (name, held) in enumerate(zip(names, class_images(split), strict=True))
    }
    weighted = split.name == "train" and bool(counts.pixels.any())
    return SplitNumbers(
        images=len(records),
        faulty=sum(bool(record.faults) for record in records) + sum(len(fault.names) for fault in split.faults),
        classes=classes,
        ignored_pixels=sum((one.labels or {}).get(IGNORE_INDEX, 0) for one in labelled) if labelled else None,
        median_frequency_weights=tuple(float(f"{w:.4g}") for w in median_frequency_weights(counts))
        if weighted
        else None,
        boxes=_boxes(boxes) if boxes else None,
        **_pixels([record for record in records if record.channels]),
    )


def _pixels(records: list[SampleRecord]) -> dict[str, Any]:
    """sizes, pixel_mean and pixel_std of `SplitNumbers`."""
    if not records:
        return {}
    sizes = np.array([record.size for record in records], np.int64)
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    smallest, median, largest = (
        tuple(sizes[place].tolist()) for place in (order[0], order[len(order) // 2], order[-1])
    )
    result: dict[str, Any] = {"sizes": SizeNumbers(smallest, median, largest, len(np.unique(sizes, axis=0)))}
    if len({record.channels for record in records}) == 1:
        share = sizes.prod(axis=1) / sizes.prod(axis=1).sum()
        mean = share @ np.array([record.mean for record in records])
        square = share @ np.array([record.square for record in records])
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        result |= {"pixel_mean": tuple(mean.round(5).tolist()), "pixel_std": tuple(deviation.round(5).tolist())}
    return result


def _row(record: SampleRecord, classes: int) -> list[int]:
    return [(record.labels or {}).get(label, 0) for label in range(classes)]


def _counts(records: Sequence[SampleRecord], classes: int) -> ClassCounts:
    """The same counts as `frequencies.count_classes` makes of the label maps."""
    totals = np.zeros((4, classes), np.int64)
    for record in records:
        if record.labels is not None:
            own = np.array(_row(record, classes), np.int64)
            held = own > 0
            totals += np.stack([own, held, held * own.sum(), held * sum(record.labels.values())])
    return ClassCounts(*totals)


def _boxes(boxes: list[np.ndarray]) -> BoxNumbers:
    rows = np.concatenate(boxes)
    width, height = (rows[:, 2:4] - rows[:, :2]).T
    area = width * height
    spread = {}
    if len(rows):
        aspect = width / np.maximum(height, 1e-9)
        spread = {"width": _percentiles(width), "height": _percentiles(height), "aspect": _percentiles(aspect, 3)}
    return BoxNumbers(
        number=len(rows),
        empty_images=sum(not len(own) for own in boxes),
        small=int((area < _SMALL).sum()),
        medium=int(((area >= _SMALL) & (area < _LARGE)).sum()),
        large=int((area >= _LARGE).sum()),
        per_image=_percentiles(np.array([len(own) for own in boxes])),
        **spread,
    )


def _percentiles(values: np.ndarray, digits: int = 1) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in np.percentile(values, [5, 50, 95]))


def _tell_images(report: Report) -> None:
    rows = []
    for split, one in report.data.items():
        sizes = ["-"] * 4
        if one.sizes is not None:
            sides = (one.sizes.smallest, one.sizes.median, one.sizes.largest)
            sizes = [*(f"{height}x{width}" for height, width in sides), str(one.sizes.different)]
        rows.append([split, str(one.images), str(one.faulty), *sizes])
    header = ["split", "images", "faulty", "smallest", "median", "largest", "sizes"]
    report.tables.append(Table("Images (height x width)", header, rows))


def _tell_classes(report: Report, names: Sequence[str]) -> None:
    """A row a class: pixels in percent of the labelled ones, images, boxes, in every split; the weights of train."""
    columns: dict[str, list[str]] = {"class": list(names)}
    for split, one in report.data.items():
        own = list(one.classes.values())
        if tuple(one.classes) != tuple(names):
            continue
        if own[0].pixels is not None:
            total = max(1, sum(row.pixels or 0 for row in own))
            columns[f"{split} pixels %"] = [f"{100 * (row.pixels or 0) / total:.2f}" for row in own]
        columns[f"{split} images"] = [str(row.images) for row in own]
        if own[0].boxes is not None:
            columns[f"{split} boxes"] = [str(row.boxes) for row in own]
        if one.median_frequency_weights is not None:
            columns["weight"] = [f"{weight:.4g}" for weight in one.median_frequency_weights]
            columns["softer"] = [f"{weight:.4g}" for weight in softened_weights(one.median_frequency_weights)]
    rows = [list(row) for row in zip(*columns.values(), strict=True)][:_SHOWN_CLASSES]
    title = "Classes" if len(names) <= _SHOWN_CLASSES else f"Classes (the first {_SHOWN_CLASSES} of {len(names)})"
    report.tables.append(Table(title, list(columns), rows))


def _tell_boxes(report: Report) -> None:
    rows = []
    for split, one in report.data.items():
        if (boxes := one.boxes) is not None:
            counts = (boxes.number, boxes.small, boxes.medium, boxes.large, boxes.empty_images)
            spreads = (boxes.per_image, boxes.width, boxes.height, boxes.aspect)
            rows.append([split, *map(str, counts), *(_spread(values) for values in spreads)])
    header = ["split", "boxes", "small", "medium", "large", "no box", "an image", "width", "height", "width / height"]
    if rows:
        report.tables.append(Table("Boxes (small < 32^2 <= medium < 96^2 <= large; 5, 50, 95 %)", header, rows))


def _spread(values: Sequence[float] | None) -> str:
    return " ".join(f"{value:g}" for value in values) if values else "-"

"""Numbers of a data set: class frequencies with the weights that follow, objects, image sizes, pixel mean and deviation.

`Report.statistics["data"][split]` holds, as plain values: images; faulty; sizes {smallest, median, largest: [height,
width], different}; pixel_mean and pixel_std (a number a channel, of values 0..1, all pixels of all images alike);
classes {name: {pixels, images, boxes}}; ignored_pixels (with label maps); median_frequency_weights (of train, a number a
class, as `class_weights: median_frequency` would compute it); boxes {number, empty_images, per_image, small, medium,
large, width, height, aspect} (with boxes; three numbers are the 5th, 50th and 95th percentile).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.data.classes.frequencies import ClassCounts, median_frequency_weights
from toolkit.preflight.data.record import SampleRecord, SplitRecords
from toolkit.preflight.findings import Report, Table
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
    """Fills `report.statistics["data"]` and adds tables and lines for people."""
    numbers = {split.name: _of_split(split) for split in splits}
    report.statistics["data"] = numbers
    _tell_images(report, numbers)
    _tell_classes(report, splits, numbers)
    _tell_boxes(report, numbers)
    train = numbers.get("train", {})
    if "pixel_mean" in train:
        mean, std = (", ".join(f"{value:.4f}" for value in train[key]) for key in ("pixel_mean", "pixel_std"))
        report.facts.append(f"pixels  train: mean [{mean}], standard deviation [{std}] of values 0..1")
    if "median_frequency_weights" in train:
        weights = ", ".join(f"{weight:.4g}" for weight in train["median_frequency_weights"])
        report.facts.append(f"weights class_weights: [{weights}]  # median frequency, of train")


def _of_split(split: SplitRecords) -> dict[str, Any]:
    records = split.records
    result: dict[str, Any] = {
        "images": len(records),
        "faulty": sum(bool(record.faults) for record in records) + sum(len(fault.names) for fault in split.faults),
    }
    result |= _pixels([record for record in records if record.channels])
    names = split.dataset.classes
    pixels = [_row(record, len(names)) for record in records if record.labels is not None]
    boxes = [np.array(record.boxes, np.float64).reshape(-1, 7) for record in records if record.boxes is not None]
    by_class = np.bincount(np.concatenate(boxes)[:, 4].astype(int), minlength=len(names)) if boxes else None
    result["classes"] = {
        name: {"images": int(held)}
        | ({"pixels": int(sum(row[label] for row in pixels))} if pixels else {})
        | ({"boxes": int(by_class[label])} if by_class is not None else {})
        for label, (name, held) in enumerate(zip(names, class_images(split), strict=True))
    }
    if pixels:
        result["ignored_pixels"] = sum((record.labels or {}).get(IGNORE_INDEX, 0) for record in records)
        counts = _counts(records, len(names))
        if split.name == "train" and counts.pixels.any():
            result["median_frequency_weights"] = [float(f"{w:.4g}") for w in median_frequency_weights(counts)]
    if boxes:
        result["boxes"] = _boxes(boxes)
    return result


def _pixels(records: list[SampleRecord]) -> dict[str, Any]:
    if not records:
        return {}
    sizes = np.array([record.size for record in records], np.int64)
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    places = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    shown: dict[str, Any] = {name: sizes[place].tolist() for name, place in places.items()}
    result: dict[str, Any] = {"sizes": shown | {"different": len(np.unique(sizes, axis=0))}}
    if len({record.channels for record in records}) == 1:
        share = sizes.prod(axis=1) / sizes.prod(axis=1).sum()
        mean = share @ np.array([record.mean for record in records])
        square = share @ np.array([record.square for record in records])
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        result |= {"pixel_mean": mean.round(5).tolist(), "pixel_std": deviation.round(5).tolist()}
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


def _boxes(boxes: list[np.ndarray]) -> dict[str, Any]:
    rows = np.concatenate(boxes)
    width, height = (rows[:, 2:4] - rows[:, :2]).T
    area = width * height
    result: dict[str, Any] = {
        "number": len(rows),
        "empty_images": sum(not len(own) for own in boxes),
        "small": int((area < _SMALL).sum()),
        "medium": int(((area >= _SMALL) & (area < _LARGE)).sum()),
        "large": int((area >= _LARGE).sum()),
        "per_image": _percentiles(np.array([len(own) for own in boxes])),
    }
    if len(rows):
        aspect = width / np.maximum(height, 1e-9)
        result |= {"width": _percentiles(width), "height": _percentiles(height), "aspect": _percentiles(aspect, 3)}
    return result


def _percentiles(values: np.ndarray, digits: int = 1) -> list[float]:
    return [round(float(value), digits) for value in np.percentile(values, [5, 50, 95])]


def _tell_images(report: Report, numbers: dict[str, dict[str, Any]]) -> None:
    header = ["split", "images", "faulty", "smallest", "median", "largest", "sizes"]
    rows = [
        [name, str(one["images"]), str(one["faulty"]), *(_size(one, key) for key in header[3:6]), _different(one)]
        for name, one in numbers.items()
    ]
    report.tables.append(Table("Images (height x width)", header, rows))


def _size(numbers: dict[str, Any], key: str) -> str:
    return "x".join(map(str, numbers["sizes"][key])) if "sizes" in numbers else "-"


def _different(numbers: dict[str, Any]) -> str:
    return str(numbers["sizes"]["different"]) if "sizes" in numbers else "-"


def _tell_classes(report: Report, splits: Sequence[SplitRecords], numbers: dict[str, dict[str, Any]]) -> None:
    """A row a class: pixels in percent of the labelled ones, images, boxes, in every split; the weights of train."""
    names = splits[0].dataset.classes
    header, columns = ["class"], [list(names)]
    for split, one in numbers.items():
        if tuple(one["classes"]) != tuple(names):
            continue
        own = list(one["classes"].values())
        if "pixels" in own[0]:
            total = max(1, sum(row["pixels"] for row in own))
            header.append(f"{split} pixels %")
            columns.append([f"{100 * row['pixels'] / total:.2f}" for row in own])
        header.append(f"{split} images")
        columns.append([str(row["images"]) for row in own])
        if "boxes" in own[0]:
            header.append(f"{split} boxes")
            columns.append([str(row["boxes"]) for row in own])
        if "median_frequency_weights" in one:
            header.append("weight")
            columns.append([f"{weight:.4g}" for weight in one["median_frequency_weights"]])
    rows = [list(row) for row in zip(*columns, strict=True)][:_SHOWN_CLASSES]
    title = "Classes" if len(names) <= _SHOWN_CLASSES else f"Classes (the first {_SHOWN_CLASSES} of {len(names)})"
    report.tables.append(Table(title, header, rows))


def _tell_boxes(report: Report, numbers: dict[str, dict[str, Any]]) -> None:
    rows = [
        [split, *(str(one["boxes"][key]) for key in ("number", "small", "medium", "large", "empty_images"))]
        + [_spread(one["boxes"].get(key)) for key in ("per_image", "width", "height", "aspect")]
        for split, one in numbers.items()
        if "boxes" in one
    ]
    header = ["split", "boxes", "small", "medium", "large", "no box", "an image", "width", "height", "width / height"]
    if rows:
        report.tables.append(Table("Boxes (small < 32^2 <= medium < 96^2 <= large; 5, 50, 95 %)", header, rows))


def _spread(values: list[float] | None) -> str:
    return " ".join(f"{value:g}" for value in values) if values else "-"

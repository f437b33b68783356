"""Every number of every image alone, and the counts that the numbers of all images are made of: `per_image.csv`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from toolkit.contracts import Evaluator
from toolkit.files import replacing
from toolkit.printing import printable
from toolkit.results.image_rows import taken
from toolkit.results.record import Record

IMAGES_FILE = "per_image.csv"
Makers = Sequence[Callable[[], Evaluator]]


def image_numbers(record: Record, makers: Makers) -> list[dict[str, float | None]]:
    """What evaluators compute of each image of a record alone, in the order of its images.

    Args:
        record: what an evaluation counted, with its arrays.
        makers: each gives a fresh evaluator, of those that made the record's arrays.
    """
    found: list[dict[str, float | None]] = [{} for _ in range(len(record))]
    if not record.arrays:
        return found
    for make in makers:
        quick = make().by_image(record.arrays)
        for place, numbers in enumerate(quick if quick is not None else _one_by_one(record, make)):
            found[place] |= numbers
    return found


def _one_by_one(record: Record, make: Callable[[], Evaluator]) -> list[dict[str, float | None]]:
    numbers = []
    for place in range(len(record)):
        evaluator = make()
        evaluator.merge(taken(record.arrays, [place]))
        numbers.append(evaluator.compute())
    return numbers


def image_counts(record: Record) -> dict[str, np.ndarray]:
    """Whole numbers of each image that add up over images: {name: (N,) int64}; {} for a task without any.

    Of label maps `right/CLASS`, `true/CLASS` and `predicted/CLASS`: pixels, so that the sums give IoU = right / (true +
    predicted - right). Of boxes `true/CLASS` and `detections/CLASS`: objects that count, and detections of any score.
    """
    if "confusion_cells" in record.arrays:
        return {
            f"{kind}/{name}": record.class_pixels[:, place, label]
            for label, name in enumerate(record.classes)
            for place, kind in enumerate(("right", "true", "predicted"))
        }
    if "truth_labels" in record.arrays:
        arrays = record.arrays
        counts: dict[str, np.ndarray] = {}
        spared = arrays["truth_crowd"] | arrays["truth_difficult"]
        for kind, name, weights in (("true", "truth", ~spared), ("detections", "detection", None)):
            table = _by_class(arrays[f"{name}_counts"], arrays[f"{name}_labels"], len(record.classes), weights)
            counts |= {f"{kind}/{label}": table[:, place] for place, label in enumerate(record.classes)}
        return counts
    return {}


def _by_class(counts: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray | None) -> np.ndarray:
    """(N, K) int64: how many rows of each class each image has."""
    cells = np.repeat(np.arange(len(counts)), counts) * classes + labels
    weights = np.ones(len(cells)) if weights is None else weights
    return np.bincount(cells, weights, len(counts) * classes).astype(np.int64).reshape(len(counts), classes)


def write_image_table(folder: Path, record: Record, numbers: Sequence[Mapping[str, float | None]]) -> Path:
    """Writes `per_image.csv`: a row an image with its name, id, size, group, tags, numbers and counts; its path.

    Numbers are fractions with all their digits, empty where undefined.

    Args:
        folder: the record's folder, in which the table is written.
        record: what an evaluation counted, with groups and tags.
        numbers: those of each image (`image_numbers`).
    """
    counts = image_counts(record)
    names = list(dict.fromkeys(name for row in numbers for name in row))
    tags = list(record.tags)
    header = ["image", "image_id", "height", "width", "group", *(f"tag/{tag}" for tag in tags), *names, *counts]
    with replacing(folder / IMAGES_FILE, durable=False) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(printable, header))
        for place, name in enumerate(record.images):
            height, width = record.sizes[place].tolist()
            told = [name, record.groups[place], *(record.tags[tag][place] for tag in tags)]
            shown = [printable(text) for text in told]
            row = [shown[0], int(record.image_ids[place]), height, width, *shown[1:]]
            values = [numbers[place].get(metric) for metric in names]
            row += ["" if value is None else repr(value) for value in values]
            writer.writerow([*row, *(int(array[place]) for array in counts.values())])
    return folder / IMAGES_FILE

"""What one picture's answer comes to in a line: areas of classes, counts, scores; and a table of that for all pictures."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from toolkit.errors import listed
from toolkit.inference.writers.base import TableRow, Writer, write_lines
from toolkit.inference.writers.tables import csv_line, text_cell
from toolkit.labels import IGNORE_INDEX, ClassTable
from toolkit.samples import Detections, ImageScores, ImageValues, LabelMap, Prediction, ValueMap


class Summary(NamedTuple):
    """What is told of one picture.

    Args:
        words: for people: the largest classes, or how many boxes there are.
        score: mean score 0..1 of boxes or pixels, score of the best class; None where there are no scores.
        labels: classes that occur in the answer.
        numbers: share of the pixels (label maps), count and mean score (boxes) of each class, by column.
    """

    words: str
    score: float | None
    labels: list[int]
    numbers: dict[str, float | int | None]


def summary_of(prediction: Prediction, classes: ClassTable) -> Summary:
    """The summary of one answer. classes: names of the labels 0..K-1, or of the values."""
    if isinstance(prediction, LabelMap):
        return _of_labels(prediction, classes)
    if isinstance(prediction, Detections):
        return _of_boxes(prediction, classes)
    if isinstance(prediction, ImageScores):
        best = float(prediction.scores[prediction.label])
        name = classes.name_of(prediction.label)
        return Summary(f"{name} {best:.2f}", best, [int(prediction.label)], {"score": round(best, 6)})
    values = prediction.numpy()
    if isinstance(prediction, ImageValues):
        numbers: dict[str, float | int | None] = {
            classes.name_of(place): float(f"{value:.9g}") for place, value in enumerate(values.tolist())
        }
        return Summary(listed([f"{name} {value:.4g}" for name, value in numbers.items()], 3), None, [], numbers)
    found = values[np.isfinite(values)]
    low, mean, high = (found.min(), found.mean(), found.max()) if found.size else (np.nan, np.nan, np.nan)
    spread = {"lowest": float(low), "mean": float(mean), "highest": float(high)}
    return Summary(f"{low:.4g} to {high:.4g}", None, [], {key: float(f"{value:.9g}") for key, value in spread.items()})


def _of_labels(found: LabelMap, classes: ClassTable) -> Summary:
    labels = found.labels.numpy()
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
    shares = counts / max(labels.size, 1)
    present = [int(label) for label in np.flatnonzero(counts) if label != IGNORE_INDEX]
    largest = sorted(present, key=lambda label: -counts[label])[:3]
    numbers: dict[str, float | int | None] = {
        name: round(float(shares[label]), 6) for label, name in enumerate(classes.names)
    }
    numbers["no class"] = round(float(shares[IGNORE_INDEX]), 6)
    score = None if found.scores is None else float(found.scores.mean())
    numbers["mean score"] = None if score is None else round(score, 6)
    words = ", ".join(f"{classes.name_of(label)} {100 * shares[label]:.0f} %" for label in largest)
    return Summary(words or "no class", score, present, numbers)


def _of_boxes(found: Detections, classes: ClassTable) -> Summary:
    _, scores, labels = found.numpy()
    numbers: dict[str, float | int | None] = {}
    for label, name in enumerate(classes.names):
        own = scores[labels == label]
        numbers[name] = len(own)
        numbers[f"{name}: mean score"] = round(float(own.mean()), 6) if len(own) else None
    mean = float(scores.mean()) if len(scores) else None
    present = sorted({int(label) for label in labels})
    return Summary(f"{len(scores)} box{'' if len(scores) == 1 else 'es'}", mean, present, numbers)


class SummaryWriter(Writer):
    """`summary.csv`, a row a picture: share of the pixels of each class, or count and mean score of its boxes.

    Columns: image (output stem), height, width, then what `Summary.numbers` has; empty where there is no such number.
    """

    suffix: ClassVar[str] = ".csv"
    takes: ClassVar[tuple[type, ...]] = (LabelMap, Detections, ImageScores, ImageValues, ValueMap)
    files: ClassVar[tuple[str, ...]] = ("summary.csv",)
    needs: ClassVar[tuple[str, ...]] = ("scores",)

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> dict[str, Any]:
        """The numbers of one picture by column.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        size = {"height": image.shape[0], "width": image.shape[1]}
        return {"image": text_cell(stem), **size, **summary_of(prediction, self.classes).numbers}

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the file."""
        rows = iter(rows)
        first = next(rows)
        header = list(first.cells)
        lines = (
            ["" if row.cells.get(name) is None else str(row.cells[name]) for name in header]
            for row in chain([first], rows)
        )
        named = ["image", *map(text_cell, header[1:])]
        return [write_lines(self.folder / "summary.csv", map(csv_line, chain([named], lines)))]

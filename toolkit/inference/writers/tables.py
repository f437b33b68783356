"""Answers of all pictures as tables: a CSV file of boxes, or of classes and values; the latter as JSON too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.inference.writers.base import TableRow, Writer, json_list, write_lines
from toolkit.labels import ClassTable
from toolkit.printing import printable
from toolkit.samples import Detections, ImageScores, ImageValues, Prediction

BOX_HEADER = ("image", "class", "score", "x1", "y1", "x2", "y2")


class CsvWriter(Writer):
    """`detections.csv`, a row a box, or `predictions.csv`, a row a picture, for all images.

    Boxes: image (output stem), class, score, x1, y1, x2, y2 in pixels. Classes: image, class, its score, then the score
    of every class. Values: image, then every value by its name. Names hold no character that a terminal or a table
    would obey (`text_cell`).

    Args:
        folder: folder that the file goes to.
        classes: names of the labels, or values, 0..K-1.
        palette: (r, g, b) of each class; not used.
        ids: number of each class in the data's files; not used.
    """

    suffix: ClassVar[str] = ".csv"
    takes: ClassVar[tuple[type, ...]] = (Detections, ImageScores, ImageValues)
    by_default: ClassVar[tuple[type, ...]] = (ImageScores, ImageValues)
    files: ClassVar[tuple[str, ...]] = ("detections.csv", "predictions.csv")

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> dict[str, Any]:
        """The rows of one picture, the file they go to, and its first line.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        file = self.files[0] if isinstance(prediction, Detections) else self.files[1]
        header = header_of(prediction, self.classes)
        return {"file": file, "header": header, "rows": rows_of(prediction, stem, self.classes)}

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the file."""
        rows = iter(rows)
        first = next(rows)
        lines = (line for row in chain([first], rows) for line in row.cells["rows"])
        path = self.folder / first.cells["file"]
        return [write_lines(path, map(csv_line, chain([first.cells["header"]], lines)))]


class JsonWriter(Writer):
    """`predictions.json`: of each picture its file (output stem) and its class with all scores, or its values by name.

    Args:
        folder: folder that the file goes to.
        classes: names of the labels, or values, 0..K-1.
        palette: (r, g, b) of each class; not used.
        ids: number of each class in the data's files; not used.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (ImageScores, ImageValues)
    files: ClassVar[tuple[str, ...]] = ("predictions.json",)

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> dict[str, Any]:
        """The entry of one picture.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        numbers = {self.classes.name_of(i): value for i, value in enumerate(_numbers(prediction))}
        found: dict[str, Any] = {"file": printable(stem)}
        if isinstance(prediction, ImageScores):
            return found | {"class": self.classes.name_of(prediction.label), "scores": numbers}
        return found | {"values": numbers}

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the file, an entry a line."""
        return [write_lines(self.folder / "predictions.json", json_list(json.dumps(row.cells) for row in rows))]


def _numbers(prediction: Prediction) -> list[float]:
    if not isinstance(prediction, (ImageScores, ImageValues)):
        raise TypeError(f"scores or values are written, not {type(prediction).__name__}")
    numbers: list[float] = prediction.numpy().astype(np.float64).tolist()
    return numbers


def header_of(prediction: Prediction, classes: ClassTable) -> list[str]:
    """The first line of a table of such predictions."""
    if isinstance(prediction, Detections):
        return list(BOX_HEADER)
    names = [text_cell(classes.name_of(place)) for place in range(len(_numbers(prediction)))]
    return ["image", *names] if isinstance(prediction, ImageValues) else ["image", "class", "score", *names]


def rows_of(prediction: Prediction, name: str, classes: ClassTable) -> list[list[str]]:
    """The rows of one image; corners with two decimals, scores with six, values with nine digits.

    Args:
        prediction: boxes, scores or values of the image.
        name: what the table calls the image; as `text_cell` writes it.
        classes: names of the labels, or of the values.
    """
    shown = text_cell(name)
    if isinstance(prediction, Detections):
        found = prediction.numpy()
        return [
            [shown, text_cell(classes.name_of(label)), f"{score:.6f}", *(f"{corner:.2f}" for corner in box)]
            for box, score, label in zip(
                found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
            )
        ]
    numbers = _numbers(prediction)
    if isinstance(prediction, ImageScores):
        label = prediction.label
        best = [text_cell(classes.name_of(label)), f"{numbers[label]:.6f}"]
        return [[shown, *best, *(f"{number:.6f}" for number in numbers)]]
    return [[shown, *(f"{number:.9g}" for number in numbers)]]


def text_cell(text: str) -> str:
    r"""A name as a table holds it: what is not printable written out, what a spreadsheet would compute made text.

    A cell that begins with =, +, - or @ is a formula to spreadsheets; an apostrophe before it makes them show it (OWASP,
    "CSV Injection").

    >>> text_cell("=1+2"), text_cell("a-b")
    ("'=1+2", 'a-b')
    """
    shown = printable(text).replace("\n", "\\n")
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def csv_line(cells: Sequence[str]) -> str:
    """A line of a CSV file; names with commas or quotes are quoted (RFC 4180), the line ends with a line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()

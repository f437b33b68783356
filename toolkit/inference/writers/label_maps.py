"""Label maps as indexed PNG files."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from toolkit.data.writers.masks import encode_mask
from toolkit.inference.writers.base import TableRow, Writer, write_lines, write_whole
from toolkit.inference.writers.tables import csv_line, text_cell
from toolkit.samples import LabelMap, Prediction


class MaskWriter(Writer):
    """`<stem>.png`: an 8-bit palette PNG (mode P); pixel values are class ids, the palette has their colours.

    `classes.csv` beside them says which value is which class.
    """

    suffix: ClassVar[str] = ".png"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    by_default: ClassVar[tuple[type, ...]] = (LabelMap,)
    files: ClassVar[tuple[str, ...]] = ("classes.csv",)
    numbers_classes: ClassVar[bool] = True

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the label map.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map in the picture's pixels.
        """
        if not isinstance(prediction, LabelMap):
            raise TypeError(f"a mask is written of a LabelMap, not of {type(prediction).__name__}")
        labels, colors = prediction.labels.numpy(), self.colors
        if self.values is not None:
            stored = self.values[labels]
            if self.values.max() > 255:
                return [write_whole(self.path_of(stem), _encode_deep(stored))]
            labels, own = stored.astype(np.uint8), colors
            colors = np.zeros_like(own)
            colors[self.values] = own
        return [write_whole(self.path_of(stem), encode_mask(labels, colors))]

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[int]:
        """Nothing of the picture, but the value of each class where that is not its label: who merges shares has no model.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map in the picture's pixels.
        """
        return [] if self.values is None else self.values[: len(self.classes.names)].tolist()

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes `classes.csv`: the value of each class in the masks, its name, its colour, the model's label."""
        stored = next(iter(rows)).cells or range(len(self.classes.names))
        named = enumerate(zip(self.classes.names, self.colors, stored, strict=False))
        lines = [[str(value), text_cell(name), *map(str, color), str(label)] for label, (name, color, value) in named]
        header = ["value", "name", "red", "green", "blue", "label"]
        return [write_lines(self.folder / "classes.csv", map(csv_line, [header, *lines]))]


def _encode_deep(values: np.ndarray) -> bytes:
    """An (H, W) map of numbers up to 65535 as the bytes of a gray PNG of 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

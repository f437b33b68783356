"""Maps of values as files of numbers, in the unit of the training data."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from toolkit.errors import Problem, UserError
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.samples import Prediction, ValueMap

A_UNIT = 256
"""Numbers of a 16-bit picture that make one unit, where the training's files do not say another (KITTI's depth)."""


class ValuesWriter(Writer):
    """`<stem>_values.npy`: (H, W) float32, the values themselves in the unit of the training data (`numpy.load`)."""

    suffix: ClassVar[str] = "_values.npy"
    takes: ClassVar[tuple[type, ...]] = (ValueMap,)
    by_default: ClassVar[tuple[type, ...]] = (ValueMap,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        buffer = io.BytesIO()
        np.save(buffer, _values(prediction), allow_pickle=False)
        return [write_whole(self.path_of(stem), buffer.getvalue())]


class ValuesTiffWriter(Writer):
    """`<stem>_values.tif`: (H, W) float32 TIFF, the values themselves in the unit of the training data."""

    suffix: ClassVar[str] = "_values.tif"
    takes: ClassVar[tuple[type, ...]] = (ValueMap,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        said = {"values": self.classes.name_of(0), "unit": "of the training data"}
        buffer = io.BytesIO()
        picture = Image.fromarray(_values(prediction))
        picture.save(buffer, "TIFF", compression="tiff_adobe_deflate", description=json.dumps(said))
        return [write_whole(self.path_of(stem), buffer.getvalue())]


class ValuesPngWriter(Writer):
    """`<stem>_values.png`: 16-bit gray; number * scale is the value, 0 means none: what the data set `image_maps` reads.

    The scale is that of the training's files, or 1/256 (KITTI's depth); the picture's text `scale` says it. Rounding is by
    at most half a scale. A map with values that have no number, below half a scale or above 65535 scales, is refused.
    """

    suffix: ClassVar[str] = "_values.png"
    takes: ClassVar[tuple[type, ...]] = (ValueMap,)
    scale: float = 1 / A_UNIT
    """Value of the number 1."""

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map. Raises UserError for values that 16 bits do not hold.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        values = _values(prediction).astype(np.float64)
        known = np.isfinite(values)
        numbers = np.rint(np.where(known, values, 0) / self.scale)
        if not ((numbers[known] >= 1) & (numbers[known] <= 65535)).all():
            low, high = values[known].min(), values[known].max()
            message = (
                f"values from {low:.4g} to {high:.4g} do not fit 16 bits, {self.scale:.4g} to {65535 * self.scale:.6g}"
            )
            raise UserError(Problem(self.path_of(stem), message, "take the format values or values_tiff"))
        said = PngInfo()
        said.add_text("scale", repr(self.scale))
        said.add_text("unit", "number * scale, in the unit of the training data; 0 means no value")
        buffer = io.BytesIO()
        Image.fromarray(numbers.astype(np.uint16)).save(buffer, "PNG", compress_level=1, pnginfo=said)
        return [write_whole(self.path_of(stem), buffer.getvalue())]


def _values(prediction: Prediction) -> np.ndarray:
    """(H, W) float32 of a map of values."""
    if not isinstance(prediction, ValueMap):
        raise TypeError(f"values are written of a ValueMap, not of {type(prediction).__name__}")
    return prediction.numpy().astype(np.float32)

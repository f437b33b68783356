"""Label maps as indexed PNG files, and how unsure a Monte-Carlo prediction is, as gray ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from toolkit.data.writers.masks import encode_mask
from toolkit.errors import ConfigError, Problem
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.samples import LabelMap, Prediction


class MaskWriter(Writer):
    """`<stem>.png`: an 8-bit palette PNG (mode P); pixel values are class ids, the palette has their colours."""

    suffix: ClassVar[str] = ".png"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    by_default: ClassVar[tuple[type, ...]] = (LabelMap,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the label map.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map in the picture's pixels.
        """
        if not isinstance(prediction, LabelMap):
            raise TypeError(f"a mask is written of a LabelMap, not of {type(prediction).__name__}")
        return [write_whole(self.path_of(stem), encode_mask(prediction.labels.numpy(), self.colors))]


FULL_SCALE = 0.5
"""Deviation that is white: no number between 0 and 1 can deviate more."""


class UncertaintyWriter(Writer):
    """`<stem>_uncertainty.png`: 8-bit gray, 0 sure to 255.

    Gray g means a standard deviation of g / 255 * 0.5: the square root of the variance of the class probabilities over
    the samples, averaged over the classes (`LabelMap.uncertainty`, 0 to 0.25). The scale is the same for all pictures,
    so they can be compared.
    """

    suffix: ClassVar[str] = "_uncertainty.png"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map. Raises ConfigError for a prediction of a single pass, which has none.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with its uncertainty, in the picture's pixels.
        """
        if not isinstance(prediction, LabelMap):
            raise TypeError(f"uncertainty is written of a LabelMap, not of {type(prediction).__name__}")
        if prediction.uncertainty is None:
            message = "this model predicts in one pass, which says nothing of its uncertainty"
            raise ConfigError(
                Problem("--format uncertainty", message, "use a model with dropout and model.samples above 1")
            )
        return [write_whole(self.path_of(stem), encode_uncertainty(prediction.uncertainty.numpy()))]


def encode_uncertainty(variance: np.ndarray) -> bytes:
    """(H, W) variances as the bytes of the picture that `UncertaintyWriter` describes."""
    deviation = np.sqrt(np.maximum(variance, 0)) / FULL_SCALE
    gray = np.rint(255 * np.minimum(deviation, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

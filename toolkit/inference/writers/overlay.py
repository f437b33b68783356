"""Predictions drawn over their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from toolkit.inference.writers.base import Writer, write_whole
from toolkit.inference.writers.summary import summary_of
from toolkit.samples import Detections, ImageScores, ImageValues, LabelMap, Prediction, ValueMap

DRAWN_FROM = 0.5
"""Score from which boxes are drawn when nobody says another: a detector gives many that it hardly believes in."""


class OverlayWriter(Writer):
    """`<stem>_overlay.jpg`: the picture with the answer drawn on it, below it or, of a map of values, beside it."""

    suffix: ClassVar[str] = "_overlay.jpg"
    files: ClassVar[tuple[str, ...]] = ("index.html",)
    takes: ClassVar[tuple[type, ...]] = (LabelMap, Detections, ValueMap, ImageScores, ImageValues)
    by_default: ClassVar[tuple[type, ...]] = (LabelMap, Detections, ValueMap)

    min_score: float | Sequence[float] = DRAWN_FROM
    """Boxes below it are not drawn: one score, or one a class."""

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the drawing.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        return [write_whole(self.path_of(stem), encode_jpeg(self.draw(image, prediction)))]

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> dict[str, Any]:
        """What the contact sheet (`report/contact_sheet.py`) shows beside the drawing.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        found = summary_of(prediction, self.classes)
        return {"words": found.words, "score": found.score, "labels": found.labels}

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The picture with its prediction drawn over it, (H, W, 3) uint8 RGB."""
        named = prediction.of_classes(self.classes)
        return named.draw(image, self.min_score) if isinstance(named, Detections) else named.draw(image)


def encode_jpeg(image: np.ndarray) -> bytes:
    """An RGB image as JPEG, quality 92, colours at full resolution so that thin lines keep theirs."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()

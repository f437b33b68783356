"""Predictions drawn over their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from toolkit.drawing import LegendEntry, as_rgb, blend_labels, draw_boxes, enlarge, enlargement, legend
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.labels import Color
from toolkit.samples import IGNORE_INDEX, Detections, LabelMap, Prediction


class OverlayWriter(Writer):
    """`<stem>_overlay.jpg`: the picture with the classes in colour and a legend below, or with boxes, names and scores.

    Args:
        folder: folder that files go to; sub-folders as in the inputs.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, or () for default colours.
        min_score: probability, 0..1, below which a box is not drawn.
        opacity: share of a label map's colours, 0 (none) to 1.
    """

    suffix: ClassVar[str] = "_overlay.jpg"
    takes: ClassVar[tuple[type, ...]] = (LabelMap, Detections)
    by_default: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        palette: Sequence[Color] = (),
        min_score: float = 0.5,
        opacity: float = 0.5,
    ) -> None:
        super().__init__(folder, classes, palette)
        self.min_score = min_score
        self.opacity = opacity

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the drawing.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map or detections in the picture's pixels.
        """
        if isinstance(prediction, LabelMap):
            drawn = self.draw_labels(image, prediction.labels.numpy())
        elif isinstance(prediction, Detections):
            drawn = self.draw_detections(image, prediction)
        else:
            raise TypeError(f"an overlay is drawn of a LabelMap or Detections, not of {type(prediction).__name__}")
        return [write_whole(self.path_of(stem), _jpeg(drawn))]

    def draw_labels(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The blended picture above a legend of the classes present, the largest first: RGB uint8."""
        factor = enlargement(labels.shape)  # type: ignore[arg-type]  # two numbers
        blended = blend_labels(enlarge(as_rgb(image), factor), enlarge(labels, factor), self.colors, self.opacity)
        counts = np.bincount(labels.ravel(), minlength=256)
        counts[IGNORE_INDEX] = 0
        present = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
        entries = [LegendEntry(self.color_of(label), self.name_of(label)) for label in present]
        return np.concatenate([blended, legend(entries, blended.shape[1])])

    def draw_detections(self, image: np.ndarray, found: Detections) -> np.ndarray:
        """The picture with the boxes that reach `min_score`: RGB uint8."""
        keep = found.scores.numpy() >= self.min_score
        labels, scores = found.labels.numpy()[keep].tolist(), found.scores.numpy()[keep].tolist()
        factor = enlargement(image.shape[:2])  # type: ignore[arg-type]  # two numbers
        return draw_boxes(
            enlarge(as_rgb(image), factor),
            found.boxes.numpy()[keep] * factor,
            [self.color_of(label) for label in labels],
            [f"{self.name_of(label)} {score:.2f}" for label, score in zip(labels, scores, strict=True)],
        )


def _jpeg(image: np.ndarray) -> bytes:
    """An RGB image as JPEG, quality 92, colours at full resolution so that thin lines keep theirs."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()

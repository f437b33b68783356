"""Grids of pictures: image, truth and prediction side by side, a row an image, with a legend of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from toolkit.drawing import LegendEntry, as_rgb, draw_boxes, legend, shown_colors, title
from toolkit.labels import Color, background_labels
from toolkit.samples import IGNORE_INDEX, Boxes, Detections, LabelMap

Annotation = np.ndarray | LabelMap | Boxes | Detections
"""A label map (an (H, W) uint8 array or a prediction), or boxes (a truth's or a prediction's)."""
Row = tuple[np.ndarray, Annotation, Annotation]

_HEADERS = ("Image", "Truth", "Prediction")
_GAP = 6
"""White pixels between pictures."""


def grid(
    rows: Sequence[Row],
    palette: Sequence[Color],
    classes: Sequence[str],
    path: Path,
    *,
    width: int = 360,
    min_score: float = 0.5,
) -> Path:
    """Writes a PNG of (image, truth, prediction) rows and returns its path. Raises ValueError for no rows.

    Args:
        rows: triples of image, truth and prediction: (H, W, C) uint8 and two results in its pixels.
        palette: a colour a class, or () for default colours.
        classes: names of the labels 0..K-1.
        path: file of the PNG; its folder is made.
        width: width of each picture, in pixels.
        min_score: detections with a score (0..1) below it are not drawn.
    """
    if not rows:
        raise ValueError("a figure needs at least one row")
    colors = shown_colors(palette, len(classes))
    strips = [_beside([title(text, width) for text in _HEADERS])]
    shown: set[int] = set()
    unpainted = set(background_labels(classes))
    for image, truth, prediction in rows:
        picture = _fit(as_rgb(image), width, cv2.INTER_AREA)
        cells = [
            _cell(picture, image.shape[:2], annotation, colors, classes, min_score)
            for annotation in (truth, prediction)
        ]
        shown.update(*(labels for _, labels in cells))
        strips.append(_beside([picture, *(drawn for drawn, _ in cells)]))
    entries = [LegendEntry(_color(colors, label), _name(classes, label)) for label in sorted(shown - unpainted)]
    strips.append(legend(entries, strips[0].shape[1], dark=False))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_below(strips)).save(path)
    return path


def _cell(
    picture: np.ndarray,
    size: tuple[int, int],
    annotation: Annotation,
    colors: np.ndarray,
    classes: Sequence[str],
    min_score: float,
) -> tuple[np.ndarray, set[int]]:
    """An annotation drawn at the size of the fitted picture, and the labels that occur in it."""
    if isinstance(annotation, Boxes | Detections):
        return _boxes_cell(picture, size, annotation, colors, classes, min_score)
    labels = annotation.labels.numpy() if isinstance(annotation, LabelMap) else annotation
    fitted = _fit(labels, picture.shape[1], cv2.INTER_NEAREST)
    unpainted = np.isin(fitted, background_labels(classes))
    return np.where(unpainted[..., None], picture, colors[fitted]), set(np.unique(labels).tolist())


def _boxes_cell(
    picture: np.ndarray,
    size: tuple[int, int],
    found: Boxes | Detections,
    colors: np.ndarray,
    classes: Sequence[str],
    min_score: float,
) -> tuple[np.ndarray, set[int]]:
    if isinstance(found, Detections):
        keep = found.scores.numpy() >= min_score
        xyxy, labels = found.boxes.numpy()[keep], found.labels.numpy()[keep].tolist()
        scores = found.scores.numpy()[keep].tolist()
        texts = [f"{_name(classes, label)} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
    else:
        xyxy, labels = np.asarray(found.xyxy), np.asarray(found.labels).tolist()
        texts = [_name(classes, label) for label in labels]
    scale = np.array([picture.shape[1] / size[1], picture.shape[0] / size[0]] * 2)
    drawn = draw_boxes(picture, xyxy * scale, [_color(colors, label) for label in labels], texts)
    return drawn, set(labels)


def _fit(array: np.ndarray, width: int, shrinking: int) -> np.ndarray:
    """A picture or label map at a width; enlarged pixel by pixel, shrunk by the given OpenCV interpolation."""
    height = max(1, round(array.shape[0] * width / array.shape[1]))
    how = shrinking if width < array.shape[1] else cv2.INTER_NEAREST
    return cv2.resize(array, (width, height), interpolation=how)


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height next to each other, with white between them and around."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([gap, *(part for picture in pictures for part in (picture, gap))], axis=1)


def _below(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Strips of one width under each other, with white between them."""
    gap = np.full((_GAP, strips[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for strip in strips for part in (strip, gap)])


def _name(classes: Sequence[str], label: int) -> str:
    if label == IGNORE_INDEX:
        return "ignored"
    return classes[label] if label < len(classes) else str(label)


def _color(colors: np.ndarray, label: int) -> Color:
    red, green, blue = colors[label].tolist()
    return red, green, blue

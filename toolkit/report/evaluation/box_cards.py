"""Cards of a gallery for boxes: true ones, detections from a score on, and what is wrong as layers over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.drawing import LegendEntry, shown_colors
from toolkit.labels import ClassTable, Color
from toolkit.report.evaluation.choice import Chosen
from toolkit.report.gallery import Card, DrawnBox, box_layer, card_picture
from toolkit.results.box_errors import BOX_ERRORS, BoxErrors, box_errors
from toolkit.results.image_rows import taken
from toolkit.samples import Sample

BOX_KIND_WORDS = {
    "classification": "wrong class",
    "localisation": "badly placed",
    "both": "wrong class and place",
    "duplicate": "found twice",
    "background": "nothing there",
    "missed": "missed",
}
"""What the kinds of wrong boxes are called for people."""
_KIND_COLORS: tuple[Color, ...] = (
    (255, 51, 204), (255, 221, 51), (204, 119, 255), (255, 153, 51), (0, 204, 255), (255, 64, 64),
)  # fmt: skip


def box_kind_legend() -> tuple[tuple[str, LegendEntry], ...]:
    """The kinds of wrong boxes and their colours."""
    return tuple(
        (kind, LegendEntry(color, BOX_KIND_WORDS[kind])) for kind, color in zip(BOX_ERRORS, _KIND_COLORS, strict=True)
    )


def box_card(
    chosen: Chosen,
    sample: Sample,
    detections: Mapping[str, Mapping[str, np.ndarray]],
    thresholds: np.ndarray,
    classes: ClassTable,
    words: str,
    order: float | None,
    crop: tuple[int, int, int, int] | None = None,
) -> Card:
    """A card of one image: its true boxes, one or more models' detections, and the errors of the last one.

    Args:
        chosen: its number in the record, and why it is shown.
        sample: the image, as the data set reads it.
        detections: arrays of a record by the key of their view; "prediction" for a single one.
        thresholds: (K,) scores from which on a detection of each class is drawn.
        classes: names and colours of the labels.
        words: the image's numbers for people.
        order: what cards are sorted by.
        crop: (left, top, right, bottom) in pixels of the part that is shown; None shows the whole image.
    """
    left, top, right, bottom = crop or (0, 0, sample.original_size[1], sample.original_size[0])
    size, corner = (bottom - top, right - left), (left, top)
    shown = {key: _drawn(taken(arrays, [chosen.place]), thresholds) for key, arrays in detections.items()}
    own = next(iter(shown.values()))
    colors = [(r, g, b) for r, g, b in shown_colors(classes.palette, len(classes.names)).tolist()]
    layers = {"truth": box_layer(_true_boxes(own, colors, classes), size, corner)}
    for key, arrays in shown.items():
        layers[key] = box_layer(_detections(arrays, colors, classes), size, corner)
    last = list(shown.values())[-1]
    errors = box_errors(last)
    layers["error"] = box_layer(_wrong(last, errors, classes), size, corner)
    labels = {
        *own["truth_labels"].tolist(),
        *(k for arrays in shown.values() for k in arrays["detection_labels"].tolist()),
    }
    return Card(
        sample.name, words, order, chosen.part, card_picture(sample.image[top:bottom, left:right]), size, layers, frozenset(labels),
        _filters(last, errors),
    )  # fmt: skip


def _drawn(arrays: Mapping[str, np.ndarray], thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of one image with those detections alone that reach the score of their class."""
    keep = arrays["detection_scores"] >= thresholds[arrays["detection_labels"]]
    cut = {
        name: array[keep] for name, array in arrays.items() if name.startswith("detection_") and len(array) == len(keep)
    }
    return {**arrays, **cut, "detection_counts": np.array([int(keep.sum())])}


def _true_boxes(arrays: Mapping[str, np.ndarray], colors: Sequence[Color], classes: ClassTable) -> list[DrawnBox]:
    found = []
    for xyxy, label, crowd, difficult in _rows(arrays, "truth_boxes", "truth_labels", "truth_crowd", "truth_difficult"):
        flag = " (crowd)" if crowd else " (difficult)" if difficult else ""
        found.append(DrawnBox(xyxy, colors[label], classes.name_of(label) + flag, bool(flag)))
    return found


def _detections(arrays: Mapping[str, np.ndarray], colors: Sequence[Color], classes: ClassTable) -> list[DrawnBox]:
    return [
        DrawnBox(xyxy, colors[label], f"{classes.name_of(label)} {score:.2f}")
        for xyxy, label, score in _rows(arrays, "detection_boxes", "detection_labels", "detection_scores")
    ]


def _wrong(arrays: Mapping[str, np.ndarray], errors: BoxErrors, classes: ClassTable) -> list[DrawnBox]:
    """Wrong detections, and true boxes that no detection found, in the colours of their kinds."""
    found = []
    rows = _rows(arrays, "detection_boxes", "detection_labels", "detection_scores")
    for (xyxy, label, score), kind, spared in zip(rows, errors.kinds.tolist(), errors.spared.tolist(), strict=True):
        if kind >= 0 and not spared:
            words = f"{BOX_KIND_WORDS[BOX_ERRORS[kind]]}: {classes.name_of(label)} {score:.2f}"
            found.append(DrawnBox(xyxy, _KIND_COLORS[kind], words))
    for (xyxy, label), missed in zip(_rows(arrays, "truth_boxes", "truth_labels"), errors.missed.tolist(), strict=True):
        if missed:
            found.append(DrawnBox(xyxy, _KIND_COLORS[-1], f"missed: {classes.name_of(label)}", dashed=True))
    return found


def _filters(arrays: Mapping[str, np.ndarray], errors: BoxErrors) -> frozenset[tuple[int, str]]:
    wrong = (errors.kinds >= 0) & ~errors.spared
    found = {
        (label, BOX_ERRORS[kind])
        for label, kind in zip(arrays["detection_labels"][wrong].tolist(), errors.kinds[wrong].tolist(), strict=True)
    }
    return frozenset(found | {(label, "missed") for label in arrays["truth_labels"][errors.missed].tolist()})


def _rows(arrays: Mapping[str, np.ndarray], *names: str) -> list[tuple]:
    return list(zip(*(arrays[name].tolist() for name in names), strict=True))

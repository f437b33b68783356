"""Cards of a gallery for label maps: truth, predictions and the kinds of wrong pixels as layers over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from toolkit.drawing import LegendEntry, shown_colors
from toolkit.labels import IGNORE_INDEX, ClassTable, Color, background_labels
from toolkit.ops.pixel_errors import ERROR_KINDS, border_distance, error_kinds
from toolkit.report.evaluation.choice import Chosen
from toolkit.report.gallery import Card, card_picture, color_layer
from toolkit.results.small_maps import small_map
from toolkit.samples import Sample

KIND_COLORS: tuple[Color, ...] = ((255, 221, 51), (255, 51, 204), (255, 64, 64), (0, 204, 255))
"""Colours of the kinds of errors, in the order of `ERROR_KINDS`."""
_WORTH_NAMING = 0.0005
"""Share of an image's pixels from which on a class or an error counts as present, for the filters."""


CHANGE_KINDS: tuple[str, ...] = ("mended", "broken", "left")
"""What can have become of a pixel between two predictions, unless it was right in both."""
_CHANGE_WORDS = {"mended": "became right", "broken": "became wrong", "left": "still wrong"}
_CHANGE_COLORS: tuple[Color, ...] = ((64, 224, 128), (255, 64, 64), (255, 221, 51))


def change_legend() -> tuple[tuple[str, LegendEntry], ...]:
    """What can have become of a wrong pixel, and its colour."""
    return tuple(
        (kind, LegendEntry(color, _CHANGE_WORDS[kind]))
        for kind, color in zip(CHANGE_KINDS, _CHANGE_COLORS, strict=True)
    )


def kind_legend() -> tuple[tuple[str, LegendEntry], ...]:
    """The kinds of wrong pixels and their colours."""
    return tuple(
        (kind, LegendEntry(color, KIND_WORDS[kind])) for kind, color in zip(ERROR_KINDS, KIND_COLORS, strict=True)
    )


KIND_WORDS = {
    "boundary": "border off",
    "confusion": "class mixed up",
    "missed": "region missed",
    "false": "region invented",
}
"""What the kinds of wrong pixels are called for people."""


def label_card(
    chosen: Chosen,
    sample: Sample,
    predictions: Mapping[str, np.ndarray],
    classes: ClassTable,
    words: str,
    order: float | None,
) -> Card:
    """A card of one image: its truth, its prediction and the errors of it; or two predictions and what changed.

    Args:
        chosen: why the image is shown.
        sample: the image with its true label map, as the data set reads it.
        predictions: one or two small label maps (`results/small_maps.py`) by the key of their view.
        classes: names and colours of the labels.
        words: the image's numbers for people.
        order: what cards are sorted by.
    """
    assert sample.label_map is not None
    truth = small_map(sample.label_map)
    colors = shown_colors(classes.palette, len(classes.names))
    unpainted = {IGNORE_INDEX, *background_labels(classes.names)}
    layers = {"truth": color_layer(truth, colors, unpainted)}
    for key, labels in predictions.items():
        layers[key] = color_layer(labels, colors, unpainted)
    answers = list(predictions.values())
    first, last = answers[0], answers[-1]
    names, kind_colors = (CHANGE_KINDS, _CHANGE_COLORS) if len(predictions) > 1 else (tuple(ERROR_KINDS), KIND_COLORS)
    if len(predictions) > 1:
        kinds = _changes(truth, first, last)
    else:
        kinds = error_kinds(truth, last, border_distance((truth.shape[0], truth.shape[1])))
    layers["error"] = _kind_layer(kinds, kind_colors)
    return Card(
        sample.name,
        words,
        order,
        chosen.part,
        card_picture(sample.image),
        sample.original_size,
        layers,
        frozenset().union(*(_present(labels) for labels in (truth, *predictions.values()))),
        _errors(truth, last, kinds, names),
    )


def _changes(truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 1 + place in `CHANGE_KINDS`, 0 where both are right, 255 where the truth is ignored."""
    was, now = before == truth, after == truth
    kinds = np.select([~was & now, was & ~now, ~was & ~now], [1, 2, 3], 0).astype(np.uint8)
    return np.where(truth == IGNORE_INDEX, IGNORE_INDEX, kinds).astype(np.uint8)


def _kind_layer(kinds: np.ndarray, kind_colors: Sequence[Color]) -> Markup:
    colors = np.zeros((256, 3), np.uint8)
    colors[1 : 1 + len(kind_colors)] = kind_colors
    return color_layer(kinds, colors, (0, IGNORE_INDEX))


def _present(labels: np.ndarray) -> frozenset[int]:
    counts = np.bincount(labels.ravel(), minlength=256)
    counts[IGNORE_INDEX] = 0
    return frozenset(np.flatnonzero(counts > _WORTH_NAMING * labels.size).tolist())


def _errors(
    truth: np.ndarray, prediction: np.ndarray, kinds: np.ndarray, names: Sequence[str]
) -> frozenset[tuple[int, str]]:
    """(label, kind) of the errors: of a wrong pixel both the class that was lost and the one that was given."""
    found: set[tuple[int, str]] = set()
    for number, kind in enumerate(names, 1):
        wrong = kinds == number
        for labels in (truth[wrong], prediction[wrong]):
            counts = np.bincount(labels, minlength=256)
            counts[IGNORE_INDEX] = 0
            found |= {(label, kind) for label in np.flatnonzero(counts > _WORTH_NAMING * truth.size).tolist()}
    return frozenset(found)


def class_entries(classes: ClassTable, labels: Sequence[int]) -> tuple[tuple[int, LegendEntry], ...]:
    """The legend of some labels in the order of their table, each with its number; a background is among them."""
    colors = shown_colors(classes.palette, len(classes.names))
    rows = [(label, colors[label].tolist()) for label in sorted(set(labels))]
    return tuple((label, LegendEntry((r, g, b), classes.name_of(label))) for label, (r, g, b) in rows)

"""Better anchors for a set of boxes: scales and aspect ratios from clusters of the boxes, refined by the recall they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from toolkit.contracts import AnchorLayout
from toolkit.preflight.anchor_recall import best_overlaps, recall
from toolkit.preflight.passage import SeenBoxes

_MOVES = (0.75, 0.87, 0.94, 1.06, 1.15, 1.33)
_ROUNDS = 6
_SEARCHED = 800
"""Boxes that the search looks at; the answer is measured on all."""
_ENOUGH = 0.95
_MOST_SCALES = 4
_WORTH_MORE = 0.03
"""What every further set of anchors must add: more of them cost time and memory."""


def fitted(boxes: SeenBoxes, layout: AnchorLayout) -> AnchorLayout | None:
    """Anchors whose recall on these boxes is higher than the given ones', or None when the search finds none.

    As many scales and ratios as now are tried first, then three ratios and one scale more, until 95 % of the boxes are
    covered, there are four scales, or more anchors add less than three points. Deterministic.
    """
    few = _some(boxes)
    best, best_recall = None, recall(best_overlaps(boxes, layout), layout.positive_iou)
    for scales, ratios in _counts(layout):
        found = _with(layout, *_refined(few, layout, *_start(few, layout, scales, ratios)))
        reached = recall(best_overlaps(boxes, found), layout.positive_iou)
        if reached > best_recall + (_WORTH_MORE if best is not None else 0.0):
            best, best_recall = found, reached
        if best_recall >= _ENOUGH:
            break
    return best


def _counts(layout: AnchorLayout) -> Iterator[tuple[int, int]]:
    scales, ratios = len(layout.scales), len(layout.ratios)
    yield scales, ratios
    for more in range(scales + (ratios >= 3), _MOST_SCALES + 1):
        yield more, max(ratios, 3)


def _some(boxes: SeenBoxes) -> SeenBoxes:
    if len(boxes.labels) <= _SEARCHED:
        return boxes
    chosen = np.linspace(0, len(boxes.labels) - 1, _SEARCHED).round().astype(int)
    return SeenBoxes(boxes.xyxy[chosen], boxes.labels[chosen], boxes.sizes[chosen])


def _start(boxes: SeenBoxes, layout: AnchorLayout, scales: int, ratios: int) -> tuple[list[float], list[float]]:
    """Middles of clusters: of the shapes, and of the sizes in strides of the nearest map's anchors.

    Sizes that differ by a factor of the strides fall together, because every map has the same scales.
    """
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    shapes = np.exp(_means(np.log(sides[:, 1] / sides[:, 0]), ratios))
    usual = float(np.exp(np.mean(np.log(layout.scales))))
    strides = np.log(np.array(layout.strides, np.float64))
    sizes = np.log(np.sqrt(sides.prod(1)))
    level = np.abs(sizes[:, None] - strides - np.log(usual)).argmin(1)
    return list(np.exp(_means(sizes - strides[level], scales))), list(shapes)


def _means(values: np.ndarray, count: int) -> np.ndarray:
    """k-means on a line, from quantiles; (count,) sorted. Fewer clusters than asked for are spread a little."""
    centres = np.quantile(values, (np.arange(count) + 0.5) / count)
    centres = centres + np.arange(count) * 1e-3
    for _ in range(50):
        nearest = np.abs(values[:, None] - centres).argmin(1)
        moved = np.array([values[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return np.sort(centres)


def _refined(
    boxes: SeenBoxes, layout: AnchorLayout, scales: Sequence[float], ratios: Sequence[float]
) -> tuple[list[float], list[float]]:
    """One number at a time moved by some percent, as long as that helps."""
    numbers, count = [*scales, *ratios], len(scales)
    value = _worth(boxes, _with(layout, numbers[:count], numbers[count:]))
    for _ in range(_ROUNDS):
        before = value
        for place in range(len(numbers)):
            for move in _MOVES:
                tried = [number * move if place == at else number for at, number in enumerate(numbers)]
                worth = _worth(boxes, _with(layout, tried[:count], tried[count:]))
                if worth > value:
                    numbers, value = tried, worth
        if value <= before:
            break
    return numbers[:count], numbers[count:]


def _worth(boxes: SeenBoxes, layout: AnchorLayout) -> float:
    """Recall; the mean overlap leads the search where recall alone is flat."""
    overlaps = best_overlaps(boxes, layout)
    return recall(overlaps, layout.positive_iou) + 0.2 * float(overlaps.mean())


def _with(layout: AnchorLayout, scales: Sequence[float], ratios: Sequence[float]) -> AnchorLayout:
    """The layout with other shapes, as they are written in a config: three digits, sorted."""
    rounded = [tuple(sorted(float(f"{number:.3g}") for number in numbers)) for numbers in (scales, ratios)]
    return layout._replace(scales=rounded[0], ratios=rounded[1])

"""Anchors against the boxes of the training set, as the model will see them; better ones offered as a config line.

The overlap of a box with its best anchor is found without laying out a grid. Better anchors come from clusters of the
boxes, refined by the recall they give.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from toolkit.contracts import AnchorLayout
from toolkit.errors import Problem
from toolkit.ops.anchors import base_anchors, scales_in_strides
from toolkit.preflight.findings import Report, Table
from toolkit.preflight.model.geometry_trace import SeenBoxes


def best_overlaps(boxes: SeenBoxes, layout: AnchorLayout) -> np.ndarray:
    """(M,) the largest overlap (intersection over union) of each box with any anchor of its image, 0..1.

    Exact for maps of ceil(side / stride) cells: for an anchor of a given size the best place is the cell nearest to the
    box, in each direction by itself.
    """
    best = np.zeros(len(boxes.labels))
    for stride in layout.strides:
        best = np.maximum(best, _overlaps(boxes, _base(stride, layout), stride, layout.inside_only).max(0, initial=0))
    return best


def _base(stride: int, layout: AnchorLayout) -> np.ndarray:
    """The anchors of cell 0, (A, 4) xyxy, x2 and y2 exclusive."""
    scales = scales_in_strides(layout.scales, stride, layout.unit)
    base = base_anchors(stride, scales, layout.ratios, layout.style).double().numpy()
    return base + np.array([0, 0, 1, 1]) if layout.style == "caffe" else base


def _overlaps(boxes: SeenBoxes, anchors: np.ndarray, stride: int, inside_only: bool) -> np.ndarray:
    """(A, M) of each of the anchors (A, 4) of cell 0, at its best place, with each box."""
    corners = np.ascontiguousarray(anchors.T)[:, :, None]
    intersection, possible = np.ones(()), np.ones((), bool)
    for axis in (0, 1):
        low, high, extent = boxes.xyxy[:, axis], boxes.xyxy[:, axis + 2], boxes.sizes[:, 1 - axis]
        begin, end, cells = corners[axis], corners[axis + 2], np.ceil(extent / stride)
        first, last = np.zeros_like(cells), cells - 1
        if inside_only:
            first = np.maximum(first, np.ceil(-begin / stride))
            last = np.minimum(last, np.floor((extent - end) / stride))
        possible = possible & (first <= last)
        wanted = ((low + high - (end - begin)) / 2 - begin) / stride
        start = begin + stride * np.clip(np.rint(wanted), first, np.maximum(first, last))
        common = np.minimum(high, start + (end - begin)) - np.maximum(low, start)
        intersection = intersection * np.clip(common, 0, None)
    areas = np.prod(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], axis=1)
    area = (corners[2] - corners[0]) * (corners[3] - corners[1])
    return np.where(possible, intersection / np.maximum(areas + area - intersection, 1e-9), 0.0)


def recall(overlaps: np.ndarray, threshold: float) -> float:
    """Share of boxes whose best anchor reaches the threshold; NaN without boxes."""
    return float((overlaps >= threshold).mean()) if len(overlaps) else float("nan")


def recall_by_class(overlaps: np.ndarray, labels: np.ndarray, threshold: float, count: int) -> Sequence[float]:
    """`recall` of each class 0..count-1.

    Args:
        overlaps: (M,) best IoU of each box with an anchor, 0..1.
        labels: (M,) class of each box, 0..count-1.
        threshold: IoU from which a box counts as found, 0..1.
        count: how many classes there are, K.
    """
    return [recall(overlaps[labels == label], threshold) for label in range(count)]


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
    return layout._replace(scales=rounded[0], ratios=rounded[1], unit="strides")


LOW, LOW_CLASS, OFTEN = 0.5, 0.2, 10
"""Recall below which a warning is due: of all boxes, and of a class with at least this many of them. The anchors of
published detectors reach 0.6 to 0.9 on the data they were made for."""
GAIN = 0.05
"""Recall by which other anchors must be better to be offered."""


def check_anchors(
    report: Report, boxes: SeenBoxes, layout: AnchorLayout, classes: Sequence[str], *, suggest: bool = True
) -> None:
    """Notes the best possible recall, overall and by class, and, when there are clearly better anchors, which.

    Args:
        report: takes what is found, and the numbers as statistics.
        boxes: targets as the model will see them.
        layout: anchors of the model and the IoU they match from.
        classes: names of the labels 0..K-1.
        suggest: whether better anchors are searched for (a second or two).
    """
    key, threshold = f"model.head.{layout.key}", layout.positive_iou
    overlaps = best_overlaps(boxes, layout)
    if not len(overlaps):
        return
    reached = recall(overlaps, threshold)
    by_class = recall_by_class(overlaps, boxes.labels, threshold, len(classes))
    better = fitted(boxes, layout) if suggest and reached < 1 else None
    after = best_overlaps(boxes, better) if better else None
    if after is not None and recall(after, threshold) < reached + GAIN:
        better = after = None
    missed = int((overlaps < threshold).sum())
    report.note(
        "anchors",
        f"{missed} of {len(overlaps)} boxes ({1 - reached:.0%}) have none of IoU {threshold:g}: "
        f"best possible recall {reached:.1%}",
    )
    report.tables.append(_table(boxes, overlaps, after, layout, classes))
    report.statistics["anchors"] = _statistics(boxes, overlaps, by_class, layout, better, after, classes)
    counts = np.bincount(boxes.labels, minlength=len(classes))
    poor = [
        f"{name} {share:.0%}"
        for name, share, count in zip(classes, by_class, counts, strict=True)
        if count >= OFTEN and share < LOW_CLASS
    ]
    line = f"anchors: {_flow(better)}" if better else ""
    if better is not None and after is not None:
        report.note("anchors", f"better ({recall(after, threshold):.1%}), to stand at {key}:")
        report.note("", f"  {line}")
    if reached < LOW or poor:
        message = f"{missed} of {len(overlaps)} training boxes have no anchor that overlaps them by {threshold:g}"
        message += f" ({', '.join(poor)} of their class do)" if poor else ""
        report.warn("anchors", Problem(key, message, f"use {line}" if line else "resize the images otherwise"))


def _flow(layout: AnchorLayout) -> str:
    """Shapes of anchors as YAML in a line."""
    numbers = (f"[{', '.join(f'{value:g}' for value in values)}]" for values in (layout.scales, layout.ratios))
    return "{{scales: {}, ratios: {}, style: {}}}".format(*numbers, layout.style)


def _table(
    boxes: SeenBoxes, before: np.ndarray, after: np.ndarray | None, layout: AnchorLayout, classes: Sequence[str]
) -> Table:
    """A row a class and one for all: boxes, their median size and shape, and the recall now and with better anchors."""
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    header = ["class", "boxes", "median side", "height/width", "recall"] + (
        ["with better"] if after is not None else []
    )
    rows = []
    for name, own in [
        *((name, boxes.labels == label) for label, name in enumerate(classes)),
        ("all", np.ones(len(before), bool)),
    ]:
        if not own.any():
            continue
        side, shape = np.sqrt(sides[own].prod(1)), sides[own, 1] / sides[own, 0]
        row = [name, str(int(own.sum())), f"{np.median(side):.0f}", f"{np.median(shape):.2f}"]
        row += [
            f"{recall(overlaps[own], layout.positive_iou):.1%}" for overlaps in (before, after) if overlaps is not None
        ]
        rows.append(row)
    return Table("Anchors against the training boxes (pixels after the transforms)", header, rows)


def _statistics(
    boxes: SeenBoxes, overlaps: np.ndarray, by_class: Sequence[float], layout: AnchorLayout,
    better: AnchorLayout | None, after: np.ndarray | None, classes: Sequence[str],
) -> dict[str, object]:  # fmt: skip
    found: dict[str, object] = {
        "threshold": layout.positive_iou,
        "boxes": len(overlaps),
        "recall": round(recall(overlaps, layout.positive_iou), 4),
        "recall_by_class": {
            name: None if math.isnan(share) else round(share, 4) for name, share in zip(classes, by_class, strict=True)
        },
        "mean_overlap": round(float(overlaps.mean()), 4),
    }
    if better is not None and after is not None:
        scales, ratios = list(better.scales), list(better.ratios)
        found["suggestion"] = {
            "recall": round(recall(after, layout.positive_iou), 4),
            "key": f"model.head.{layout.key}",
            "value": {"scales": scales, "ratios": ratios, "style": better.style},
            "yaml": f"anchors: {_flow(better)}",
            "sides_by_stride": {
                str(stride): [round(stride * scale, 1) for scale in scales] for stride in layout.strides
            },
        }
    return found

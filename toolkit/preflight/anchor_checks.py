"""Anchors against the boxes of the training set, as the model will see them; better ones offered as a config line."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.contracts import AnchorLayout
from toolkit.errors import Problem
from toolkit.preflight.anchor_fit import fitted
from toolkit.preflight.anchor_recall import best_overlaps, recall, recall_by_class
from toolkit.preflight.passage import SeenBoxes
from toolkit.preflight.report import Report, Table

LOW, LOW_CLASS, OFTEN = 0.5, 0.2, 10
"""Recall below which a warning is due: of all boxes, and of a class with at least this many of them. The anchors of
published detectors reach 0.6 to 0.9 on the data they were made for."""
GAIN = 0.05
"""Recall by which other anchors must be better to be offered."""


def check_anchors(
    report: Report, boxes: SeenBoxes, layout: AnchorLayout, classes: Sequence[str], *, suggest: bool = True
) -> None:
    """Notes the best possible recall, overall and by class, and, when there are clearly better anchors, which.

    suggest: whether to search for them (a second or two).
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
    report.facts.append(
        f"anchors {missed} of {len(overlaps)} boxes ({1 - reached:.0%}) have none of IoU {threshold:g}: "
        f"best possible recall {reached:.1%}"
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
        report.facts.append(f"anchors better ({recall(after, threshold):.1%}), to stand at {key}:")
        report.facts.append(f"          {line}")
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

"""Two answers for one picture, compared; and how far apart they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

LIMIT_TIES = 1e-4
"""How near a score, overlap or rank an unmatched box must lie to a limit to be a tie and no difference."""


class Bounds(NamedTuple):
    """How far an export may be from its model.

    Args:
        logit: largest difference of a logit, or of a value; relative to the logits' spread where `relative`.
        labels: smallest share of equal labels.
        boxes: largest difference of a matched box's side, in pixels.
        metric: largest difference of the metric, as people read it (percentage points for a share).
        relative: whether `logit` counts in standard deviations of the model's own logits.
    """

    logit: float
    labels: float
    boxes: float
    metric: float
    relative: bool = False


BOUNDS = {
    "float32": Bounds(1e-4, 0.9999, 1e-3, 0.05),
    "half": Bounds(0.05, 0.995, 0.5, 0.2, relative=True),
    "int8": Bounds(1.0, 0.95, 4.0, 1.0, relative=True),
}


class Difference(NamedTuple):
    """One picture's answers compared; None where the kind of answer has no such thing.

    Args:
        logit: largest difference of what the head gave, or of values.
        spread: standard deviation of the model's own.
        labels: share of labels that are equal.
        boxes: largest difference of a side of matched boxes, in pixels.
        unmatched: boxes of either side without a partner.
        ties: those of them whose score is within `LIMIT_TIES` of the lowest answered, where rounding decides.
        finite: whether everything exported is a finite number.
        compared: how many labels of the picture were compared.
    """

    logit: float | None = None
    spread: float | None = None
    labels: float | None = None
    boxes: float | None = None
    unmatched: int = 0
    ties: int = 0
    finite: bool = True
    compared: int = 0

    def problems(self, bounds: Bounds) -> list[str]:
        """What exceeds the bounds, in words."""
        found = []
        most = bounds.logit * (self.spread or 1.0) if bounds.relative else bounds.logit
        if not self.finite:
            found.append("numbers that are not finite")
        if self.logit is not None and not self.logit <= most:
            found.append(f"a difference of {self.logit:.3g}, allowed {most:.3g}")
        if self.labels is not None and self.labels < bounds.labels:
            found.append(f"{100 * self.labels:.3f} % of labels equal, wanted {100 * bounds.labels:g} %")
        if self.boxes is not None and self.boxes > bounds.boxes:
            found.append(f"boxes {self.boxes:.3g} pixels apart, allowed {bounds.boxes:g}")
        if self.unmatched > self.ties:
            found.append(f"{self.unmatched - self.ties} boxes without a partner")
        return found


def compared(wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> Difference:
    """The model's answers for a picture and the export's, by the names of a graph's outputs, first axis 1."""
    shared = {name: (wanted[name], found[name]) for name in wanted if name in found}
    if "boxes" in wanted:
        return _boxes(wanted, found)
    raws = [pair for name, pair in shared.items() if name not in ("labels", "scores") or "logits" not in wanted]
    raws = [pair for pair in raws if pair[0].dtype.kind == "f"]
    if any(one.shape != other.shape for one, other in shared.values()):
        return Difference(logit=float("inf"), labels=0.0 if "labels" in wanted else None)
    numbers = [one for _, one in shared.values() if one.dtype.kind == "f"]
    gaps = [float(np.abs(one.astype(np.float64) - other).max()) for one, other in raws if one.size]
    labels = shared.get("labels")
    return Difference(
        logit=max(gaps) if gaps else None,
        spread=float(np.std(raws[0][0])) if raws else None,
        labels=float((labels[0] == labels[1]).mean()) if labels is not None else None,
        finite=all(bool(np.isfinite(one).all()) for one in numbers),
        compared=labels[0].size if labels is not None else 0,
    )


def _boxes(wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> Difference:
    """Boxes of one picture matched by class and nearest place, best first."""
    mine, theirs = _rows(wanted), _rows(found)
    free = list(range(len(theirs[2])))
    gaps: list[float] = []
    lonely: list[float] = []
    for box, score, label in zip(*mine, strict=True):
        near = [(float(np.abs(theirs[0][at] - box).max()), at) for at in free if theirs[2][at] == label]
        gap, at = min(near, default=(np.inf, -1))
        if gap <= 1.0 and abs(float(theirs[1][at] - score)) <= 0.05:
            gaps.append(gap)
            free.remove(at)
        else:
            lonely.append(float(score))
    lonely += [float(theirs[1][at]) for at in free]
    edges = [float(side.min()) for side in (mine[1], theirs[1]) if len(side)]
    ties = sum(any(abs(score - edge) <= LIMIT_TIES for edge in edges) for score in lonely)
    scores = [one for one in (mine[1], theirs[1]) if len(one)]
    return Difference(
        boxes=max(gaps, default=0.0),
        unmatched=len(lonely),
        ties=ties,
        finite=all(bool(np.isfinite(one).all()) for one in (*scores, theirs[0])),
    )


def _rows(answers: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and labels of the first picture, without the places that hold none (label -1)."""
    boxes, scores, labels = (np.asarray(answers[name])[0] for name in ("boxes", "scores", "labels"))
    there = labels >= 0
    return boxes[there], scores[there], labels[there]


def total(rows: Sequence[Difference]) -> Difference:
    """The worst of all pictures; shares of labels are of all pixels together."""
    logits, boxes = ([one for row in rows if (one := getattr(row, name)) is not None] for name in ("logit", "boxes"))
    spreads = [row.spread for row in rows if row.spread is not None]
    labels = [(row.labels, row.compared) for row in rows if row.labels is not None]
    count = sum(number for _, number in labels)
    return Difference(
        max(logits, default=None),
        float(np.mean(spreads)) if spreads else None,
        sum(share * number for share, number in labels) / count if count else None,
        max(boxes, default=None),
        sum(row.unmatched for row in rows),
        sum(row.ties for row in rows),
        all(row.finite for row in rows),
        count,
    )

"""Two answers for one picture, compared; and how far apart they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.export.graph import ALL

Answers = Mapping[str, Any]
"""A picture's answer by the names of a graph's outputs: arrays with a first axis of 1."""
_NEAR = 1.0
"""Pixels up to which two boxes of one class are taken for the same one; more where more is allowed."""
_ALIKE = 0.05
"""How far apart their scores may be; twice the width of a tie where that is more."""


class Bounds(NamedTuple):
    """How far an export may be from its model.

    Args:
        logit: largest difference of a logit, or of a value; relative to the logits' spread where `relative`.
        labels: smallest share of equal labels.
        boxes: largest difference of a matched box's side, in pixels.
        metric: largest difference of the metric, as people read it (percentage points for a share).
        ties: how near to a limit the score, overlap or rank of an unmatched box must lie, 0..1; and how near to each other,
            in standard deviations of their map, two values of a pooling window of which either may be the maximum.
        relative: whether `logit` counts in standard deviations of the model's own logits.
    """

    logit: float
    labels: float
    boxes: float
    metric: float
    ties: float
    relative: bool = False


BOUNDS = {
    "float32": Bounds(1e-4, 0.9999, 1e-3, 0.05, 1e-4),
    "half": Bounds(0.05, 0.995, 0.5, 0.2, 0.01, relative=True),
    "int8": Bounds(1.0, 0.95, 4.0, 1.0, 0.1, relative=True),
}


class Difference(NamedTuple):
    """One picture's answers compared; None where the kind of answer has no such thing.

    Args:
        logit: largest difference of what the head gave, or of values; of boxes, of the scores of matched ones.
        spread: standard deviation of the model's own.
        labels: share of labels that are equal.
        boxes: largest difference of a side of matched boxes, in pixels.
        unmatched: boxes of either side without a partner, and pairs further apart than allowed that `ties` explains; of nets
            with pooling indices, windows whose value was put elsewhere, where that explains a difference of logits.
        ties: those of them at a limit of a score, an overlap or a rank, or between two values of a window, where rounding
            decides.
        finite: whether everything exported is a finite number.
        compared: how many labels of the picture were compared.
        exact: how far the model's logits, and the export's, are from those of the net in float64, where that was asked.
        left: what of `logit` rounding of float32 does not explain, where that was asked; then it is what must be within bounds.
        exact_boxes: how far the model's boxes, and the export's, are from those of the net in float64, in pixels, as `exact`.
        left_boxes: what of `boxes` rounding of float32 does not explain, as `left`.
    """

    logit: float | None = None
    spread: float | None = None
    labels: float | None = None
    boxes: float | None = None
    unmatched: int = 0
    ties: int = 0
    finite: bool = True
    compared: int = 0
    exact: tuple[float, float] | None = None
    left: float | None = None
    exact_boxes: tuple[float, float] | None = None
    left_boxes: float | None = None

    def problems(self, bounds: Bounds) -> list[str]:
        """What exceeds the bounds, in words."""
        found = []
        most = bounds.logit * (self.spread or 1.0) if bounds.relative else bounds.logit
        if not self.finite:
            found.append("numbers that are not finite")
        left = self.logit if self.left is None else self.left
        if left is not None and not left <= most:
            exact = (
                "; in float64 the model itself is {:.3g} away, the export {:.3g}".format(*self.exact)
                if self.exact
                else ""
            )
            found.append(f"a difference of {left:.3g}, allowed {most:.3g}{exact}")
        if self.labels is not None and self.labels < bounds.labels:
            found.append(f"{100 * self.labels:.3f} % of labels equal, wanted {100 * bounds.labels:g} %")
        boxes = self.boxes if self.left_boxes is None else self.left_boxes
        if boxes is not None and boxes > bounds.boxes:
            exact = (
                "; in float64 the model's are {:.3g} away, the export's {:.3g}".format(*self.exact_boxes)
                if self.exact_boxes
                else ""
            )
            found.append(f"boxes {boxes:.3g} pixels apart, allowed {bounds.boxes:g}{exact}")
        if self.unmatched > self.ties:
            found.append(f"{self.unmatched - self.ties} boxes without a partner")
        return found


def compared(
    wanted: Answers,
    found: Answers,
    bounds: Bounds = BOUNDS["float32"],
    others: Callable[[], Iterable[Answers]] = tuple,
) -> Difference:
    """The model's answers for a picture and the export's.

    Args:
        wanted: the model's, by the names of a graph's outputs, first axis 1.
        found: those of the export, by the same names.
        bounds: how far apart they may be; of boxes, which of them are looked for at a limit.
        others: what a detector might answer if it were rounded otherwise (`Head.near_limits`); asked for where boxes differ.
    """
    shared = {name: (wanted[name], found[name]) for name in wanted if name in found}
    if "boxes" in wanted:
        kinds = [name for name in ("", ALL) if f"{name}boxes" in wanted and f"{name}boxes" in found]
        return total([_boxes(kind, wanted, found, bounds, others) for kind in kinds])
    raws = [pair for pair in shared.values() if pair[0].dtype.kind == "f"]
    if any(one.shape != other.shape for one, other in shared.values()):
        return Difference(logit=float("inf"), labels=0.0 if "labels" in wanted else None)
    numbers = [one for _, one in shared.values() if one.dtype.kind == "f"]
    gaps = [float(np.abs(one.astype(np.float64) - other).max()) for one, other in raws if one.size]
    labels = shared.get("labels")
    return Difference(
        logit=max(gaps) if gaps else None,
        spread=float(np.std(shared.get("logits", raws[0])[0])) if raws else None,
        labels=float((labels[0] == labels[1]).mean()) if labels is not None else None,
        finite=all(bool(np.isfinite(one).all()) for one in numbers),
        compared=labels[0].size if labels is not None else 0,
    )


class _Boxes(NamedTuple):
    """Boxes of a picture.

    Args:
        places: (D, 4) float xyxy, in pixels.
        scores: (D,) float, 0..1.
        labels: (D,) int, class of each box.
    """

    places: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def nearest(self, place: np.ndarray, label: int, free: Iterable[int]) -> tuple[float, int]:
        """Distance in pixels and number of the box of that class that lies nearest, of those that are free; inf for none."""
        near = [(float(np.abs(self.places[at] - place).max()), at) for at in free if self.labels[at] == label]
        return min(near, default=(np.inf, -1))

    def has(self, place: np.ndarray, label: int, within: float) -> bool:
        """Whether a box of a class is there, to within some pixels."""
        same = self.places[self.labels == label]
        return bool(len(same)) and bool((np.abs(same - place).max(1) <= within).any())


def _boxes(
    kind: str, wanted: Answers, found: Answers, bounds: Bounds, others: Callable[[], Iterable[Answers]]
) -> Difference:
    """Boxes of one picture matched by class and nearest place, best first. kind: begin of their names."""
    mine, theirs = _rows(wanted, kind), _rows(found, kind)
    near = max(_NEAR, bounds.boxes)
    free = list(range(len(theirs.labels)))
    pairs: list[tuple[float, float, int]] = []
    lost: list[int] = []
    for number, (place, score, label) in enumerate(zip(*mine, strict=True)):
        gap, at = theirs.nearest(place, int(label), free)
        apart = abs(float(theirs.scores[at]) - float(score)) if at >= 0 else np.inf
        if gap <= near and apart <= max(_ALIKE, 2 * bounds.ties):
            pairs.append((gap, apart, at))
            free.remove(at)
        else:
            lost.append(number)
    wide = [at for gap, _, at in pairs if not gap <= bounds.boxes]
    ties: set[tuple[str, int]] = set()
    if lost or free or wide:
        for other in (_rows(one, kind) for one in others()):
            ties |= {("lost", at) for at in lost if not other.has(mine.places[at], mine.labels[at], near)}
            ties |= {("more", at) for at in free if other.has(theirs.places[at], theirs.labels[at], near)}
            ties |= {("more", at) for at in wide if other.has(theirs.places[at], theirs.labels[at], bounds.boxes)}
    moved = [at for at in wide if ("more", at) in ties]  # by votes of boxes at a limit, say
    rest = [(gap, apart) for gap, apart, at in pairs if at not in moved]
    return Difference(
        logit=max((apart for _, apart in rest), default=0.0),
        boxes=max((gap for gap, _ in rest), default=0.0),
        unmatched=len(lost) + len(free) + len(moved),
        ties=len(ties),
        finite=all(bool(np.isfinite(one).all()) for one in (mine.scores, theirs.scores, theirs.places)),
    )


def _rows(answers: Answers, kind: str) -> _Boxes:
    """Boxes, scores and labels of the first picture, without the places that hold none (label -1)."""
    boxes, scores, labels = (np.asarray(answers[f"{kind}{name}"])[0] for name in ("boxes", "scores", "labels"))
    there = labels >= 0
    return _Boxes(boxes[there], scores[there], labels[there])


def total(rows: Sequence[Difference]) -> Difference:
    """The worst of all pictures; shares of labels are of all pixels together."""
    logits, boxes = ([one for row in rows if (one := getattr(row, name)) is not None] for name in ("logit", "boxes"))
    spreads = [row.spread for row in rows if row.spread is not None]
    labels = [(row.labels, row.compared) for row in rows if row.labels is not None]
    count = sum(number for _, number in labels)
    exact, exact_boxes = (_farthest([getattr(row, name) for row in rows]) for name in ("exact", "exact_boxes"))
    lefts = [row.logit if row.left is None else row.left for row in rows]
    left_boxes = [row.boxes if row.left_boxes is None else row.left_boxes for row in rows]
    return Difference(
        max(logits, default=None),
        float(np.mean(spreads)) if spreads else None,
        sum(share * number for share, number in labels) / count if count else None,
        max(boxes, default=None),
        sum(row.unmatched for row in rows),
        sum(row.ties for row in rows),
        all(row.finite for row in rows),
        count,
        exact,
        max((one for one in lefts if one is not None), default=None) if exact else None,
        exact_boxes,
        max((one for one in left_boxes if one is not None), default=None) if exact_boxes else None,
    )


def _farthest(pairs: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The largest of each side; None where there is no pair."""
    there = [pair for pair in pairs if pair is not None]
    return (max(own for own, _ in there), max(other for _, other in there)) if there else None

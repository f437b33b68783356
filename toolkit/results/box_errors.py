"""What kind of mistake each detection and each true box without one is, and how much AP each kind costs (TIDE).

Source: Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 3, and the authors'
program `tidecv` 1.0.1 (`quantify.py`, `ap.py`), whose numbers come out equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.results.box_images import ImageBoxes, image_boxes, matched

BOX_ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
"""Names of the kinds 0 to 5, in the paper's order."""
RIGHT, NOT_LOOKED_AT = -1, -2
"""What `BoxErrors.kinds` holds for a detection that found its object, and for one beyond the limit."""
_CLASS, _PLACE, _BOTH, _TWICE, _NOTHING, _MISSED = range(6)


class BoxErrors(NamedTuple):
    """What became of each detection and each true box; rows are those of the record's flat arrays.

    Args:
        kinds: (D,) int8 place in `BOX_ERRORS` of each detection's error, `RIGHT`, or `NOT_LOOKED_AT`.
        spared: (D,) bool: detections in crowds and on difficult boxes, which count neither right nor wrong.
        partners: (D,) int64 row of the true box that a detection found, or would find if its class or place were right; -1
            for none.
        mends: (D,) bool: of the errors that share a true box nobody found, the one that would find it if mended.
        found: (G,) bool: true boxes that were found.
        missed: (G,) bool: true boxes that no mended detection would find either.
        order: (D',) int64 rows of the detections that were looked at, by image, best first.
    """

    kinds: np.ndarray
    spared: np.ndarray
    partners: np.ndarray
    mends: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    order: np.ndarray


def box_errors(
    arrays: Mapping[str, np.ndarray], overlap: float = 0.5, background: float = 0.1, limit: int = 100
) -> BoxErrors:
    """The kind of every error. Of one that could be of two kinds, the first of the paper's tests that holds decides.

    For a detection that found no object, with IoU the overlap:

    * localisation: background <= IoU <= overlap with a true box of its class;
    * classification: IoU >= overlap with one of another class;
    * duplicate: IoU >= overlap with one of its class that a better-scored detection found;
    * background: IoU <= background with every true box; both: all the rest.

    Args:
        arrays: flat arrays of a record (`evaluators/detection_record.py`).
        overlap: IoU, 0..1, from which a detection finds a true box of its class.
        background: IoU, 0..1, up to which a detection lies on nothing.
        limit: the most detections of an image that are looked at, best first.
    """
    count, truth_count = len(arrays["detection_scores"]), len(arrays["truth_labels"])
    errors = BoxErrors(
        np.full(count, NOT_LOOKED_AT, np.int8),
        np.zeros(count, bool),
        np.full(count, -1, np.int64),
        np.zeros(count, bool),
        np.zeros(truth_count, bool),
        np.zeros(truth_count, bool),
        np.zeros(0, np.int64),
    )
    order = []
    for image in image_boxes(arrays, overlap, limit):
        _judge(image, errors, overlap, background)
        order.append(image.detections)
    return errors._replace(order=np.concatenate([errors.order, *order]))


def _judge(image: ImageBoxes, errors: BoxErrors, overlap: float, background: float) -> None:
    """Writes down what one image's boxes are."""
    rows = image.detections
    partners = matched(image.ious, image.same, overlap)
    right = partners >= 0
    found = np.zeros(len(image.truths), bool)
    found[partners[right]] = True
    errors.found[image.truths] = found
    errors.spared[rows] = image.spared & ~right
    kinds = np.full(len(rows), _NOTHING)
    if len(image.truths) and len(rows):
        kinds, would_find = _kinds(image, found, overlap, background)
        partners = np.where(right, partners, would_find)
    kinds = np.where(right, RIGHT, kinds)
    errors.kinds[rows] = kinds
    errors.partners[rows] = np.where(partners >= 0, image.truths[partners] if len(image.truths) else -1, -1)
    usable = np.zeros(len(image.truths), bool)
    for place in np.flatnonzero(~right & (partners >= 0)).tolist():  # best first: the first one mends
        partner = partners[place]
        errors.mends[rows[place]] = not found[partner] and not usable[partner]
        usable[partner] = True
    errors.missed[image.truths] = ~found & ~usable


def _kinds(image: ImageBoxes, found: np.ndarray, overlap: float, background: float) -> tuple[np.ndarray, np.ndarray]:
    """Kind of each detection, were it wrong, and the true box (its place) that it would find if mended, or -1."""
    own, other = image.ious * image.same, image.ious * ~image.same
    best_own, best_other = own.argmax(1), other.argmax(1)
    own_iou, other_iou = own.max(1), other.max(1)
    tests = [
        (background <= own_iou) & (own_iou <= overlap),
        other_iou >= overlap,
        (own * found).max(1) >= overlap,
        image.ious.max(1) <= background,
    ]
    kinds = np.select(tests, [_PLACE, _CLASS, _TWICE, _NOTHING], _BOTH)
    partners = np.select([kinds == _PLACE, kinds == _CLASS], [best_own, best_other], -1)
    return kinds, partners


def error_costs(
    arrays: Mapping[str, np.ndarray],
    errors: BoxErrors,
    classes: Sequence[str],
    overlap: float = 0.5,
    background: float = 0.1,
    limit: int = 100,
) -> dict[str, Any]:
    """How much AP at one overlap each kind of error costs, as plain JSON: the AP if it alone were mended, minus the AP.

    A wrong class or place is mended to a find, once a true box, else taken away, as are duplicates and detections on
    nothing; a missed box is no longer asked for. The gains do not add up: mending one kind changes what another costs.
    As in `tidecv`, a class of which there are detections and no true box has AP 0 and is in the mean (in COCO's it is
    not), and a gain below 0, which the 101 steps of recall can make, is 0.

    Args:
        arrays: flat arrays of a record.
        errors: what `box_errors` says of them.
        classes: names of the labels 0..K-1.
        overlap: that of `errors`, 0..1, said in the result.
        background: that of `errors`, 0..1, said in the result.
        limit: that of `errors`, said in the result.

    Returns:
        {"kinds", "overlap", "background", "limit", "AP", "lost" {kind: dAP}, "false_positives" (dAP if none was one),
        "false_negatives" (if none was missed), "count" {kind: number}, "by_class" {class: {kind: number}}, "largest"
        {"kind", "lost"} or None}; fractions 0..1.
    """
    now = _mean_ap(arrays, errors, classes)
    lost = {
        name: max(_mean_ap(arrays, errors, classes, mended=kind) - now, 0.0) for kind, name in enumerate(BOX_ERRORS)
    }
    counts = _counts(arrays, errors, len(classes))
    largest = max(BOX_ERRORS, key=lambda name: lost[name])
    return {
        "kinds": list(BOX_ERRORS),
        "overlap": overlap,
        "background": background,
        "limit": limit,
        "AP": now,
        "lost": lost,
        "false_positives": _mean_ap(arrays, errors, classes, only_right_scores=True) - now,
        "false_negatives": _mean_ap(arrays, errors, classes, only_found=True) - now,
        "count": {name: int(counts[:, kind].sum()) for kind, name in enumerate(BOX_ERRORS)},
        "by_class": {
            name: dict(zip(BOX_ERRORS, counts[place].tolist(), strict=True)) for place, name in enumerate(classes)
        },
        "largest": {"kind": largest, "lost": lost[largest]} if lost[largest] > 0 else None,
    }


def _counts(arrays: Mapping[str, np.ndarray], errors: BoxErrors, num_classes: int) -> np.ndarray:
    """(K, 6) errors by the class of the detection, of the true box where it was missed."""
    counts = np.zeros((num_classes, len(BOX_ERRORS)), np.int64)
    wrong = errors.kinds >= 0
    np.add.at(counts, (arrays["detection_labels"][wrong], errors.kinds[wrong]), 1)
    counts[:, _MISSED] = np.bincount(arrays["truth_labels"][errors.missed], minlength=num_classes)
    return counts


def _mean_ap(
    arrays: Mapping[str, np.ndarray],
    errors: BoxErrors,
    classes: Sequence[str],
    mended: int | None = None,
    only_right_scores: bool = False,
    only_found: bool = False,
) -> float:
    """Mean AP over the classes that have detections or true boxes, fraction 0..1, with one thing mended.

    `only_right_scores` gives every false detection score 0 and every right one score 1, `only_found` asks for found true
    boxes alone (the paper's two special errors).
    """
    rows = errors.order
    kinds, labels, scores = (
        errors.kinds[rows],
        arrays["detection_labels"][rows].copy(),
        arrays["detection_scores"][rows],
    )
    right, kept = kinds == RIGHT, ~errors.spared[rows]
    asked = ~(arrays["truth_crowd"] | arrays["truth_difficult"])
    if mended == _MISSED:
        asked = asked & ~errors.missed
    elif mended is not None:
        fixed = kinds == mended
        mends = errors.mends[rows] & fixed
        labels[mends] = arrays["truth_labels"][errors.partners[rows][mends]]
        right, kept = right | mends, np.where(fixed, mends, kept)
    if only_found:
        asked = asked & errors.found
    if only_right_scores:
        scores = np.where(right, 1.0, 0.0)
    # tidecv puts wrong detections before right ones of the same score, except where nothing was mended.
    first = kinds != RIGHT if mended is not None or only_right_scores or only_found else np.ones(len(rows), bool)
    order = np.concatenate([np.flatnonzero(kept & first), np.flatnonzero(kept & ~first)])
    order = order[np.argsort(-scores[order], kind="stable")]
    wanted = np.bincount(arrays["truth_labels"][asked], minlength=len(classes))
    values = []
    for label, count in enumerate(wanted.tolist()):
        own = right[order][labels[order] == label]
        if count or len(own):
            values.append(_ap(own, count))
    return sum(values) / len(values) if values else 0.0


def _ap(right: np.ndarray, truths: int) -> float:
    """Mean of the highest precision from each of 101 recalls on; (D,) bool by falling score."""
    if not truths or not len(right):
        return 0.0
    found = np.cumsum(right)
    precision = np.maximum.accumulate((found / np.arange(1, len(right) + 1))[::-1])[::-1]
    places = np.searchsorted(found / truths, np.arange(101) / 100, side="left")
    return float(np.append(precision, 0.0)[places].sum() / 101)

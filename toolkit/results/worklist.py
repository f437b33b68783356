"""Labels that a model which is sure disagrees with, most suspicious first: what to look at before anything is trained.

The model must not have learnt from the labels it judges: give it a split it was not trained on, or the records of folds
whose models have each not seen their own part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.errors import DataError, Problem, listed
from toolkit.ops.pixel_errors import ERROR_KINDS
from toolkit.results.box_images import ImageBoxes, image_boxes
from toolkit.results.record import Record

KINDS = ("class", "box", "missing", "extra")
"""What may be wrong with a label: its class, its place, that there is none, that there is one. Label maps have no "box"."""

_ON, _NEAR = 0.5, 0.1
"""Overlaps from which a detection is of a box, and from which it has to do with it (TIDE's two thresholds)."""
_USUAL = 0.1
"""Share of labels that one reckons to be wrong; what a model's silence tells is weighed by it."""
_LEAST = 0.1
"""Suspicion below which a label is none."""
_MARGIN = 0.5
"""Share of a box's longer side that a crop shows around it."""
_REGION_KINDS = dict(zip(ERROR_KINDS, ("class", "class", "extra", "missing"), strict=True))


def worklist(records: Sequence[Record], limit: int = 1000) -> list[dict[str, Any]]:
    """The section `worklist`: suspicious labels of all images, ranked together.

    Args:
        records: evaluations of disjoint images: one, or one of each fold. Raises DataError where two hold the same image.
        limit: the most entries that are given.

    Returns:
        [{"image", "place" (its number in its record), "fold" (number of the record), "box" [x1, y1, x2, y2], "crop" (the box
        with what is around it, in the image), "kind" (one of `KINDS`), "label", "answer" (names of classes, None for
        nothing), "suspicion" 0.1 to 1, "reason": a sentence}].
    """
    _refuse_shared_images(records)
    found: list[dict[str, Any]] = []
    for fold, record in enumerate(records):
        names = record.classes
        for place, box, kind, label, answer, suspicion, reason in _suspects(record):
            found.append(
                {
                    "image": record.images[place],
                    "place": place,
                    "fold": fold,
                    "box": box,
                    "crop": _crop(box, record.sizes[place].tolist()),
                    "kind": kind,
                    "label": None if label is None else names[label],
                    "answer": None if answer is None else names[answer],
                    "suspicion": round(suspicion, 6),
                    "reason": reason,
                }
            )
    found = [entry for entry in found if entry["suspicion"] >= _LEAST]
    found.sort(key=lambda entry: (-entry["suspicion"], entry["image"], entry["box"]))
    return found[:limit]


Suspect = tuple[int, list[float], str, int | None, int | None, float, str]
"""Number of the image, box, kind, label, answer, suspicion and reason."""


def _suspects(record: Record) -> Iterator[Suspect]:
    if "suspect_boxes" in record.arrays:
        yield from _regions(record)
    if "detection_scores" in record.arrays:
        yield from _boxes(record)


def _regions(record: Record) -> Iterator[Suspect]:
    """Regions of label maps, as their evaluator found them."""
    names, arrays = record.classes, record.arrays
    images = np.repeat(np.arange(len(record)), arrays["suspect_counts"])
    fields = ("suspect_boxes", "suspect_labels", "suspect_answers", "suspect_kinds", "suspect_pixels", "suspect_scores")
    rows = zip(images.tolist(), *(arrays[field].tolist() for field in fields), strict=True)
    for place, box, label, answer, kind, pixels, suspicion in rows:
        told = f"{pixels} pixels labelled {names[label]} are answered as {names[answer]}"
        yield place, box, _REGION_KINDS[ERROR_KINDS[kind - 1]], label, answer, suspicion, told


def _boxes(record: Record) -> Iterator[Suspect]:
    """Boxes that are doubted, and detections that no box is at."""
    images = list(image_boxes(record.arrays, overlap=_ON))
    near = np.sort(np.concatenate([_scores_near(image) for image in images] or [np.zeros(0)]))
    for place, image in enumerate(images):
        if len(image.truths):
            yield from _doubted(record, place, image, near)
        yield from _unlabelled(record, place, image)


def _elsewhere(image: ImageBoxes) -> np.ndarray:
    """(D, G) bool: whether a detection is on another true box than this one, which it therefore says nothing of."""
    if not image.ious.size:
        return np.zeros(image.ious.shape, bool)
    others = ~np.eye(image.ious.shape[1], dtype=bool)[image.ious.argmax(1)]
    return others & (image.ious.max(1) >= _ON)[:, None]


def _scores_near(image: ImageBoxes) -> np.ndarray:
    """(G,) best score of a detection of any class that has to do with each true box; 0 where the model is silent."""
    near = (image.ious >= _NEAR) & ~_elsewhere(image)
    return np.where(near, image.scores[:, None], 0.0).max(0, initial=0.0)


def _told_by_silence(near: np.ndarray, all_near: np.ndarray) -> np.ndarray:
    """(G,) how suspicious boxes are by how little is found at them: little, where that is nothing special.

    If a share q of all boxes has no more than this at them, it is u / (u + q) for u = `_USUAL`, less by what there is.
    """
    share = np.searchsorted(all_near, near, side="right") / max(1, len(all_near))
    return (1 - near) * _USUAL / (_USUAL + share)


def _doubted(record: Record, place: int, image: ImageBoxes, all_near: np.ndarray) -> Iterator[Suspect]:
    """True boxes of one image: each once, by what speaks most against it."""
    names = record.classes
    ious, scores = image.ious, image.scores[:, None] if len(image.scores) else np.zeros((0, 1))
    own = np.where(image.same & (ious >= _NEAR) & ~_elsewhere(image), scores * ious, 0.0)
    other = np.where(~image.same & (ious >= _ON), scores * ious, 0.0)
    supported = np.where(image.same & (ious >= _ON), scores, 0.0).max(0, initial=0.0)
    silence = _told_by_silence(_scores_near(image), all_near)
    for number, truth in enumerate(image.truths.tolist()):
        label = int(image.truth_labels[number])
        box = [float(value) for value in record.arrays["truth_boxes"][truth]]
        claims: list[tuple[float, str, int | None, str]] = [
            (float(silence[number]), "extra", None, f"next to nothing is found at this {names[label]}")
        ]
        if other[:, number].any():
            row = int(other[:, number].argmax())
            answer, score = int(image.labels[row]), float(image.scores[row])
            told = f"this {names[label]} is found as {names[answer]} ({score:.2f})"
            claims.append((score * float(1 - supported[number]), "class", answer, told))
        if own[:, number].any():
            row = int(own[:, number].argmax())
            score, iou = float(image.scores[row]), float(ious[row, number])
            told = f"{names[label]} is found beside this box (overlap {iou:.2f}, score {score:.2f})"
            claims.append((score * min(1.0, 2 * (1 - iou)), "box", label, told))
        suspicion, kind, answer_of, reason = max(claims, key=lambda claim: claim[0])
        yield place, box, kind, label, answer_of, suspicion, reason


def _unlabelled(record: Record, place: int, image: ImageBoxes) -> Iterator[Suspect]:
    """Detections of one image that have to do with no true box, and are in no crowd."""
    names = record.classes
    free = (image.ious.max(1, initial=0.0) < _NEAR) & ~image.spared
    for row in np.flatnonzero(free).tolist():
        label, score = int(image.labels[row]), float(image.scores[row])
        box = [float(value) for value in record.arrays["detection_boxes"][image.detections[row]]]
        yield place, box, "missing", None, label, score, f"{names[label]} is found where no box is ({score:.2f})"


def _crop(box: Sequence[float], size: Sequence[int]) -> list[int]:
    """A box with what is around it, whole pixels inside the image."""
    x1, y1, x2, y2 = box
    margin = _MARGIN * max(x2 - x1, y2 - y1)
    height, width = size
    return [
        int(max(0, x1 - margin)),
        int(max(0, y1 - margin)),
        int(min(width, np.ceil(x2 + margin))),
        int(min(height, np.ceil(y2 + margin))),
    ]


def _refuse_shared_images(records: Sequence[Record]) -> None:
    """Raises DataError when two records hold an image: one of their models has seen it, or it would be listed twice."""
    seen: set[str] = set()
    for fold, record in enumerate(records):
        shared = sorted(seen & set(record.images))
        if shared:
            message = f"holds images that a fold before it holds too: {listed(shared, 5)}"
            raise DataError(Problem(f"fold {fold}", message, "give each image to one fold"))
        seen |= set(record.images)

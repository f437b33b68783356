"""Average precision as COCO defines it, in vectorised numpy: the same arrays as pycocotools, many times faster.

Only true positives matter for a precision-recall curve: between two of them precision falls and recall stands still.
So the curves are built from the matched detections alone, and everything else enters as a running count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.ops.box_pairs import group_ranks
from toolkit.ops.coco_matching import Boxes, Matches, match_boxes

COCO_IOUS = np.linspace(0.5, 0.95, 10)
"""COCO's overlap thresholds, 0.50:0.05:0.95. Source: `setDetParams` in pycocotools' `cocoeval.py`, as the next two."""
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
COCO_AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""All, small, medium and large, in square pixels; both ends included."""
COCO_LIMITS = (1, 10, 100)
"""How many detections of a class count in one image, best first."""

DETECTIONS_AT_ONCE = 1 << 18
"""Classes are matched together until they have this many detections; bounds the memory (some 100 bytes each)."""


class TruthTable(NamedTuple):
    """All annotated boxes of a data set, one row a box.

    Args:
        images: (G,) int64, rank of the image when images are sorted by id.
        labels: (G,) int64 class of each box, 0..K-1.
        xywh: (G, 4) float64 left, top, width and height in pixels.
        crowd: (G,) bool: overlap is intersection / detection area, and any number of detections may match.
        ignored: (G,) bool: neither rewarded nor punished when matched; crowd regions always are.
        reusable: (G,) bool: any number of detections may match this box.
        area: (G,) float64 square pixels, which sort boxes into small, medium and large.
    """

    images: np.ndarray
    labels: np.ndarray
    xywh: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    reusable: np.ndarray
    area: np.ndarray


class DetectionTable(NamedTuple):
    """All detections on a data set, one row a detection.

    Args:
        images: (D,) int64, rank of the image as in `TruthTable`.
        labels: (D,) int64 class of each detection, 0..K-1.
        xywh: (D, 4) float64 left, top, width and height in pixels.
        scores: (D,) float64; the higher, the earlier it is matched.
    """

    images: np.ndarray
    labels: np.ndarray
    xywh: np.ndarray
    scores: np.ndarray


def box_tables(arrays: Mapping[str, np.ndarray], images: np.ndarray) -> tuple[TruthTable, DetectionTable]:
    """Flat arrays of N images, one image after the other, as two tables. Difficult boxes and crowds are ignored.

    Args:
        arrays: `truth_counts` and `detection_counts` (N,), how many rows of the other arrays belong to each image;
            `truth_boxes` and `detection_boxes` (x1, y1, x2, y2), `..._labels`, `truth_crowd`, `truth_difficult`,
            `truth_area` and `detection_scores`.
        images: (N,) int64 number of each image in the tables.
    """
    spared = arrays["truth_crowd"] | arrays["truth_difficult"]
    truths = TruthTable(
        np.repeat(images, arrays["truth_counts"]),
        arrays["truth_labels"],
        _xywh(arrays["truth_boxes"]),
        arrays["truth_crowd"],
        spared,
        spared,
        arrays["truth_area"],
    )
    owners = np.repeat(images, arrays["detection_counts"])
    boxes = _xywh(arrays["detection_boxes"])
    return truths, DetectionTable(owners, arrays["detection_labels"], boxes, arrays["detection_scores"])


def _xywh(xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


class PrecisionRecall(NamedTuple):
    """Curves for T overlap thresholds, R recall points, K classes, A area ranges and M limits; -1 where a class has no truth.

    Args:
        precision: (T, R, K, A, M) highest precision at that recall or beyond, 0..1.
        recall: (T, K, A, M) the recall that is reached in the end, 0..1.
        scores: (T, R, K, A, M) score of the detection that reaches the recall.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray


def coco_precision_recall(
    truths: TruthTable,
    detections: DetectionTable,
    num_classes: int,
    ious: np.ndarray = COCO_IOUS,
    recalls: np.ndarray = COCO_RECALLS,
    areas: Sequence[tuple[float, float]] = COCO_AREAS,
    limits: Sequence[int] = COCO_LIMITS,
) -> PrecisionRecall:
    """COCO's precision, recall and score arrays, equal to those of pycocotools' `COCOeval.accumulate`.

    The order of truths and detections inside an image matters only between exactly equal overlaps or scores.

    Args:
        truths: every annotated box of the data set, in any order.
        detections: every detection on the data set, in any order.
        num_classes: K, the number of classes; labels beyond it are not counted.
        ious: (T,) overlaps from which a detection matches a truth, 0..1.
        recalls: (R,) recalls at which precision is read, rising from 0 to 1.
        areas: A ranges (smallest, largest) of square pixels, both ends included.
        limits: numbers of detections of a class that count in one image, best first; they must rise.

    >>> truths = TruthTable(*np.zeros((2, 2), np.int64), np.array([[0.0, 0, 10, 10], [20, 0, 10, 10]]),
    ...                     *np.zeros((3, 2), bool), np.array([100.0, 100.0]))
    >>> found = DetectionTable(*np.zeros((2, 1), np.int64), np.array([[0.0, 0, 10, 8]]), np.array([0.9]))
    >>> curves = coco_precision_recall(truths, found, 1, ious=np.array([0.5, 0.9]))
    >>> curves.recall[:, 0, 0, -1].tolist()  # an overlap of 0.8: one of two objects at threshold 0.5, none at 0.9
    [0.5, 0.0]
    """
    classes = (num_classes, len(areas), len(limits))
    precision, scores = np.full((2, *classes, len(ious), len(recalls)), -1.0)
    recall = np.full((*classes, len(ious)), -1.0)
    for matches in class_matches(truths, detections, num_classes, ious, areas, limits[-1]):
        counting = matches.truth_counts.sum(axis=0)
        taken = _taken(matches)
        for area in np.flatnonzero(counting).tolist():
            reached = np.searchsorted(np.arange(1, counting[area] + 1) / counting[area], recalls, "left")
            for place, limit in enumerate(limits):
                at = (matches.label, area, place)
                whole = _curves(matches, taken[area], area, limit, int(counting[area]))
                precision[at], scores[at], recall[at] = whole[0][:, reached], whole[1][:, reached], whole[2]
                within = np.flatnonzero(matches.ranks < limit)
                if len(within):  # recall 0 is reached by the very first detection, right or wrong
                    scores[at][:, recalls <= 0] = matches.scores[within[0]]
    # In pycocotools' order of axes.
    return PrecisionRecall(
        np.moveaxis(precision, (3, 4), (0, 1)), np.moveaxis(recall, 3, 0), np.moveaxis(scores, (3, 4), (0, 1))
    )


def class_matches(
    truths: TruthTable,
    detections: DetectionTable,
    num_classes: int,
    ious: np.ndarray = COCO_IOUS,
    areas: Sequence[tuple[float, float]] = COCO_AREAS,
    limit: int = COCO_LIMITS[-1],
) -> Iterator[ClassMatches]:
    """What became of the detections of each class in turn.

    Args:
        truths: every annotated box of the data set, in any order.
        detections: every detection on the data set, in any order.
        num_classes: K, the number of classes; labels beyond it are left out.
        ious: (T,) overlaps from which a detection matches a truth, 0..1.
        areas: A ranges (smallest, largest) of square pixels, both ends included.
        limit: the most detections of a class that count in one image, best first.
    """
    truths, detections = _grouped(truths, detections, limit)
    bounds = np.asarray(areas, np.float64)
    truth_ends = np.searchsorted(truths.labels, np.arange(num_classes + 1))
    ends = np.searchsorted(detections.labels, np.arange(num_classes + 1))
    truth_ignored = truths.ignored[:, None] | _outside(truths.area, bounds)
    for first, last in _class_chunks(ends):
        rows, columns = slice(ends[first], ends[last]), slice(truth_ends[first], truth_ends[last])
        part = DetectionTable(*(field[rows] for field in detections))
        found_truths = Boxes(truths.xywh[columns], _groups(truths)[columns])
        matches = match_boxes(
            Boxes(part.xywh, _groups(part)), found_truths, truths.crowd[columns], truth_ignored[columns],
            truths.reusable[columns], ious,
        )  # fmt: skip
        outside = _outside(part.xywh[:, 2] * part.xywh[:, 3], bounds)
        ranks = group_ranks(_groups(part))
        for label in range(first, last):
            true = slice(truth_ends[label], truth_ends[label + 1])
            own = slice(ends[label] - ends[first], ends[label + 1] - ends[first])
            found = _of_class(matches, own)
            order = np.argsort(-part.scores[own], kind="stable")
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            candidates = place[found.detections]
            by_score = np.argsort(candidates)
            yield ClassMatches(
                label,
                images=part.images[own][order],
                scores=part.scores[own][order],
                ranks=ranks[own][order],
                in_area=~outside[own][order],
                candidates=candidates[by_score],
                matched=found.matched[by_score],
                ignored=found.ignored[by_score],
                truth_images=truths.images[true],
                truth_counts=~truth_ignored[true],
            )


class ClassMatches(NamedTuple):
    """The D detections of one class, best first, what became of the C that overlap a truth, and its G truths.

    Args:
        label: number of the class, 0..K-1.
        images: (D,) int64 image of each detection, as in the tables.
        scores: (D,) float64 score of each detection, falling.
        ranks: (D,) int64, how many better ones of the class its image has.
        in_area: (D, A) bool: whether its own size is in each area range.
        candidates: (C,) int64 rows of those that overlap a truth, ascending.
        matched: (C, A, T) bool: whether a truth was taken.
        ignored: (C, A, T) bool: the truth that was taken does not count, hence neither does the detection.
        truth_images: (G,) int64 image of each truth.
        truth_counts: (G, A) bool: whether the truth counts in each area range.
    """

    label: int
    images: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    in_area: np.ndarray
    candidates: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    truth_images: np.ndarray
    truth_counts: np.ndarray

    def counted(self, area: int, chosen: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Of some candidates: who is right (C', T) bool, and what must be added to the count of those in the area, int64.

        An unmatched detection counts (as false) when its own size is in the range; a matched one when its truth does.
        """
        matched, ignored = self.matched[chosen, area], self.ignored[chosen, area]
        usual = self.in_area[self.candidates[chosen], area, None]
        correction = np.where(matched, ~ignored, usual).astype(np.int64) - usual
        return matched & ~ignored, correction


class _Taken(NamedTuple):
    """The E candidates that took a truth, in one area range: by threshold, then as in `ClassMatches`.

    thresholds, candidates: (E,) int64, places of both. right: (E,) bool, whether the truth counts. correction: (E,) int64,
    what taking it changes in the number of detections that count.
    """

    thresholds: np.ndarray
    candidates: np.ndarray
    right: np.ndarray
    correction: np.ndarray


def _taken(matches: ClassMatches) -> list[_Taken]:
    """Who took a truth, for each area range. Few do, so that what comes after is a matter of lists."""
    found = []
    for area in range(matches.in_area.shape[1]):
        thresholds, candidates = np.nonzero(np.ascontiguousarray(matches.matched[:, area].T))
        right = ~matches.ignored[candidates, area, thresholds]
        correction = right.astype(np.int64) - matches.in_area[matches.candidates[candidates], area]
        found.append(_Taken(thresholds, candidates, right, correction))
    return found


def _curves(
    matches: ClassMatches, taken: _Taken, area: int, limit: int, truths: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and scores (T, truths + 1) at each true positive, zeros behind the last, and recall (T,) that is reached.

    Only the first `limit` detections of each image count. Precision is the highest there or beyond.
    """
    within = matches.ranks < limit
    places = matches.candidates[taken.candidates]
    counted = within[places]
    right = taken.right[counted]
    thresholds, places = taken.thresholds[counted], places[counted]
    number = matches.matched.shape[2]
    starts = np.searchsorted(thresholds, np.arange(number))
    step = _running(right.astype(np.int64), thresholds, starts)[right]
    seen = (
        np.cumsum(matches.in_area[:, area] & within)[places] + _running(taken.correction[counted], thresholds, starts)
    )[right]
    thresholds, places = thresholds[right], places[right]
    precision, scores = np.zeros((2, number, truths + 1))
    precision[thresholds, step - 1] = step / (seen + np.spacing(1))
    scores[thresholds, step - 1] = matches.scores[places]
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return precision, scores, np.bincount(thresholds, minlength=number) / truths


def _running(values: np.ndarray, groups: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Running sums (E,) of the values (E,), anew in each group; groups (E,) ascend, and starts says where each begins."""
    sums = np.cumsum(values)
    return sums - np.append(0, sums)[starts][groups]


def _grouped(truths: TruthTable, detections: DetectionTable, limit: int) -> tuple[TruthTable, DetectionTable]:
    """Both sorted by (class, image), detections then by falling score and cut to `limit` in each group."""
    order = _by(truths.labels, _by(truths.images))
    truths = TruthTable(*(field[order] for field in truths))
    order = np.argsort(-detections.scores, kind="stable")
    order = _by(detections.labels, _by(detections.images, order))
    order = order[group_ranks(_groups(detections)[order]) < limit]
    return truths, DetectionTable(*(field[order] for field in detections))


def _by(keys: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """An order of the elements, sorted by their keys, else as before: (N,) integers from 0 on to (N,) int64.

    Numbers of 16 bits are sorted in linear time, larger ones digit by digit.
    """
    order = np.arange(len(keys)) if order is None else order
    for digit in range(0, max(1, int(keys.max(initial=0)).bit_length()), 16):
        order = order[np.argsort((keys[order] >> digit).astype(np.uint16), kind="stable")]
    return order


def _groups(table: TruthTable | DetectionTable) -> np.ndarray:
    """One number a pair of class and image, in the order of (class, image)."""
    return table.labels * (1 << 40) + table.images


def _outside(area: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(N,) areas and (A, 2) ranges to (N, A) bool."""
    return (area[:, None] < bounds[:, 0]) | (area[:, None] > bounds[:, 1])


def _class_chunks(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of classes with at most `DETECTIONS_AT_ONCE` detections, one class at least."""
    first, classes = 0, len(ends) - 1
    while first < classes:
        last = int(np.searchsorted(ends, ends[first] + DETECTIONS_AT_ONCE, "right")) - 1
        last = min(max(last, first + 1), classes)
        yield first, last
        first = last


def _of_class(matches: Matches, own: slice) -> Matches:
    """The matches of a run of detections, numbered from its start."""
    low, high = np.searchsorted(matches.detections, (own.start, own.stop))
    return Matches(matches.detections[low:high] - own.start, matches.matched[low:high], matches.ignored[low:high])

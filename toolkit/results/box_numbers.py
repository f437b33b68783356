"""Numbers of boxes as functions of how often each group of images counts: COCO's lines, VOC's, and AP of every class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.ops.average_precision import (
    COCO_AREAS,
    COCO_IOUS,
    DetectionTable,
    TruthTable,
    box_tables,
    class_matches,
)
from toolkit.ops.voc_average_precision import VocStyle, voc_matches
from toolkit.ops.weighted_average_precision import WeightedClass, WeightedVocClass
from toolkit.results.bootstrap import Numbers
from toolkit.results.pixel_numbers import mean_defined

VOC_MEAN = "mAP@0.5"
_SIZES = ("", "s", "m", "l")
"""What COCO's names append for objects of all sizes, small, medium and large ones."""


class CocoNumbers(Numbers):
    """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl and AP of every class.

    Args:
        arrays: flat arrays of N images as a record holds them (`box_tables`), with `image_ids` (N,).
        groups: (N,) int64 numbers 0..G-1 of the groups that images are drawn in.
        classes: K names, of the labels 0..K-1.
        limits: numbers of detections of a class that count in one image, rising, each with an AR of its own.
        excluded: names of classes that the means leave out.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        groups: np.ndarray,
        classes: Sequence[str],
        limits: Sequence[int] = (1, 10, 100),
        excluded: Sequence[str] = (),
    ) -> None:
        names = ["AP", "AP50", "AP75", *(f"AP{size}" for size in _SIZES[1:])]
        names += [*(f"AR{limit}" for limit in limits), *(f"AR{size}" for size in _SIZES[1:])]
        names += [f"AP/{name}" for name in classes]
        super().__init__(names, int(groups.max(initial=-1)) + 1, resamples=1000)
        self.counted = np.array([name not in excluded for name in classes], bool)
        order, tables = _by_id(arrays)
        self.classes = [
            WeightedClass(matches, groups[order], tuple(limits), self.groups)
            for matches in class_matches(*tables, len(classes), limit=limits[-1])
        ]

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The numbers at weights (R, G), as the evaluator `coco` computes them."""
        counts = weights.astype(np.int32)
        precision = np.stack([ready.precision(counts) for ready in self.classes], axis=-1)  # R, areas, thresholds, K
        recall = np.stack([ready.recall(counts) for ready in self.classes], axis=-1)
        by_class = precision.mean(axis=2)  # a class without a truth has none at any threshold
        fixed = precision[:, 0][:, [_place(0.5), _place(0.75)]]
        means = [mean_defined(values[..., self.counted]) for values in (by_class, fixed, recall)]
        return np.concatenate([means[0][:, :1], means[1], means[0][:, 1:], means[2], by_class[:, 0]], axis=1)

    def support(self) -> np.ndarray:
        """Groups with a box that the number counts."""
        held = np.stack([ready.counting > 0 for ready in self.classes])  # K, G, areas
        by_area = held[self.counted].any(axis=0).sum(axis=0)
        limits = len(self.names) - len(self.classes) - 6 - len(COCO_AREAS) + 1
        familiar = [by_area[[0, 0, 0, 1, 2, 3]], np.repeat(by_area[0], limits), by_area[1:]]
        return np.concatenate([*familiar, held[:, :, 0].sum(axis=1)])


class VocNumbers(Numbers):
    """mAP@0.5 and AP@0.5 of every class, as the evaluator `voc` computes them.

    Args:
        arrays: flat arrays of N images as a record holds them (`box_tables`), with `image_ids` (N,).
        groups: (N,) int64 numbers 0..G-1 of the groups that images are drawn in.
        classes: K names, of the labels 0..K-1.
        style: which area counts, see `voc_curve`.
        plus_one: whether widths and heights are one larger.
        excluded: names of classes that the mean leaves out.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], groups: np.ndarray, classes: Sequence[str],
        style: VocStyle = "area", plus_one: bool = False, excluded: Sequence[str] = (),
    ) -> None:  # fmt: skip
        number = int(groups.max(initial=-1)) + 1
        super().__init__([VOC_MEAN, *(f"AP@0.5/{name}" for name in classes)], number, resamples=1000)
        self.counted = np.array([name not in excluded for name in classes], bool)
        order, tables = _by_id(arrays)
        self.classes = [
            WeightedVocClass(voc_matches(*tables, label, plus_one=plus_one), groups[order], style, number)
            for label in range(len(classes))
        ]

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The numbers at weights (R, G)."""
        counts = weights.astype(np.int32)
        by_class = np.stack([ready.precision(counts) for ready in self.classes], axis=-1)
        return np.concatenate([mean_defined(by_class[:, self.counted])[:, None], by_class], axis=1)

    def support(self) -> np.ndarray:
        """Groups with a box that the number counts."""
        held = np.stack([ready.counting > 0 for ready in self.classes])
        return np.array([held[self.counted].any(axis=0).sum(), *held.sum(axis=1)])


def voc_numbers(
    arrays: Mapping[str, np.ndarray],
    groups: np.ndarray,
    classes: Sequence[str],
    excluded: Sequence[str],
    value: float | None,
) -> VocNumbers | None:
    """VOC's numbers in the style and with the widths that give the mean that was measured; None where none does.

    Args:
        arrays: flat arrays of N images, as of `VocNumbers`.
        groups: (N,) int64 numbers of the groups that images are drawn in.
        classes: K names, of the labels 0..K-1.
        excluded: names of classes that the mean leaves out.
        value: the mAP@0.5 that was measured; None when it is undefined.
    """
    styles: tuple[VocStyle, ...] = ("area", "11_points")
    for style, plus_one in ((style, plus_one) for plus_one in (False, True) for style in styles):
        numbers = VocNumbers(arrays, groups, classes, style, plus_one, excluded)
        if np.isclose(numbers.values()[0], np.nan if value is None else value, rtol=1e-9, equal_nan=True):
            return numbers
    return None


def _by_id(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[TruthTable, DetectionTable]]:
    """Images sorted by their ids, as the evaluators have them, which decides between equal scores; and their tables."""
    order = np.argsort(arrays["image_ids"], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return order, box_tables(arrays, rank)


def _place(iou: float) -> int:
    return int(np.flatnonzero(np.isclose(COCO_IOUS, iou))[0])


def limits_of(names: Sequence[str]) -> list[int]:
    """The limits of detections that COCO's numbers were made with, from the names of their average recalls.

    >>> limits_of(["AP", "AR1", "AR10", "AR300", "ARs"])
    [1, 10, 300]
    """
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"AR(\d+)", name)))

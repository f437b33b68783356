"""Numbers of boxes as functions of how often each group of images counts: COCO's lines and AP of every class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.ops.average_precision import COCO_AREAS, COCO_IOUS, box_tables, class_matches
from toolkit.ops.weighted_average_precision import WeightedClass
from toolkit.results.bootstrap import Numbers
from toolkit.results.pixel_numbers import mean_defined

_SIZES = ("", "s", "m", "l")
"""What COCO's names append for objects of all sizes, small, medium and large ones."""


class CocoNumbers(Numbers):
    """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl and AP of every class.

    Args:
        arrays: flat arrays of N images as a record holds them (`box_tables`), with `image_ids` (N,).
        groups: (N,) int64 numbers 0..G-1 of the groups that images are drawn in.
        classes: K names.
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
        # Images in the order of their ids, as the evaluator has them: it decides between equal scores.
        order = np.argsort(arrays["image_ids"], kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        tables = box_tables(arrays, rank)
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


def _place(iou: float) -> int:
    return int(np.flatnonzero(np.isclose(COCO_IOUS, iou))[0])


def limits_of(names: Sequence[str]) -> list[int]:
    """The limits of detections that COCO's numbers were made with, from the names of their average recalls.

    >>> limits_of(["AP", "AR1", "AR10", "AR300", "ARs"])
    [1, 10, 300]
    """
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"AR(\d+)", name)))

"""Numbers of label maps as functions of how often each group of images counts: IoU and its kin, by sums of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.results.bootstrap import Numbers


def summed(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows of images (N, ...) added up to rows of groups (G, ...), where groups (N,) are numbers 0..G-1.

    >>> summed(np.array([[1, 2], [3, 4], [5, 6]]), np.array([0, 1, 0])).tolist()
    [[6, 8], [3, 4]]
    """
    total = np.zeros((int(groups.max(initial=-1)) + 1, *rows.shape[1:]), rows.dtype)
    np.add.at(total, groups, rows)
    return total


_KINDS = ("IoU", "Acc", "Precision", "F1")
_MEANS = (*(f"m{kind}" for kind in _KINDS), "mDice")


class PixelNumbers(Numbers):
    """IoU, Acc, Precision and F1 of every class, their means, aAcc and fwIoU, as the evaluator `semantic` defines them.

    Args:
        class_pixels: (N, 3, K) int64 pixels of each image and class: right, true, predicted (`Record.class_pixels`).
        groups: (N,) int64 numbers 0..G-1 of the groups that images are drawn in.
        classes: K names, of the labels 0..K-1.
        excluded: names of classes that the means leave out.
    """

    def __init__(
        self, class_pixels: np.ndarray, groups: np.ndarray, classes: Sequence[str], excluded: Sequence[str] = ()
    ) -> None:
        self.sums = summed(class_pixels, groups).astype(np.float64)
        by_class = [f"{kind}/{name}" for kind in _KINDS for name in classes]
        super().__init__([*_MEANS, "aAcc", "fwIoU", *by_class], len(self.sums))
        self.counted = np.array([name not in excluded for name in classes], bool)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The numbers at weights (R, G): one product of matrices, then quotients."""
        groups, _, classes = self.sums.shape
        pixels = weights.astype(np.float64) @ self.sums.reshape(groups, -1)
        return self._numbers(pixels.reshape(-1, 3, classes))

    def support(self) -> np.ndarray:
        """Groups that by themselves have the number."""
        return (~np.isnan(self.alone())).sum(axis=0)

    def alone(self) -> np.ndarray:
        """(G, M): the numbers of every group by itself."""
        return self._numbers(self.sums)

    def _numbers(self, pixels: np.ndarray) -> np.ndarray:
        """(R, 3, K) to (R, 7 + 4 K), in the order of the names."""
        right, true, predicted = pixels[:, 0], pixels[:, 1], pixels[:, 2]
        iou = quotient(right, true + predicted - right)
        # A true class that is never predicted has precision 0, one that is neither has none.
        precision = quotient(right, np.where(predicted > 0, predicted, true))
        by_class = [iou, quotient(right, true), precision, 2 * iou / (1 + iou)]
        means = [mean_defined(values[:, self.counted]) for values in by_class]
        counted = true.sum(axis=1)
        weighted = np.where(true > 0, iou, 0.0) * true
        overall = [quotient(part.sum(axis=1), counted) for part in (right, weighted)]
        return np.concatenate([np.stack([*means, means[-1], *overall], axis=1), *by_class], axis=1)


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, nan where below is 0.

    >>> quotient(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def mean_defined(rows: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined, nan where nothing is.

    >>> mean_defined(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])).tolist()
    [2.0, nan]
    """
    defined = ~np.isnan(rows)
    return quotient(np.where(defined, rows, 0.0).sum(axis=-1), defined.sum(axis=-1))

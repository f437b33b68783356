"""Numbers of any evaluator as functions of how often each group of images counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from toolkit.contracts import Evaluator
from toolkit.results.bootstrap import Numbers
from toolkit.results.image_rows import taken


class EvaluatorNumbers(Numbers):
    """What an evaluator computes of its own rows (`Evaluator.rows`), images repeated by their weights.

    By `Evaluator.at_weights` where it has that, otherwise by evaluating each data set anew, which is exact and slow.

    Args:
        make: gives a fresh evaluator, which has counted nothing.
        arrays: rows of N images, as a record holds them.
        groups: (N,) int64 numbers 0..G-1 of the groups that images are drawn in.
        names: the numbers that are wanted; of all that it computes if not given.
    """

    def __init__(
        self,
        make: Callable[[], Evaluator],
        arrays: Mapping[str, np.ndarray],
        groups: np.ndarray,
        names: Sequence[str] | None = None,
    ) -> None:
        self.make, self.arrays, self.image_groups = make, arrays, groups
        self.images = len(groups)
        found = self._computed(np.arange(self.images))
        wanted = [name for name in found if names is None or name in names]
        super().__init__(wanted, int(groups.max(initial=-1)) + 1, fractions=make().percent, resamples=1000)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The numbers at weights (R, G)."""
        of_images = weights[:, self.image_groups]
        quick = self.make().at_weights(self.arrays, of_images)
        if quick is not None:
            return np.stack([quick[name] for name in self.names], axis=1)
        rows = [self._row(np.repeat(np.arange(self.images), row)) for row in of_images]
        return np.array(rows, np.float64).reshape(len(weights), len(self.names))

    def support(self) -> np.ndarray:
        """Groups that by themselves have the number."""
        return (~np.isnan(self.alone())).sum(axis=0)

    def _row(self, places: np.ndarray) -> list[float]:
        found = self._computed(places)
        return [np.nan if (value := found[name]) is None else value for name in self.names]

    def _computed(self, places: np.ndarray) -> dict[str, float | None]:
        arrays = taken(self.arrays, places)
        if "image_ids" in arrays:  # an image that stands twice is two images
            arrays["image_ids"] = np.arange(len(places))
        evaluator = self.make()
        evaluator.merge(arrays)
        return evaluator.compute()

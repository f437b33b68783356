"""Whether one recipe of training is better than another: differences between the means of several trainings a side.

What varies is the training: its seed, the order of the data, the machine. All trainings are measured on the same images, so
the interval says nothing of other images. It is Welch's (1947) for two means whose spreads may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from toolkit.results.bootstrap import Numbers
from toolkit.results.comparison import Difference, Row, judged

FEWEST_SEEDS = 3
"""Below as many trainings a side nothing is said of recipes: the spread of two is hardly known."""


class Mean(Numbers):
    """The mean of the same numbers over several trainings, on the same groups of images."""

    def __init__(self, trainings: Sequence[Numbers]) -> None:
        names = [name for name in trainings[0].names if all(name in other.names for other in trainings)]
        first = trainings[0]
        super().__init__(names, first.groups, resamples=min(one.resamples for one in trainings), fractions=False)
        self.trainings = tuple(trainings)
        self._columns = [[one.names.index(name) for name in names] for one in trainings]

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The means at weights (R, G)."""
        pairs = zip(self.trainings, self._columns, strict=True)
        return np.mean([one.at(weights)[:, columns] for one, columns in pairs], axis=0)

    def support(self) -> np.ndarray:
        """Groups that hold something in any training."""
        pairs = zip(self.trainings, self._columns, strict=True)
        return np.max([one.support()[columns] for one, columns in pairs], axis=0)


def recipe_differences(a: Sequence[Numbers], b: Sequence[Numbers]) -> list[Difference]:
    """How much the mean of every metric differs between two recipes, with intervals over their trainings.

    Args:
        a: numbers of three or more trainings of the first recipe.
        b: numbers of three or more trainings of the second, on the same images.
    """
    names = Mean([*a, *b]).names
    sides = [np.array([_values(one, names) for one in side]) for side in (a, b)]
    counts = [len(side) for side in sides]
    means = [side.mean(axis=0) for side in sides]
    squares = [side.var(axis=0, ddof=1) / len(side) for side in sides]
    error = np.sqrt(squares[0] + squares[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = error**4 / sum(part**2 / (count - 1) for part, count in zip(squares, counts, strict=True))
        freedom = np.nan_to_num(freedom, nan=1.0)
        p = 2 * special.stdtr(freedom, -np.abs(means[1] - means[0]) / error)
    reach = special.stdtrit(freedom, 0.975) * error
    rows = []
    for place, name in enumerate(names):
        ends = means[1][place] - means[0][place] + np.array([-1, 1]) * reach[place]
        why = "" if error[place] > 0 else "no interval: every training gives the same"
        known = not why and not np.isnan(ends).any()
        values = [None if np.isnan(mean[place]) else float(mean[place]) for mean in means]
        low, high = ends.tolist() if known else (None, None)
        chance = float(p[place]) if known else 1.0
        rows.append(Row(name, values[0], values[1], low, high, chance, sum(counts), why or ("" if known else _UNKNOWN)))
    return judged(rows)


_UNKNOWN = "no interval: nothing to measure"


def _values(numbers: Numbers, names: Sequence[str]) -> list[float]:
    found = dict(zip(numbers.names, numbers.values().tolist(), strict=True))
    return [found[name] for name in names]

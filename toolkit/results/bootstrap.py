"""How sure a number is: a 95 % interval from drawing the images again, those together that belong together.

The groups of a data set are drawn with replacement and every number is made anew from what was drawn (Efron 1979,
"Bootstrap methods"). What is used of the resamples is their spread; percentiles of the resamples themselves are too
narrow where there are some tens of groups or a class is rare (`tests/results/test_coverage.py` measures both). So an
interval is

    value - bias ± t · error,   of fractions on the scale log(p / (1 - p)), so that it stays within 0..1

* bias: the lesser of the jackknife's (Quenouille 1956) and the resamples', where they agree on its sign, at most one
  error: of few images AP comes out too high, and a class that is rare too low;
* error: the larger of the resamples' standard deviation, times sqrt(G / (G - 1)) (Hesterberg 2015, "What teachers
  should know about the bootstrap", section 3.2), and the jackknife's (Efron & Stein 1981), which sees a class that
  few groups decide;
* t: the 97.5 % quantile of Student's distribution. Its degrees of freedom are those of a sum of squares that are as
  unequal as the groups' influences (Satterthwaite 1946), at most groups - 1: ten equal groups give 9, and a number that
  two of fifty groups decide gets few.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

FEWEST_GROUPS = 8
"""Below as many independent groups no interval is given: a spread estimated from seven is itself a guess."""
JACKKNIFE_BLOCKS = 250
"""More groups are left out of the jackknife together, neighbours first: its error is then known to 5 %. Where resamples are
dear, a tenth of their number is left out, to 7 % with 1,000."""
_WEIGHTS_AT_ONCE = 1 << 22
"""Numbers of a table of weights that are drawn and worked off together: 32 MB."""


class Numbers(ABC):
    """Numbers of a data set as functions of how often each of its groups of images counts.

    Args:
        names: M names of the numbers.
        groups: G, how many groups there are.
        fractions: which numbers lie within 0..1: (M,) bool, or one answer for all.
        resamples: how many resamples are drawn unless said otherwise.
    """

    def __init__(
        self, names: Sequence[str], groups: int, *, fractions: bool | np.ndarray = True, resamples: int = 10_000
    ) -> None:
        self.names = tuple(names)
        self.groups = groups
        self.fractions = np.broadcast_to(np.asarray(fractions, bool), len(self.names))
        self.resamples = resamples

    @abstractmethod
    def at(self, weights: np.ndarray) -> np.ndarray:
        """The numbers of R data sets in which group g stands weights[r, g] times: (R, G) int64 to (R, M), nan undefined."""

    @abstractmethod
    def support(self) -> np.ndarray:
        """(M,) int64: how many groups hold anything that a number is made of."""

    def alone(self) -> np.ndarray:
        """(G, M) the numbers of every group by itself."""
        return self.at(np.eye(self.groups, dtype=np.int64))

    def values(self) -> np.ndarray:
        """(M,) the numbers of the data set itself."""
        return self.at(np.ones((1, self.groups), np.int64))[0]


class Together(Numbers):
    """Numbers of several kinds on the same groups, one after the other."""

    def __init__(self, parts: Sequence[Numbers]) -> None:
        names = [name for part in parts for name in part.names]
        fractions = np.concatenate([part.fractions for part in parts])
        resamples = min(part.resamples for part in parts)
        super().__init__(names, parts[0].groups, fractions=fractions, resamples=resamples)
        self.parts = tuple(parts)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """All numbers at the same weights."""
        return np.concatenate([part.at(weights) for part in self.parts], axis=1)

    def alone(self) -> np.ndarray:
        """As each kind does it."""
        return np.concatenate([part.alone() for part in self.parts], axis=1)

    def support(self) -> np.ndarray:
        """Of each number, as its own kind says."""
        return np.concatenate([part.support() for part in self.parts])


class Differences(Numbers):
    """How much larger each number is in `b` than in `a`, on the same groups: what a paired comparison resamples.

    Args:
        a: numbers of one prediction of the images.
        b: numbers of another prediction of the same images in the same groups; names that `a` lacks are left out.
    """

    def __init__(self, a: Numbers, b: Numbers) -> None:
        names = [name for name in a.names if name in b.names]
        super().__init__(names, a.groups, fractions=False, resamples=min(a.resamples, b.resamples))
        self.a, self.b = a, b
        self._columns = [[part.names.index(name) for name in names] for part in (a, b)]

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The differences b - a."""
        ours, theirs = self._columns
        return self.b.at(weights)[:, theirs] - self.a.at(weights)[:, ours]

    def support(self) -> np.ndarray:
        """Groups that hold something in either."""
        ours, theirs = self._columns
        return np.maximum(self.a.support()[ours], self.b.support()[theirs])


@dataclass(frozen=True)
class Interval:
    """A number and where it may lie.

    Args:
        value: the number on the images that were measured; None when it is undefined there.
        low: lower end of the interval; None when there is none.
        high: upper end of the interval; None when there is none.
        groups: how many independent groups of images the number comes from.
        why: the sentence that says why there is no interval, else "".
    """

    value: float | None
    low: float | None
    high: float | None
    groups: int
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """{"value", "low", "high", "groups"}, and "why" where there is no interval."""
        told = {"value": self.value, "low": self.low, "high": self.high, "groups": self.groups}
        return told | ({"why": self.why} if self.why else {})


@dataclass(frozen=True)
class Spread:
    """How far M numbers vary from sample to sample.

    Args:
        names: M names, one for each of the numbers.
        groups: G, how many groups were drawn from.
        values: (M,) the numbers themselves, nan where undefined.
        centres: (M,) the numbers without their bias, of fractions on the scale log(p / (1 - p)).
        errors: (M,) standard errors on the same scale.
        freedom: (M,) degrees of freedom of the errors.
        support: (M,) groups that hold anything a number is made of.
        fractions: (M,) bool, which numbers are on the scale log(p / (1 - p)).
    """

    names: tuple[str, ...]
    groups: int
    values: np.ndarray
    centres: np.ndarray
    errors: np.ndarray
    freedom: np.ndarray
    support: np.ndarray
    fractions: np.ndarray

    def intervals(self, fewest: int = FEWEST_GROUPS, level: float = 0.95) -> dict[str, Interval]:
        """The interval of every number by name, or why there is none.

        fewest: groups below which no interval is given. level: how often intervals hold the true number.
        """
        reach = special.stdtrit(self.freedom, (1 + level) / 2) * self.errors
        ends = [self.centres - reach, self.centres + reach]
        ends = [np.where(self.fractions, special.expit(end), end) for end in ends]
        found = {}
        for place, name in enumerate(self.names):
            why = self.without(place, fewest)
            value, low, high = (_plain(numbers[place]) for numbers in (self.values, *ends))
            if why:
                low = high = None
            found[name] = Interval(value, low, high, int(self.support[place]), why)
        return found

    def p_values(self, fewest: int = FEWEST_GROUPS) -> np.ndarray:
        """(M,) of differences: how likely one as large is, either way, when there is none; 1 where nothing can be said."""
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * special.stdtr(self.freedom, -np.abs(self.centres) / self.errors)
        unknown = [bool(self.without(place, fewest)) for place in range(len(self.names))]
        return np.where(unknown | np.isnan(p), 1.0, p)

    def without(self, place: int, fewest: int = FEWEST_GROUPS) -> str:
        """Why a number has no interval, or ""."""
        support, error = int(self.support[place]), self.errors[place]
        if np.isnan(self.values[place]):
            return "no interval: nothing to measure"
        if support < fewest:
            of = f" of {self.groups} hold it" if support < self.groups else ""
            return f"no interval: {support} independent {'group' if support == 1 else 'groups'}{of}"
        if not error > 0:
            return "no interval: every resample gives the same"
        return ""


def spread(numbers: Numbers, *, resamples: int | None = None, seed: int = 0) -> Spread:
    """How far numbers vary when the groups of images are drawn again, as the module says.

    Args:
        numbers: what is measured, as functions of the groups' weights.
        resamples: how many times the groups are drawn; None takes what the numbers are made for.
        seed: of the draws; with the same one, the same result.
    """
    values, support, fractions = numbers.values(), numbers.support(), numbers.fractions
    centres = np.where(fractions, _logit(values), values)
    if numbers.groups < 2:
        unknown = np.full(len(values), np.nan)
        return Spread(numbers.names, numbers.groups, values, centres, unknown, unknown, support, fractions)
    tables = draws(numbers.groups, resamples or numbers.resamples, seed)
    drawn = np.concatenate([numbers.at(weights) for weights in tables])
    inside = fractions & (values > 0) & (values < 1)
    slope = 1 / np.where(inside, values * (1 - values), 1)  # of log(p / (1 - p))
    blocks = min(numbers.groups, max(100, min(JACKKNIFE_BLOCKS, numbers.resamples // 10)))
    left_out = np.concatenate([numbers.at(weights) for weights in _leaving_out(numbers.groups, blocks)])
    left_out = np.where(fractions, _logit(left_out), left_out)
    drawn_bias, drawn_error = (_mean(drawn) - values) * slope, _deviation(drawn) * slope
    bias, error, freedom = _jackknife(left_out, centres, support)
    bias = np.where(bias * drawn_bias > 0, np.sign(bias) * np.minimum(abs(bias), abs(drawn_bias)), 0)
    errors = np.fmax(error, drawn_error * np.sqrt(numbers.groups / (numbers.groups - 1)))
    same = np.nanmax(drawn, axis=0, initial=-np.inf) == np.nanmin(drawn, axis=0, initial=np.inf)
    errors = np.where(same | np.isnan(values), 0.0, errors)
    centres = centres - np.clip(np.nan_to_num(bias), -errors, errors)
    return Spread(numbers.names, numbers.groups, values, centres, errors, freedom, support, fractions)


def _jackknife(
    left_out: np.ndarray, centres: np.ndarray, support: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bias, standard error and degrees of freedom (M,) from the numbers (B, M) without each of B blocks of groups."""
    blocks, mean = len(left_out), _mean(left_out)
    influence = left_out - mean
    squares = np.nansum(influence**2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        equal = 3 * squares**2 / np.nansum(influence**4, axis=0) - 1
    freedom = np.clip(np.nan_to_num(equal, nan=1.0), 1, np.clip(np.minimum(support, blocks) - 1, 1, None))
    return (blocks - 1) * (mean - centres), np.sqrt(squares * (blocks - 1) / blocks), freedom


def draws(groups: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each group is drawn in each resample, in tables (R, G) int64 whose rows add up to G.

    Args:
        groups: G, how many groups are drawn from, and as many each time.
        resamples: how many times they are drawn, over all tables.
        seed: of the random numbers; how many rows a table has changes no draw.
    """
    random = np.random.default_rng(seed)
    rows = max(1, _WEIGHTS_AT_ONCE // groups)
    for start in range(0, resamples, rows):
        number = min(rows, resamples - start)
        chosen = random.integers(0, groups, (number, groups))
        chosen += groups * np.arange(number)[:, None]
        yield np.bincount(chosen.ravel(), minlength=number * groups).reshape(number, groups)


def _leaving_out(groups: int, blocks: int) -> Iterator[np.ndarray]:
    """Weights that leave out each group in turn, or each block of neighbours where there are fewer blocks."""
    block_of = np.arange(groups) * blocks // groups
    rows = max(1, _WEIGHTS_AT_ONCE // groups)
    for start in range(0, blocks, rows):
        yield (block_of != np.arange(start, min(blocks, start + rows))[:, None]).astype(np.int64)


def _logit(fractions: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(fractions, 1e-6, 1 - 1e-6))


def _mean(rows: np.ndarray) -> np.ndarray:
    count = (~np.isnan(rows)).sum(axis=0)
    return np.nansum(rows, axis=0) / np.maximum(count, 1)


def _deviation(rows: np.ndarray) -> np.ndarray:
    """Standard deviation of the defined values; 0 where fewer than two are."""
    count = np.maximum((~np.isnan(rows)).sum(axis=0), 1)
    return np.sqrt(np.nansum((rows - _mean(rows)) ** 2, axis=0) / count)


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else float(number)

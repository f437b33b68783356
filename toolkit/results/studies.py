"""What several trainings say together: a mean with its interval, a learning curve with its band. Numbers only.

An interval over runs says how far the answer moves when the seed, or the images trained on, are others. It says nothing
of the images that are measured being few; that is what the bootstrap over images in each run's record says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

LEVEL = 0.95


def mean_interval(
    values: Sequence[float | None], *, held_out: float | None = None, fraction: bool = True
) -> dict[str, Any]:
    """Mean and 95 % t-interval of the same number in several runs: {"value", "low", "high", "groups", "how"}.

    Folds share most of their training images, so the plain interval is too narrow for them: with `held_out` the variance
    is s² (1/n + test/train) instead of s²/n (Nadeau and Bengio, "Inference for the generalization error", 2003, section
    3.3). Runs whose number is undefined are left out; "why" says so where no interval is left.

    Args:
        values: the number of each run, None where it is undefined.
        held_out: measured images by training images, 1 / (K - 1) for K folds; None for independent runs.
        fraction: whether values are fractions 0..1, at which the interval then ends.

    >>> found = mean_interval([0.5, 0.6, 0.7])
    >>> round(found["value"], 3), round(found["low"], 3), round(found["high"], 3)
    (0.6, 0.352, 0.848)
    """
    known = np.array([value for value in values if value is not None and math.isfinite(value)], np.float64)
    count = len(known)
    found: dict[str, Any] = {"value": None, "low": None, "high": None, "groups": count}
    if not count:
        return found | {"why": "no run has this number"}
    found["value"] = float(known.mean())
    if count < 2:
        return found | {"why": "no interval: one run does not show how far runs differ"}
    share = 1 / count + (held_out or 0.0)
    reach = float(special.stdtrit(count - 1, (1 + LEVEL) / 2) * math.sqrt(known.var(ddof=1) * share))
    corrected = ", widened for folds that share training images (Nadeau and Bengio 2003)" if held_out else ""
    how = f"95 % t-interval over {count} runs{corrected}"
    low, high = found["value"] - reach, found["value"] + reach
    return found | {"low": max(low, 0.0) if fraction else low, "high": min(high, 1.0) if fraction else high, "how": how}


def learning_curve(
    images: Sequence[int], values: Sequence[float | None], *, larger_is_better: bool = True, fraction: bool = True
) -> dict[str, Any]:
    """A power law of the error by the number of training images, and what twice as many would give.

    log(error) = a - b log2(images) by least squares over all runs, where the error is 1 - value for fractions that should
    be large, else the value (Hestness et al., "Deep learning scaling is predictable, empirically", 2017, section 3). The
    band is the 95 % t-interval of that line; the gain of doubling the largest number takes the interval of b.

    Args:
        images: training images of each run.
        values: the number of each run, None where it is undefined.
        larger_is_better: whether a larger value is the better one.
        fraction: whether values are fractions 0..1.

    Returns:
        {"band": [{"images", "value", "low", "high"}], "doubling": {"from", "to", "value", "low", "high"}, "how"}, or
        {"why"} where there is nothing to fit. low and high are None with two runs.
    """
    upwards = larger_is_better and fraction
    pairs = [(n, value) for n, value in zip(images, values, strict=True) if value is not None]
    errors = np.array([1 - value if upwards else value for _, value in pairs], np.float64)
    sizes = np.array([n for n, _ in pairs], np.float64)
    if larger_is_better and not fraction:
        return {"why": "no curve: the metric has no best value to which an error could be counted"}
    if len(set(sizes.tolist())) < 2:
        return {"why": "no curve: it takes two numbers of training images"}
    if (errors <= 0).any():
        return {"why": "no curve: a run is without error already"}
    x, y = np.log2(sizes), np.log(errors)
    line = _Line(x, y)
    largest = float(sizes.max())
    wanted = sorted({*sizes.tolist(), 2 * largest})

    def value_of(error: float | None) -> float | None:
        return None if error is None else 1 - error if upwards else error

    def ends(*pair: float | None) -> tuple[float | None, float | None]:
        low, high = (value_of(error) for error in pair)
        return (high, low) if upwards else (low, high)

    band = []
    for n in wanted:
        at = math.log2(n)
        low, high = ends(*line.band(at))
        band.append({"images": round(n), "value": value_of(math.exp(line.at(at))), "low": low, "high": high})
    fitted, sign = math.exp(line.at(math.log2(largest))), 1.0 if upwards else -1.0
    gains = [
        None if slope is None else sign * fitted * -math.expm1(slope) for slope in (line.slope, *line.slope_interval())
    ]
    doubling = {"from": round(largest), "to": round(2 * largest), "value": gains[0]}
    doubling |= dict(zip(("low", "high"), (gains[2], gains[1]) if upwards else (gains[1], gains[2]), strict=True))
    error = "1 - metric" if upwards else "metric"
    how = f"power law of the error ({error}) by the number of training images, fitted to {len(pairs)} runs"
    band_how = (
        f"; 95 % t-interval with {line.freedom} degrees of freedom" if line.freedom else "; two runs show no band"
    )
    return {"band": band, "doubling": doubling, "how": how + band_how}


class _Line:
    """A straight line by least squares, its slope and how sure both are.

    Args:
        x: (N,) places of the points.
        y: (N,) their values.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.freedom = len(x) - 2
        self.count, self.middle = len(x), float(x.mean())
        self.spread = float(((x - self.middle) ** 2).sum())
        self.slope = float(((x - self.middle) * y).sum() / self.spread)
        self.start = float(y.mean()) - self.slope * self.middle
        rest = float(((y - self.start - self.slope * x) ** 2).sum())
        self.deviation = math.sqrt(rest / self.freedom) if self.freedom else None
        self.factor = float(special.stdtrit(self.freedom, (1 + LEVEL) / 2)) if self.freedom else 0.0

    def at(self, x: float) -> float:
        return self.start + self.slope * x

    def band(self, x: float) -> tuple[float | None, float | None]:
        """Ends of the error at a place, where the line may lie."""
        if self.deviation is None:
            return None, None
        reach = self.factor * self.deviation * math.sqrt(1 / self.count + (x - self.middle) ** 2 / self.spread)
        return math.exp(self.at(x) - reach), math.exp(self.at(x) + reach)

    def slope_interval(self) -> tuple[float | None, float | None]:
        if self.deviation is None:
            return None, None
        reach = self.factor * self.deviation / math.sqrt(self.spread)
        return self.slope - reach, self.slope + reach

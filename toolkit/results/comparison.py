"""Whether one prediction of the same images is better than another: paired differences, their intervals, and a verdict.

Both predictions are resampled together, image by image, so that what makes an image hard for both cancels out. The
verdicts of the classes of one metric are made together by Holm's procedure (Holm 1979, "A simple sequentially rejective
multiple test procedure"): if nothing differs, the chance that any class is called better or worse is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.results.bootstrap import FEWEST_GROUPS, Differences, Numbers, spread

BETTER, WORSE, NOISE = "better", "worse", "within noise"
CHANCE = 0.05
"""How often a difference may be told where there is none."""
ERRORS = ("RMSE", "MAE", "AbsRel", "SqRel", "RMSElog", "log10", "warping", "pixel")
"""Metrics of which less is better, by the beginning of their names."""


@dataclass(frozen=True)
class Difference:
    """One metric of two predictions.

    Args:
        metric: its name.
        a: its value of the first prediction; None when undefined.
        b: its value of the second.
        low: lower end of the 95 % interval of b - a; None when there is none.
        high: upper end of the interval.
        p: how likely a difference as large is, either way, if the two were equally good; 1 when nothing can be said.
        p_adjusted: the same for all metrics of its kind together (Holm), which the verdict goes by.
        groups: how many independent groups of images it comes from.
        verdict: what the second is: "better", "worse" or "within noise".
        why: why there is no interval, else "".
        pair: numbers of the two predictions among those that are compared.
    """

    metric: str
    a: float | None
    b: float | None
    low: float | None
    high: float | None
    p: float
    p_adjusted: float
    groups: int
    verdict: str
    why: str = ""
    pair: tuple[int, int] = (0, 1)

    def as_json(self) -> dict[str, Any]:
        """All fields, and `difference`, b - a."""
        both = self.a is not None and self.b is not None
        told = {"metric": self.metric, "a": self.a, "b": self.b, "difference": self.b - self.a if both else None}  # type: ignore[operator]
        told |= {"low": self.low, "high": self.high, "p": self.p, "p_adjusted": self.p_adjusted, "groups": self.groups}
        told |= {"verdict": self.verdict, "pair": list(self.pair)}
        return told | ({"why": self.why} if self.why else {})


def differences(
    predictions: Sequence[Numbers],
    *,
    fewest: int = FEWEST_GROUPS,
    resamples: int | None = None,
    metrics: Sequence[str] | None = None,
) -> list[Difference]:
    """Every prediction against the first, metric by metric.

    Args:
        predictions: numbers of each prediction of the same images, drawn in the same groups.
        fewest: groups below which no interval is given, and nothing is called better or worse.
        resamples: how many times the groups are drawn; None takes what the numbers are made for.
        metrics: names of the metrics that are wanted; all that the predictions share if not given.
    """
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for second in range(1, len(predictions)):
        pair = Differences(predictions[0], predictions[second])
        found = spread(pair, resamples=resamples)
        intervals, p_values = found.intervals(fewest), found.p_values(fewest)
        values = [dict(zip(part.names, part.values().tolist(), strict=True)) for part in (pair.a, pair.b)]
        for name, p in zip(pair.names, p_values.tolist(), strict=True):
            if metrics is None or name in metrics:
                interval = intervals[name]
                row: dict[str, Any] = {"a": _plain(values[0][name]), "b": _plain(values[1][name]), "low": interval.low}
                row |= {"high": interval.high, "p": p, "groups": interval.groups, "why": interval.why}
                rows.append((name, row | {"pair": (0, second)}))
    return _judged(rows)


def smaller_is_better(metric: str) -> bool:
    """Whether less of a metric is better, by its name.

    >>> smaller_is_better("RMSE/age"), smaller_is_better("mIoU")
    (True, False)
    """
    return metric.split("/")[0] in ERRORS


def holm(p_values: Sequence[float]) -> list[float]:
    """P values such that calling those up to 5 % different is wrong once or more in at most 5 % of all cases.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.array(p_values, np.float64)
    left = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(adjusted[order] * left), 1)
    return adjusted.tolist()


def _judged(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Difference]:
    """With verdicts: classes of a metric together, and the same metric of several predictions."""
    kinds: dict[str, list[int]] = {}
    for place, (name, _) in enumerate(rows):
        kinds.setdefault(name.split("/")[0] + "/" * ("/" in name), []).append(place)
    adjusted = [1.0] * len(rows)
    for places in kinds.values():
        told = [place for place in places if not rows[place][1]["why"]]
        for place, p in zip(told, holm([rows[place][1]["p"] for place in told]), strict=True):
            adjusted[place] = p
    return [
        Difference(metric=name, p_adjusted=p, verdict=_verdict(name, row, p), **row)
        for (name, row), p in zip(rows, adjusted, strict=True)
    ]


def _verdict(metric: str, row: Mapping[str, Any], p: float) -> str:
    if row["why"] or p > CHANCE or row["a"] is None or row["b"] is None:
        return NOISE
    return BETTER if (row["b"] > row["a"]) != smaller_is_better(metric) else WORSE


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else number

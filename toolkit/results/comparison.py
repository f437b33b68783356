"""Whether one prediction of the same images is better than another: paired differences, their intervals, and a verdict.

Both predictions are resampled together, image by image, so that what makes an image hard for both cancels out. The
verdicts of the classes of one metric are made together by Holm's procedure (Holm 1979, "A simple sequentially rejective
multiple test procedure"): if nothing differs, the chance that any class is called better or worse is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit.results.bootstrap import FEWEST_GROUPS, Differences, Numbers, spread

BETTER, WORSE, NOISE = "better", "worse", "within noise"
CHANCE = 0.05
"""How often a difference may be told where there is none."""
ERRORS = ("RMSE", "MAE", "AbsRel", "SqRel", "RMSElog", "log10", "warping_error", "pixel_error")
"""Metrics of which less is better, by their names before a class's."""


@dataclass(frozen=True)
class Difference:
    """One metric of two predictions.

    Args:
        metric: name of the metric, as an evaluator gives it.
        a: its value of the first prediction; None when undefined.
        b: its value of the second.
        low: lower end of the 95 % interval of b - a; None when there is none.
        high: upper end of the interval.
        p: how likely a difference as large is, either way, if the two were equally good; 1 when nothing can be said.
        p_adjusted: the same for all metrics of its kind together (Holm), which the verdict goes by.
        groups: how many independent groups of images it comes from; of recipes, how many trainings.
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


@dataclass(frozen=True)
class ChangedImage:
    """One image and the deciding metric of it in each prediction.

    Args:
        image: its name in the record.
        place: its number in the first record.
        values: the metric of this image alone, of each prediction; None when undefined.
        difference: how much more the last prediction has than the first; None when undefined.
    """

    image: str
    place: int
    values: tuple[float | None, ...]
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison says.

    Args:
        measured: what the intervals and verdicts are about: "images" (the sample of images) or "seeds".
        said: the same as a sentence.
        names: what the predictions are called, or the recipes; the first is what the others are held against.
        metric: name of the deciding metric, "mIoU" or "AP".
        differences: every metric of every other prediction against the first.
        within: the same within a clip or stack, where there are fewer than eight groups of images: {"blocks", "said",
            "differences"}; None where there are more.
        images: every image by how much the deciding metric changed, most first.
        facts: what was compared: images, groups, split, folders, weights.
        notes: what else a reader must know, a sentence each.
    """

    measured: str
    said: str
    names: tuple[str, ...]
    metric: str
    differences: Sequence[Difference]
    within: Mapping[str, Any] | None
    images: Sequence[ChangedImage]
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()

    def of(self, metric: str, prediction: int = 1) -> Difference | None:
        """The difference of one metric between the first and another prediction; None when it has none."""
        for found in self.differences:
            if found.metric == metric and found.pair[1] == prediction:
                return found
        return None

    def as_json(self) -> dict[str, Any]:
        """All fields as plain JSON."""
        within = None
        if self.within is not None:
            within = {**self.within, "differences": [found.as_json() for found in self.within["differences"]]}
        return {
            "measured": self.measured,
            "said": self.said,
            "names": list(self.names),
            "metric": self.metric,
            "differences": [found.as_json() for found in self.differences],
            "within": within,
            "images": [{**asdict(image), "values": list(image.values)} for image in self.images],
            **self.facts,
            "notes": list(self.notes),
        }


def most_changed(names: Sequence[str], values: Sequence[np.ndarray]) -> list[ChangedImage]:
    """Images by how much their number changed from the first to the last prediction, most first; undefined ones last.

    Args:
        names: N names of images, in the order of the values.
        values: of each prediction (N,) the deciding metric of every image alone, nan where undefined.
    """
    change = values[-1] - values[0]
    order = np.argsort(-np.nan_to_num(np.abs(change), nan=-1), kind="stable")
    return [
        ChangedImage(
            names[place], int(place), tuple(_plain(float(one[place])) for one in values), _plain(float(change[place]))
        )
        for place in order
    ]  # fmt: skip


class Row(NamedTuple):
    """A difference before its verdict, which depends on the others.

    Args:
        metric: name of the metric, as an evaluator gives it.
        a: its value of the first prediction; None when undefined.
        b: its value of the second prediction; None when undefined.
        low: lower end of the 95 % interval of b - a; None when there is none.
        high: upper end of the interval, None when there is none.
        p: how likely a difference as large is, either way, if the two were equally good.
        groups: how many independent groups of images it comes from.
        why: the sentence why there is no interval, else "".
        pair: numbers of the two predictions among those that are compared.
    """

    metric: str
    a: float | None
    b: float | None
    low: float | None
    high: float | None
    p: float
    groups: int
    why: str = ""
    pair: tuple[int, int] = (0, 1)


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
    rows: list[Row] = []
    for second in range(1, len(predictions)):
        pair = Differences(predictions[0], predictions[second])
        found = spread(pair, resamples=resamples)
        intervals, p_values = found.intervals(fewest), found.p_values(fewest)
        values = [dict(zip(part.names, part.values().tolist(), strict=True)) for part in (pair.a, pair.b)]
        for name, p in zip(pair.names, p_values.tolist(), strict=True):
            if metrics is None or name in metrics:
                a, b = (_plain(part[name]) for part in values)
                interval = intervals[name]
                ends = interval.low, interval.high
                rows.append(Row(name, a, b, *ends, p, interval.groups, interval.why, (0, second)))
    return judged(rows)


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


def judged(rows: Sequence[Row]) -> list[Difference]:
    """With verdicts: those of the classes of a metric are made together, and those of one metric of several predictions."""
    kinds: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if not row.why:
            kinds.setdefault(row.metric.split("/")[0] + "/" * ("/" in row.metric), []).append(place)
    adjusted = [1.0] * len(rows)
    for places in kinds.values():
        for place, p in zip(places, holm([rows[place].p for place in places]), strict=True):
            adjusted[place] = p
    return [
        Difference(**row._asdict(), p_adjusted=p, verdict=_verdict(row, p))
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _verdict(row: Row, p: float) -> str:
    if row.why or p > CHANCE or row.a is None or row.b is None:
        return NOISE
    return BETTER if (row.b > row.a) != smaller_is_better(row.metric) else WORSE


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else number

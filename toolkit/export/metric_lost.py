"""What an export loses of the metric on annotated pictures, with its interval over pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from toolkit.contracts import Evaluator
from toolkit.results.evaluator_numbers import EvaluatorNumbers
from toolkit.samples import Prediction, Truth

_RESAMPLES = 200
"""Draws of the pictures that the interval of the metric's loss comes from."""


class Measure(NamedTuple):
    """What the metric is made of.

    Args:
        evaluators: two fresh evaluators alike, for the two sides; the first numbers decide.
        truths: annotations by the path of their picture.
    """

    evaluators: tuple[Evaluator, Evaluator]
    truths: Mapping[str, Truth]


class Answered(Protocol):
    """A picture that both sides answered."""

    @property
    def mine(self) -> Prediction:
        """What the model predicted."""
        ...

    @property
    def theirs(self) -> Prediction:
        """What the export predicted."""
        ...


def _drawn(blank: Evaluator, counted: Sequence[Mapping[str, np.ndarray]], weights: np.ndarray) -> np.ndarray | None:
    """The metric of each draw of the pictures, (R,); None where an evaluator keeps no rows.

    blank: an evaluator that has counted nothing. counted: rows of each picture. weights: (R, N) how often each is drawn.
    """
    if not counted[0]:
        return None
    arrays = {name: np.concatenate([row[name] for row in counted]) for name in counted[0]}
    numbers = EvaluatorNumbers(lambda: copy.deepcopy(blank), arrays, np.arange(len(counted)), [blank.metric])
    return numbers.at(weights)[:, 0]


def metric_lost(measure: Measure, files: Sequence[Path], rows: Sequence[Answered]) -> dict[str, Any] | None:
    """The metric of both sides on the pictures that have annotations; None where none has.

    Args:
        measure: two evaluators alike, and annotations by the path of their picture.
        files: the files of the pictures, by whose path annotations are found.
        rows: what both sides answered for each.
    """
    pairs = [
        (row, measure.truths[str(path)]) for path, row in zip(files, rows, strict=True) if str(path) in measure.truths
    ]
    if not pairs:
        return None
    values, drawn = [], []
    weights = np.random.default_rng(0).multinomial(len(pairs), [1 / len(pairs)] * len(pairs), size=_RESAMPLES)
    for evaluator, side in zip(measure.evaluators, ("mine", "theirs"), strict=True):
        blank = copy.deepcopy(evaluator)
        counted = evaluator.rows([getattr(row, side) for row, _ in pairs], [truth for _, truth in pairs])
        values.append(evaluator.compute().get(evaluator.metric))
        drawn.append(_drawn(blank, counted, weights))
    first, second = values
    unit = 100.0 if measure.evaluators[0].percent else 1.0
    gap = abs(first - second) * unit if first is not None and second is not None else 0.0
    low = high = None
    if drawn[0] is not None and drawn[1] is not None and first is not None and second is not None and len(pairs) > 1:
        spread = 1.96 * float(np.nanstd((drawn[0] - drawn[1]) * unit))
        low, high = (first - second) * unit - spread, (first - second) * unit + spread
    return {
        "name": measure.evaluators[0].metric, "model": first, "export": second, "difference": gap, "low": low, "high": high,
        "images": len(pairs),
    }  # fmt: skip

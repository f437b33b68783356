"""What every evaluator asks of a prediction before it counts it, and how it writes its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.samples import PREDICTION_NAMES, Prediction

P = TypeVar("P", bound=Prediction)


def of_kind(evaluator: Evaluator | type[Evaluator], prediction: Prediction, kind: type[P], name: str) -> P:
    """The prediction, when it is of the kind an evaluator takes. Raises DataError, naming the image, for any other.

    Args:
        evaluator: the evaluator that asks, for the message.
        prediction: what the model gave for one image.
        kind: the kind of prediction it can count.
        name: name of the image, for the message.
    """
    if isinstance(prediction, kind):
        return prediction
    who = EVALUATORS.name_of(evaluator if isinstance(evaluator, type) else type(evaluator))
    found = PREDICTION_NAMES.get(type(prediction), type(prediction).__name__)
    raise DataError(Problem(name, f"evaluator '{who}' takes {PREDICTION_NAMES[kind]}, but was given {found}"))


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are defined; None when none is.

    >>> mean_defined([0.5, None, 1.0])
    0.75
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def means_said(excluded: Sequence[str]) -> str:
    """What a table's title adds about classes that are left out of the means; "" for none.

    >>> means_said(["background"])
    ', means without background'
    """
    return f", means without {', '.join(excluded)}" if excluded else ""


def percent(value: float | None) -> str:
    """A fraction in per cent with two decimals, `-` for None.

    >>> percent(0.70464)
    '70.46'
    """
    return "-" if value is None else f"{100 * value:.2f}"

"""What every evaluator asks of a prediction before it counts it, and how it writes its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.ops.confusion import confusion_matrix
from toolkit.samples import PREDICTION_NAMES, LabelMap, Prediction, Truth

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


def compared_labels(
    evaluator: Evaluator, prediction: Prediction, truth: Truth, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted labels of one image, (H, W) uint8 each, and their confusion matrix (K, K + 1), see `ops/confusion.py`.

    Raises DataError, naming the image, for another kind of prediction, a missing label map, other sizes or unknown labels.

    Args:
        evaluator: the evaluator that asks, for the message.
        prediction: what the model gave for the image.
        truth: the annotation of the image.
        num_classes: K, the number of classes, which are 0..K-1.
    """
    if truth.label_map is None:
        raise DataError(Problem(truth.name, "has no label map to compare with", "use another evaluator"))
    labels = of_kind(evaluator, prediction, LabelMap, truth.name).labels.numpy()
    try:
        return truth.label_map, labels, confusion_matrix(truth.label_map, labels, num_classes)
    except ValueError as error:
        raise DataError(Problem(truth.name, str(error))) from error


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are defined; None when none is.

    >>> mean_defined([0.5, None, 1.0])
    0.75
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def shares(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where that is 0, which is undefined.

    >>> shares(np.array([1, 0]), np.array([2, 0]))
    array([0.5, nan])
    """
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) != 0)


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

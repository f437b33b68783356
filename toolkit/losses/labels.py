"""What every dense loss asks of its labels: which pixels count, and that every other label is a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from toolkit.errors import ConfigError, DataError, Problem
from toolkit.samples import IGNORE_INDEX


class LabelError(DataError):
    """A label map holds a value that is neither a class nor `IGNORE_INDEX`; one problem an image."""

    def __init__(self, problems: Sequence[Problem], positions: Sequence[int] = ()) -> None:
        super().__init__(problems)
        self.positions = tuple(positions)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems, self.positions)

    def named(self, names: Sequence[str]) -> LabelError:
        """The same problems with the images' names instead of their positions in the batch."""
        renamed = [problem.at(names[position]) for problem, position in zip(self.problems, self.positions, strict=True)]
        return LabelError(renamed, self.positions)


def counted_pixels(logits: Tensor, labels: Tensor) -> Tensor:
    """Boolean (N, H, W): the pixels that are not `IGNORE_INDEX`, after checking that the labels fit the logits.

    logits: (N, K, H, W). labels: (N, H, W) int64. Raises ValueError when the sizes differ, and LabelError naming the
    values and the position in the batch when a label is neither 0..K-1 nor `IGNORE_INDEX`. The values are looked at
    on the CPU only: on other devices that would make every step wait for the device.
    """
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}")
    counted = labels != IGNORE_INDEX
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = counted & ((labels < 0) | (labels >= logits.shape[1]))
        if wrong.any():
            raise _label_error(labels, wrong, logits.shape[1])
    return counted


def _label_error(labels: Tensor, wrong: Tensor, num_classes: int) -> LabelError:
    problems, positions = [], []
    for position in wrong.flatten(1).any(1).nonzero().flatten().tolist():
        values, counts = labels[position][wrong[position]].unique(return_counts=True)
        found = ", ".join(
            f"{value} ({count} pixels)" for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        )
        problems.append(
            Problem(
                f"image {position} of the batch",
                f"its label map holds {found}, but labels are 0..{num_classes - 1}, or {IGNORE_INDEX} for ignored",
                "map the value to a class or to 'ignore' in the data set, or add the class",
            )
        )
        positions.append(position)
    return LabelError(problems, positions)


ClassMode = Literal["multiclass", "binary"]
"""Whether a loss has a part for each class, or, for two classes, for the second alone."""


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N, H, W) labels as (N, K, H, W) bool; nowhere true where a label is ignored."""
    return labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]


def one_logit(logits: Tensor, loss: str) -> Tensor:
    """Logits of two classes as the one of the second against the first, (N, 1, H, W), their difference.

    Raises ConfigError, naming the loss, for another number of classes.
    """
    if logits.shape[1] != 2:
        message = f"mode 'binary' is for two classes, but the model has {logits.shape[1]}"
        raise ConfigError(Problem(f"loss {loss}", message, "set mode: multiclass"))
    return logits[:, 1:] - logits[:, :1]

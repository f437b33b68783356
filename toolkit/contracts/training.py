"""What a training is steered and measured by: losses of pixels, evaluators, optimizers and schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError, Problem
from toolkit.registry import Registry
from toolkit.samples import Prediction, Truth


class PixelLoss(nn.Module, ABC):
    """(logits N x C x H x W float, labels N x H x W int64) -> scalar float32. Knows its ignore index.

    weight_map: (N, H, W) float32, multiplies each pixel's term; a loss without a term a pixel raises ValueError
    when it is given. Everything ignored gives 0 with zero gradients, not NaN. A loss that is the mean of a term a
    pixel derives from `losses/mean.py`, which does all but the term.
    """

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """The loss, averaged as the subclass says.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """

    def denominator(self, labels: Tensor) -> Tensor | None:
        """What the loss divides by, a scalar, where the labels alone tell; None for a loss that is no such mean."""
        return None

    def total(self, sums: Tensor) -> Tensor:
        """Sums over pixels, added up over the processes that share a step, for a loss that is no mean over pixels.

        A loss that divides such sums hands them through here first; so it is that of one process with all pixels.
        The engine sets `sum_over_processes`; without it nothing is added.
        """
        return sums if self.sum_over_processes is None else self.sum_over_processes(sums)

    divides: Literal["anywhere", "processes", "nowhere"] = "nowhere"
    """How a batch may be divided without another loss: anywhere, for a mean of terms a pixel with a `denominator`; among
    processes only, whose sums `total` adds up, and not among the batches of `train.accumulate`; or nowhere."""

    sum_over_processes: Callable[[Tensor], Tensor] | None = None
    """Adds a tensor over processes, with its gradient."""

    @property
    def term_name(self) -> str:
        """What it is logged by: the registered name ("cross_entropy"), else the class's own."""
        name = LOSSES.name_of(type(self))
        return type(self).__name__ if ":" in name else name

    def terms(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
        """The loss by the names it is logged under: one, or those of its parts, whose sum is the loss.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        return {self.term_name: self(logits, labels, weight_map)}

    def denominators(self, labels: Tensor) -> dict[str, Tensor | None]:
        """`denominator` of each of `terms`."""
        return {self.term_name: self.denominator(labels)}


class Evaluator(ABC):
    """Accumulates predictions against truths; never sees logits or the model. Constructor parameter `classes` first.

    One batch equals many, order changes nothing, and merged states of several processes equal one evaluator's.
    """

    metric: ClassVar[str]
    """The number that decides what "best" is ("mIoU", "AP", "RMSE")."""

    larger_is_better: ClassVar[bool] = True
    """Which of two values of `metric` is the better one; false for errors."""

    percent: ClassVar[bool] = True
    """Whether `metric` is a fraction 0..1 that people read in per cent; false for a number with a unit (RMSE)."""

    takes: ClassVar[type[Prediction] | None] = None
    """The prediction it compares ("LabelMap"): what the head `gives`. None: not said, nothing is compared."""

    wants_scores: bool = False
    """Whether label maps must carry the probability of each pixel's class, which costs time and else is left out."""

    class_means: ClassVar[bool] = False
    """Whether it has means over `self.classes`, from which `excluded` ones are left out."""

    classes: tuple[str, ...] = ()
    """Names of labels 0..K-1."""

    excluded: tuple[str, ...] = ()
    """Classes that are in no mean over classes, and so do not decide what is best; see `exclude`."""

    def exclude(self, names: Sequence[str]) -> None:
        """Leaves classes out of every mean over classes; their own numbers stay.

        Raises ConfigError for names that are no classes, for all classes at once, and for an evaluator without such means.
        """
        unknown = [name for name in names if name not in self.classes]
        if not self.class_means:
            message = f"'{EVALUATORS.name_of(type(self))}' has no mean over classes to leave any out of"
            raise ConfigError(Problem("evaluate.exclude", message, "remove the one or the other"))
        if unknown:
            message = f"names {', '.join(unknown)}, but the classes are {', '.join(self.classes)}"
            raise ConfigError(Problem("evaluate.exclude", message))
        if set(names) >= set(self.classes):
            raise ConfigError(Problem("evaluate.exclude", "leaves out every class, so that no mean is left"))
        self.excluded = tuple(name for name in self.classes if name in names)

    @property
    def averaged(self) -> list[int]:
        """Labels of the classes that are in the means."""
        return [label for label, name in enumerate(self.classes) if name not in self.excluded]

    @abstractmethod
    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError when a truth has not what this evaluator needs."""

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images as `update` does, and gives for each what was counted: arrays by name, for a record.

        Joined along the first axis over any images they make a state that `merge` takes, so that numbers of some of
        the images come from them. An array `NAME_counts` (1,) says how many rows of each other `NAME_...` the image
        has; without one an array has one row. Two evaluators that give an array of one name mean the same by it.
        Default: {} for each image, whose record then has no arrays.
        """
        self.update(predictions, truths)
        return [{} for _ in truths]

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything accumulated, as plain arrays, to be sent to another process."""

    @abstractmethod
    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's state."""

    @abstractmethod
    def compute(self) -> dict[str, float | None]:
        """Numbers by name, fractions 0..1 (where `percent` says so); None where undefined."""

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray] | None:
        """`compute` of R data sets in which image i stands weights[r, i] times, for the joined `rows` of N images.

        Numbers by name, each (R,) float64 with nan where undefined, for weights (R, N) int64; resampling asks for
        thousands. Default: None, there is no quicker way than to evaluate each.
        """
        return None

    def by_image(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, float | None]] | None:
        """`compute` of each image alone, for the joined `rows` of many; None where nothing is quicker than one by one."""
        return None

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, header, rows) tables in the field's familiar form. Default: every number of `compute`, as `shown`."""
        name = EVALUATORS.name_of(type(self))
        rows = [[number, self.shown(value)] for number, value in self.compute().items()]
        return [(type(self).__name__ if ":" in name else name, ["metric", "value"], rows)] if rows else []

    def constant_answer(self) -> tuple[str, float] | None:
        """The best that one answer for everything would have had in `metric` on the truths seen, as ("sky everywhere", 0.2).

        A training whose best is no better has learnt nothing. Default: None, nobody knows.
        """
        return None

    def never_right(self) -> list[str]:
        """Classes that the truths hold and that no prediction got right. Default: none."""
        return []

    @classmethod
    def shown(cls, value: float | None) -> str:
        """A number for people: in per cent with two decimals, or as it is; `-` for None."""
        if value is None:
            return "-"
        return f"{100 * value:.2f}" if cls.percent else f"{value:.4g}"

    def better(self, value: float, best: float) -> bool:
        """Whether a value of `metric` beats the best so far."""
        return value > best if self.larger_is_better else value < best


class OptimizerRule(ABC):
    """Builds a torch optimizer over parameter groups. A subclass has the learning rate `lr` as an argument."""

    lr: float
    weight_decay: float = 0.0

    @abstractmethod
    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """groups: dicts with "params" and, where they differ from the rule, "lr" and "weight_decay"."""


class Schedule(ABC):
    """The learning rate as a factor of its base value: a pure function of the step, so it needs no state."""

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """Factor for the update numbered `step` (0-based) of `steps`."""


LOSSES: Registry[PixelLoss] = Registry("loss", PixelLoss, injected=("num_classes",))
EVALUATORS: Registry[Evaluator] = Registry("evaluator", Evaluator, injected=("classes",))
OPTIMIZERS: Registry[OptimizerRule] = Registry("optimizer", OptimizerRule)
SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)

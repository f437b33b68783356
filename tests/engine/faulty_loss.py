"""A loss that goes wrong in one process, for tests: named in a config as `faulty_loss:FaultyLoss`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Literal

import torch
from torch import Tensor

from toolkit.contracts import PixelLoss
from toolkit.errors import DataError, Problem
from toolkit.losses.cross_entropy import CrossEntropy


class _BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


class FaultyLoss(PixelLoss):
    """Cross-entropy; in process `rank`, call number `at` (from 0) fails by `fault`. seconds: what every call takes.

    The fault "gradient" makes those of the labels of that call NaN, then and whenever they come again.
    """

    def __init__(
        self,
        fault: Literal["none", "exception", "data", "kill", "terminate", "gradient"],
        rank: int = 1,
        at: int = 2,
        seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.fault, self.rank, self.at, self.seconds = fault, rank, at, seconds
        self.calls = 0
        self.guilty: Tensor | None = None
        self.inner = CrossEntropy()

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """See `CrossEntropy`."""
        time.sleep(self.seconds)
        if self.calls == self.at and int(os.environ.get("RANK", "0")) == self.rank:
            self._fail(labels)
        self.calls += 1
        loss = self.inner(logits, labels, weight_map)
        bad = self.guilty is not None and torch.equal(self.guilty, labels)
        return _BadGradient.apply(loss) if bad else loss

    def _fail(self, labels: Tensor) -> None:
        if self.fault == "gradient":
            self.guilty = labels.clone()
        if self.fault == "exception":
            raise ZeroDivisionError("the sky fell in process 1")
        if self.fault == "data":
            raise DataError(Problem("images/7.png", "is cut short", "copy it again"))
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)

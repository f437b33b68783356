"""A loss that goes wrong in one process, for tests: named in a config as `faulty_loss:FaultyLoss`."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

from torch import Tensor

from toolkit.contracts import PixelLoss
from toolkit.errors import DataError, Problem
from toolkit.losses.cross_entropy import CrossEntropy


class FaultyLoss(PixelLoss):
    """Cross-entropy; in process `rank`, call number `at` (from 0) fails by `fault`. seconds: what every call takes."""

    def __init__(
        self,
        fault: Literal["none", "exception", "data", "kill", "terminate"],
        rank: int = 1,
        at: int = 2,
        seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.fault, self.rank, self.at, self.seconds = fault, rank, at, seconds
        self.calls = 0
        self.inner = CrossEntropy()

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """See `CrossEntropy`."""
        time.sleep(self.seconds)
        if self.calls == self.at and int(os.environ.get("RANK", "0")) == self.rank:
            self._fail()
        self.calls += 1
        return self.inner(logits, labels, weight_map)

    def _fail(self) -> None:
        if self.fault == "exception":
            raise ZeroDivisionError("the sky fell in process 1")
        if self.fault == "data":
            raise DataError(Problem("images/7.png", "is cut short", "copy it again"))
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)

"""Sums between two log lines: every loss term under its name, exact across a resume because the sums are saved."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping


class LogWindow:
    """Means of named scalars, and the shares of time, since the last log line."""

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self.sums = dict(sums or {})
        self._clock()

    def _clock(self) -> None:
        self.began = time.monotonic()
        self.waited = 0.0
        self.images = 0

    def add(self, terms: Mapping[str, float]) -> None:
        """One step's scalars."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.sums["steps"] = self.sums.get("steps", 0.0) + 1

    def took(self, images: int, waited: float) -> None:
        """Images of a step, and seconds the loop waited for them."""
        self.images += images
        self.waited += waited

    def means(self) -> dict[str, float]:
        """Mean of each scalar a step."""
        steps = self.sums.get("steps", 0.0) or math.nan
        return {name: value / steps for name, value in self.sums.items() if name != "steps"}

    def speed(self) -> dict[str, float]:
        """images_per_second and data_wait (share of the time, 0..1)."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        return {"images_per_second": self.images / seconds, "data_wait": self.waited / seconds}

    def reset(self) -> None:
        """Starts the next window."""
        self.sums = {}
        self._clock()

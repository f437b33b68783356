"""Sums between two log lines: every loss term under its name, exact across a resume because the sums are saved."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from toolkit.engine.reading import Reading


class LogWindow:
    """Means of named scalars, and the shares of time, since the last log line."""

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self._sums = dict(sums or {})
        self._readings: list[Reading] = []
        self._clock()

    def _clock(self) -> None:
        self.began = time.monotonic()
        self.waited = 0.0
        self.images = 0

    def add(self, terms: Mapping[str, float], reading: Reading | None = None) -> None:
        """One step's scalars, and others that are still on their way from the device."""
        self._add({**terms, "steps": 1.0})
        if reading is not None:
            self._readings.append(reading)

    def _add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def state(self) -> dict[str, float]:
        """Sums of every scalar, and "steps"."""
        for reading in self._readings:
            self._add(reading.values())
        self._readings = []
        return dict(self._sums)

    def took(self, images: int, waited: float) -> None:
        """Images of a step, and seconds the loop waited for them."""
        self.images += images
        self.waited += waited

    def means(self) -> dict[str, float]:
        """Mean of each scalar a step."""
        sums = self.state()
        steps = sums.pop("steps", 0.0) or math.nan
        return {name: value / steps for name, value in sums.items()}

    def speed(self) -> dict[str, float]:
        """images_per_second and data_wait (share of the time, 0..1)."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        return {"images_per_second": self.images / seconds, "data_wait": self.waited / seconds}

    def reset(self) -> None:
        """Starts the next window."""
        self._sums = {}
        self._clock()

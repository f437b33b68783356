"""Where pixels come from: files, or a cache or a decoder that stands in front of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from toolkit.data.images.bands import ValueRange


class Source(ABC):
    """Where `read_image` and its kin get pixels from inside `reading_from`: a cache, or a decoder that waits."""

    @abstractmethod
    def image(self, path: Path, channels: int, value_range: ValueRange | None) -> np.ndarray:
        """What `decode_image` gives, or something of its shape and type.

        Args:
            path: the image's file, from which it is read.
            channels: number of channels or bands that are wanted.
            value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
        """

    @abstractmethod
    def labels(self, path: Path) -> np.ndarray:
        """What `decode_label_map` gives."""

    @abstractmethod
    def colors(self, path: Path) -> np.ndarray:
        """What `decode_color_map` gives."""


current_source: ContextVar[Source | None] = ContextVar("source", default=None)


@contextmanager
def reading_from(source: Source) -> Iterator[None]:
    """Inside, pixels come from there."""
    token = current_source.set(source)
    try:
        yield
    finally:
        current_source.reset(token)

"""Many strings as two arrays: no Python object each, so worker processes share their memory for good."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class PackedStrings:
    """A read-only sequence of strings.

    Python writes a reference count into every object it looks at; of a list of a hundred thousand strings each
    forked worker therefore ends up with its own copy. Arrays stay shared.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._ends = np.cumsum([len(piece) for piece in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].tobytes().decode("utf-8", "surrogateescape")

"""Many strings as one array, so that worker processes share them.

Python writes a reference count into every object it looks at; of a list of a hundred thousand strings each forked worker
therefore ends up with its own copy. Arrays stay shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


class PackedBytes:
    """A read-only sequence of byte strings.

    >>> PackedBytes([b"ab", b"", b"c"])[0]
    b'ab'
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        kept = list(pieces)
        self._ends = np.cumsum([len(piece) for piece in kept], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(kept), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        whole, start = self._bytes.tobytes(), 0
        for end in self._ends.tolist():
            yield whole[start:end]
            start = end


class PackedStrings:
    """A read-only sequence of strings, also of names that are no UTF-8.

    >>> list(PackedStrings(["a", "ü"]))
    ['a', 'ü']
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._packed = PackedBytes(string.encode("utf-8", "surrogateescape") for string in strings)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: int) -> str:
        return self._packed[index].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (piece.decode("utf-8", "surrogateescape") for piece in self._packed)

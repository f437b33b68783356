"""How a listing of pictures is cut: into blocks that are predicted together, and the blocks into shares of several processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from toolkit.errors import ConfigError, Problem

BATCHES_A_BLOCK = 4
"""Pictures of one size are looked for among so many batches: more costs memory, fewer leaves batches half empty."""


class Share(NamedTuple):
    """One of several parts of a listing.

    Args:
        number: of the part, from 1 on.
        of: how many parts there are.
    """

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def journal(self) -> str:
        """Name of the part's journal in the folder of results."""
        return "journal.jsonl" if self.of == 1 else f"journal-{self.number}-of-{self.of}.jsonl"

    @property
    def lock(self) -> str:
        """Name of the part's lock in the folder of results."""
        return "predict.lock" if self.of == 1 else f"predict-{self.number}-of-{self.of}.lock"

    @staticmethod
    def parse(text: str) -> Share:
        """The share of "2/8". Raises ConfigError for anything else.

        >>> Share.parse("2/8")
        Share(number=2, of=8)
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            message = f"wanted I/N with 1 <= I <= N, as 2/8; found '{text}'"
            raise ConfigError(Problem("--shard", message, "a job array that counts from 0 adds 1"))
        return Share(int(found[1]), int(found[2]))

    @staticmethod
    def of_launcher() -> Share | None:
        """The share of this process among those that torchrun started; None where it did not."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        if not all(os.environ.get(name, "").isdigit() for name in names):
            return None
        return Share(int(os.environ["RANK"]) + 1, int(os.environ["WORLD_SIZE"]))


def blocks(pictures: int, batch_size: int, share: Share) -> Iterator[range]:
    """The places of a share's pictures in the listing, a block at a time.

    Blocks are cut from the whole listing before shares are: which pictures go through the net together, and so every
    digit of the results, does not depend on how many processes share the work, nor on what was done before a kill.

    Args:
        pictures: how many pictures the whole listing has.
        batch_size: how many pictures of equal size go through the net at once.
        share: which blocks are wanted: the first share has the first, then every N-th.

    >>> list(blocks(10, 1, Share(2, 4)))
    [range(1, 2), range(5, 6), range(9, 10)]
    >>> list(blocks(20, 2, Share()))
    [range(0, 8), range(8, 16), range(16, 20)]
    """
    size = 1 if batch_size == 1 else batch_size * BATCHES_A_BLOCK
    for begin in range((share.number - 1) * size, pictures, share.of * size):
        yield range(begin, min(begin + size, pictures))

"""Which samples make which batch: an endless sequence that can be entered at any batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from toolkit.data.loading.sampling import Draws, Epochs, Key
from toolkit.errors import ConfigError, DataError, Problem


class StepBatches(Sampler[list[Key]]):
    """Lists of (turn, index), one a batch, without end (or up to `stop`).

    The samples stand in one endless row (`sampling.py`; epochs, each a permutation given by (seed, epoch), unless
    `draws` says otherwise); batch k of all processes together is places k * batch_size .. (k + 1) * batch_size - 1 of
    that row. So nothing has to be remembered to resume, a batch may cross from one epoch into the next, no sample is
    dropped, and a data set may be smaller than a batch.

    Args:
        count: number of samples in the data set.
        batch_size: samples of all processes together, a multiple of world_size; process `rank` takes its share of each
            batch.
        seed: the run's seed, which every epoch's order is made from.
        start: number of the first batch to make, from 0.
        stop: number of the first batch not to make, None for never.
        shuffle: whether epochs are shuffled, or in the data set's order.
        rank: number of this process, from 0.
        world_size: number of processes that share the batches.
        groups: (count,) integers, see `aspect_groups`; batches are then of one group each where that can be.
        draws: the row of samples, in place of epochs; `seed`, `shuffle` and `groups` are then its own.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        groups: np.ndarray | None = None,
        draws: Draws | None = None,
    ) -> None:
        if count < 1:
            raise DataError(Problem("", "the training set holds no samples", "check its root, split and file list"))
        if batch_size < 1 or batch_size % world_size:
            raise ConfigError(
                Problem(
                    "data.batch_size",
                    f"{batch_size} samples cannot be shared equally by {world_size} process(es)",
                    f"use a multiple of {world_size}; it counts the samples of all processes together",
                )
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be 0..{world_size - 1}, got {rank}")
        self.count = count
        self.batch_size = batch_size
        self.start = start
        self.stop = stop
        self.rank = rank
        self.world_size = world_size
        self.draws = draws if draws is not None else Epochs(count, seed, shuffle, groups, batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        share = self.batch_size // self.world_size
        number = self.start
        while self.stop is None or number < self.stop:
            first = number * self.batch_size + self.rank * share
            yield [self.draws.key(place) for place in range(first, first + share)]
            number += 1

    def epoch_of(self, batch: int) -> float:
        """Passes over the data completed before batch number `batch`, for reading only: 1.5 is half of the second."""
        return batch * self.batch_size / self.count


class EvaluationBatches(Sampler[list[Key]]):
    """Every sample once, in order: process `rank` takes samples rank, rank + world_size, ...

    The last batch may be smaller. A process may have one sample fewer than another, or none.

    Args:
        count: number of samples in the data set.
        batch_size: number of samples of a batch of this process.
        rank: number of this process, from 0.
        world_size: number of processes that share the samples.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, count, world_size)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

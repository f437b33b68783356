"""Which samples are drawn how often: laws that give every place of the endless row of samples, from numbers alone.

Workers, processes and resume change nothing: place p of the row is a function of (seed, p).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Literal

import numpy as np

from toolkit.data.seeds import epoch_order, mix
from toolkit.errors import DataError, Problem

Key = tuple[int, int]
"""(turn, index): what a loader worker is asked for. The same index never comes twice in a turn, so that each time it
comes it is augmented differently."""

Sampling = Literal["uniform", "class_balanced", "repeat_factor"]


class Draws(ABC):
    """An endless row of samples that can be entered anywhere."""

    @abstractmethod
    def key(self, place: int) -> Key:
        """The sample at a place, counted from 0."""


class Epochs(Draws):
    """Every sample once an epoch, the epochs in a row, each a permutation given by (seed, epoch).

    Args:
        count: number of samples in the data set.
        seed: the run's seed, which every epoch's order is made from.
        shuffle: whether epochs are shuffled, or in the data set's order.
        groups: (count,) integers; batches are of one group each where that can be.
        batch_size: number of samples of a batch, where there are groups.
    """

    def __init__(
        self, count: int, seed: int, shuffle: bool = True, groups: np.ndarray | None = None, batch_size: int = 1
    ) -> None:
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self.groups, self.batch_size = groups, batch_size
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def key(self, place: int) -> Key:
        """The sample at a place of the endless row of epochs, counted from 0."""
        epoch, offset = divmod(place, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._ordered(epoch)
        return epoch, int(self._order[offset])

    def _ordered(self, epoch: int) -> np.ndarray:
        if self.groups is not None and self.shuffle:
            return grouped_order(self.groups, self.batch_size, self.seed, epoch)
        return epoch_order(self.count, self.seed, epoch) if self.shuffle else np.arange(self.count)


class RepeatFactors(Draws):
    """Image i `repeats[i]` times an epoch, rounded up or down at random, in a permutation given by (seed, epoch).

    An epoch has the sum of the repeats, rounded up, of places: systematic sampling on the row of all repeats, from a
    random start (Madow 1949), so that an image with r = 2.3 comes twice in about 70 % of the epochs and else three
    times, and every image comes at least once. repeats: (N,) numbers, at least 1 (see `repeat_factors`).
    """

    def __init__(self, repeats: np.ndarray, seed: int) -> None:
        self.seed = seed
        self.length = int(np.ceil(repeats.sum() - 1e-9))
        self.ends = np.cumsum(repeats) * (self.length / repeats.sum())
        self._epoch, self._indices, self._copies = -1, np.empty(0, np.int64), np.empty(0, np.int64)

    def key(self, place: int) -> Key:
        """See `Draws`. A copy of an image within an epoch has a turn of its own."""
        epoch, offset = divmod(place, self.length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._indices, self._copies = self._drawn(epoch)
        return epoch + (int(self._copies[offset]) << 32), int(self._indices[offset])

    def _drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Images of an epoch in their order, and which copy each is."""
        start = mix(self.seed, epoch, 1) / (1 << 63)
        images = np.searchsorted(self.ends, np.arange(self.length) + start, "right").clip(max=len(self.ends) - 1)
        copies = np.arange(self.length) - np.searchsorted(images, images, "left")
        order = epoch_order(self.length, self.seed, epoch)
        return images[order], copies[order]


class ClassBalanced(Draws):
    """A class, all equally often, then an image that holds it.

    In each round every class that occurs comes once, in a permutation given by (seed, round); the images of a class
    follow one another in permutations of their own, so that none comes twice before all came once. Images without any
    class are never drawn. presence: (N, K) bool.
    """

    def __init__(self, presence: np.ndarray, seed: int) -> None:
        self.seed = seed
        self.members = [np.flatnonzero(column) for column in presence.T if column.any()]
        if not self.members:
            raise DataError(Problem("data.sampling", "no image of the training set holds any class", "use uniform"))
        self._classes = lru_cache(maxsize=4)(self._class_order)
        self._images = lru_cache(maxsize=2 * len(self.members))(self._image_order)

    def key(self, place: int) -> Key:
        """See `Draws`. The turn is the place: no two draws are augmented alike."""
        turn, offset = divmod(place, len(self.members))
        label = int(self._classes(turn)[offset])
        pass_, position = divmod(turn, len(self.members[label]))
        return place, int(self.members[label][self._images(label, pass_)[position]])

    def _class_order(self, turn: int) -> np.ndarray:
        return epoch_order(len(self.members), mix(self.seed, 2), turn)

    def _image_order(self, label: int, pass_: int) -> np.ndarray:
        return epoch_order(len(self.members[label]), mix(self.seed, 3, label), pass_)


def repeat_factors(presence: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) how often each image comes in an epoch: max over its classes of max(1, sqrt(threshold / f)), 1 without classes.

    f is the share of images that hold the class ("repeat factor sampling" of Gupta, Dollar & Girshick, "LVIS",
    CVPR 2019; threshold 0.001 there). presence: (N, K) bool.

    >>> repeat_factors(np.array([[True, False], [True, False], [True, False], [True, True]]), 1.0)
    array([1., 1., 1., 2.])
    """
    share = presence.mean(0)
    factors = np.ones(presence.shape[1])
    factors[share > 0] = np.maximum(1.0, np.sqrt(threshold / share[share > 0]))
    return np.where(presence, factors, 1.0).max(1, initial=1.0)


def aspect_groups(sizes: np.ndarray, borders: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """(N, 2) heights and widths to (N,) int64 group numbers: how many borders width / height reaches.

    The default parts portrait from landscape and square, as Detectron2's and torchvision's detection training do.
    A size of 0 (unknown) counts as square.

    >>> aspect_groups(np.array([[480, 640], [640, 480], [0, 0]])).tolist()
    [1, 0, 1]
    """
    height, width = np.asarray(sizes, np.float64).reshape(-1, 2).T
    known = (height > 0) & (width > 0)
    ratio = np.where(known, width, 1.0) / np.where(known, height, 1.0)
    return np.searchsorted(np.sort(borders), ratio, "right")


def grouped_order(groups: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..N-1 whose batches are of one group, (N,) int64; depends on nothing but its arguments.

    Batch k of the endless row of epochs is its places k * batch_size ... (k + 1) * batch_size - 1 (see
    `StepBatches`), so an epoch may begin and end inside a batch. Only the samples of those two batches and what is
    left over in each group (fewer than batch_size) are mixed.

    Args:
        groups: (N,) integers, the group of each sample.
        batch_size: number of samples of a batch of all processes together.
        seed: the run's seed, which the order is made from.
        epoch: number of the epoch, from 0.

    >>> order = grouped_order(np.array([0, 1, 0, 1, 0, 1]), batch_size=2, seed=7, epoch=0)
    >>> sorted(order.tolist()), {tuple(sorted(pair % 2)) for pair in order.reshape(-1, 2)[:2]} <= {(0, 0), (1, 1)}
    ([0, 1, 2, 3, 4, 5], True)
    """
    count = len(groups)
    order = epoch_order(count, seed, epoch)
    lead = min(-epoch * count % batch_size, count)  # places that still belong to the epoch before's last batch
    head, rest = order[:lead], order[lead:]
    runs, left = [], []
    for group in np.unique(groups[rest]):
        members = rest[groups[rest] == group]
        whole = len(members) // batch_size * batch_size
        runs += list(members[:whole].reshape(-1, batch_size))
        left.append(members[whole:])
    # Batches in an order of their own, or the groups would follow one another through the epoch.
    shuffled = [runs[place] for place in epoch_order(len(runs), seed, ~epoch)]
    return np.concatenate([head, *shuffled, *left]).astype(np.int64)

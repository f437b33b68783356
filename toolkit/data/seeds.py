"""Seeds as a pure function of numbers: the same on every machine, version and number of workers."""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(*numbers: int) -> int:
    """A well-spread 63-bit number from integers; their order counts.

    Each number is added to the state, which then goes through SplitMix64's finaliser (Steele, Lea & Flood, "Fast
    splittable pseudorandom number generators", OOPSLA 2014). Python's hash() differs between processes.

    >>> mix(1, 2), mix(2, 1)
    (6804074658870690613, 8085905411993364802)
    """
    state = 0
    for number in numbers:
        state = (state + _GOLDEN + number) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The seed of one sample's augmentation: a function of the run's seed, the epoch and the place in the data set.

    Args:
        seed: the run's seed, any whole number.
        epoch: number of the epoch, from 0.
        index: place of the sample in the data set, from 0.

    >>> sample_seed(0, epoch=1, index=5) == sample_seed(0, epoch=1, index=5) != sample_seed(0, epoch=2, index=5)
    True
    """
    return mix(seed, epoch, index)


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..count-1, (count,) int64, that depends on nothing but its arguments.

    The indices are sorted by a mixed number of each: generators of numpy and torch may change between versions.

    Args:
        count: number of samples in the data set.
        seed: the run's seed, any whole number.
        epoch: number of the epoch, from 0.

    >>> epoch_order(5, seed=0, epoch=0).tolist(), epoch_order(5, seed=0, epoch=1).tolist()
    ([3, 4, 1, 2, 0], [3, 0, 2, 1, 4])
    """
    with np.errstate(over="ignore"):
        keys = np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(mix(seed, epoch))
        keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ keys >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    return np.argsort(keys, kind="stable")

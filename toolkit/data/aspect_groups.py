"""Batches of images of like shape: landscape with landscape, so that less of a batch is padding.

A pure function of (groups, batch size, seed, epoch), to be used in place of `epoch_order` by the step-indexed batches:
it returns an order of all samples, and the batches that are cut from it come out of one group each, but for a few.
"""

from __future__ import annotations

import numpy as np

from toolkit.data.seeds import epoch_order


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

from __future__ import annotations

import numpy as np
import pytest

from toolkit.data.loading.batches import StepBatches
from toolkit.data.loading.sampling import aspect_groups, grouped_order


def test_groups_by_borders() -> None:
    sizes = np.array([[100, 50], [100, 99], [100, 100], [100, 199], [100, 200]])
    assert aspect_groups(sizes).tolist() == [0, 0, 1, 1, 1]
    assert aspect_groups(sizes, (0.5, 1.0, 2.0)).tolist() == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(("count", "batch_size"), [(103, 4), (5, 8), (64, 8), (1, 1), (30, 7)])
def test_every_sample_once_an_epoch_and_batches_of_one_group(count: int, batch_size: int) -> None:
    groups = np.random.default_rng(count).integers(0, 3, count)
    epochs = [grouped_order(groups, batch_size, 5, epoch) for epoch in range(6)]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(count))
    row = np.concatenate(epochs)
    batches = row[: len(row) // batch_size * batch_size].reshape(-1, batch_size)
    mixed = sum(len(np.unique(groups[batch])) > 1 for batch in batches)
    # At most the leftovers of three groups, and the batches that join two epochs.
    assert mixed <= 6 * (3 + 2)
    if count == 103:
        assert mixed < len(batches) / 3
        random = np.concatenate([np.random.default_rng(e).permutation(count) for e in range(6)])
        random_mixed = sum(len(np.unique(groups[b])) > 1 for b in random[: batches.size].reshape(-1, batch_size))
        assert random_mixed > 2 * mixed


def test_a_function_of_seed_and_epoch() -> None:
    groups = np.arange(40) % 2
    first = grouped_order(groups, 4, 1, 3)
    np.testing.assert_array_equal(first, grouped_order(groups, 4, 1, 3))
    assert not np.array_equal(first, grouped_order(groups, 4, 1, 4))
    assert not np.array_equal(first, grouped_order(groups, 4, 2, 3))
    by_batch = groups[first].reshape(-1, 4)[:, 0]
    assert (np.diff(by_batch) != 0).sum() > 1  # groups alternate, they do not come one after the other


def test_step_batches_follow_the_groups_and_resume_anywhere() -> None:
    groups = np.random.default_rng(0).integers(0, 2, 50)
    whole = list(StepBatches(50, 4, seed=3, stop=40, groups=groups))
    assert whole[17:] == list(StepBatches(50, 4, seed=3, start=17, stop=40, groups=groups))
    seen = [index for batch in whole for epoch, index in batch if epoch == 1]
    assert sorted(seen) == list(range(50))
    mixed = sum(len({int(groups[index]) for _, index in batch}) > 1 for batch in whole)
    assert mixed <= 4 * 4
    halves = [list(StepBatches(50, 4, seed=3, stop=40, rank=rank, world_size=2, groups=groups)) for rank in (0, 1)]
    assert [left + right for left, right in zip(*halves, strict=True)] == whole

"""Which sample comes when, and with which seed: laws that resuming and several processes rest on."""

from itertools import islice

import numpy as np
import pytest

from toolkit.data.loading.batches import EvaluationBatches, StepBatches
from toolkit.data.seeds import epoch_order, mix, sample_seed
from toolkit.errors import ConfigError, DataError


def first(batches: int, **options) -> list[list[tuple[int, int]]]:
    return list(islice(StepBatches(**options), batches))


def test_seeds_are_fixed_for_all_time():
    """Saved runs resume with these numbers; a change here breaks every one of them."""
    assert mix() == 0
    assert mix(0) == 0xE220A8397B1DCDAF >> 1  # SplitMix64's published first output for seed 0
    assert sample_seed(1, 2, 3) == mix(1, 2, 3)
    assert epoch_order(8, 0, 0).tolist() == EPOCH_ORDER_8


EPOCH_ORDER_8 = [3, 4, 1, 5, 7, 2, 6, 0]


def test_seeds_differ_in_every_argument():
    seeds = {sample_seed(s, e, i) for s in range(8) for e in range(8) for i in range(200)}
    assert len(seeds) == 8 * 8 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    bits = np.array([[seed >> b & 1 for b in range(63)] for seed in seeds]).mean(0)
    assert (abs(bits - 0.5) < 0.03).all()


def test_epoch_orders_are_permutations_that_differ():
    orders = [epoch_order(100, seed, epoch) for seed in range(3) for epoch in range(5)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == 15
    places = np.stack([epoch_order(10, 7, epoch) for epoch in range(3000)]).mean(0)
    assert (abs(places - 4.5) < 0.3).all()  # every sample is as often early as late


@pytest.mark.parametrize(("count", "size"), [(10, 3), (3, 8), (1, 4), (12, 4), (7, 7)])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("start", [1, 2, 5, 11])
def test_starting_anywhere_is_continuing(count, size, shuffle, start):
    options = {"count": count, "batch_size": size, "seed": 5, "shuffle": shuffle}
    assert first(6, **options, start=start) == first(6 + start, **options)[start:]


@pytest.mark.parametrize(("count", "size"), [(10, 3), (3, 8), (1, 4), (12, 4)])
def test_every_epoch_holds_every_sample_once(count, size):
    keys = [key for batch in first(3 * count, count=count, batch_size=size, seed=1) for key in batch]
    for epoch in range(3 * size):
        assert sorted(i for e, i in keys if e == epoch) == list(range(count))
    assert keys == sorted(keys, key=lambda key: key[0])


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_processes_share_the_same_batches(world_size):
    options = {"count": 10, "batch_size": 6, "seed": 3, "start": 4}
    shares = [first(9, **options, rank=rank, world_size=world_size) for rank in range(world_size)]
    joined = [[key for share in shares for key in share[number]] for number in range(9)]
    assert joined == first(9, **options)


def test_stop_and_epochs():
    batches = StepBatches(10, 4, 0, start=2, stop=5)
    assert len(list(batches)) == 3
    assert list(batches) == list(batches)
    assert batches.epoch_of(5) == 2.0
    assert list(StepBatches(5, 2, 0, stop=2, shuffle=False)) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)]]


def test_what_cannot_be():
    with pytest.raises(DataError, match="no samples"):
        StepBatches(0, 4, 0)
    with pytest.raises(ConfigError, match="5 samples cannot be shared equally by 2"):
        StepBatches(10, 5, 0, world_size=2)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_evaluation_sees_everything_once(world_size, size):
    loads = [EvaluationBatches(5, size, rank, world_size) for rank in range(world_size)]
    assert all(len(list(load)) == len(load) for load in loads)
    keys = [key for load in loads for batch in load for key in batch]
    assert sorted(keys) == [(0, i) for i in range(5)]
    assert all(batch == sorted(batch) for load in loads for batch in load)

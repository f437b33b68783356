"""Laws of a division: parts are disjoint and whole, of the right size, with every class, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.data.splits.divide import divided, nested_share, whole_numbers
from toolkit.data.splits.groups import joined, same_marks


def data_of(
    seed: int, count: int = 120, classes: int = 6, largest: int = 1
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, group numbers and classes of images that somebody made up; class c is in about 1 / (c + 1) of them."""
    rng = np.random.default_rng(seed)
    names = [f"folder_{rng.integers(4)}/image_{number:04d}.png" for number in rng.permutation(count)]
    sizes = rng.integers(1, largest + 1, count)
    groups = np.repeat(np.arange(count), sizes)[:count]
    presence = rng.random((count, classes)) < 1 / (np.arange(classes) + 1) ** 2
    return names, groups, presence


@pytest.mark.parametrize("shares", [[0.7, 0.2, 0.1], [0.8, 0.2], [0.2] * 5])
def test_single_images_give_parts_of_the_rounded_size(shares: list[float]) -> None:
    for seed in range(5):
        names, groups, presence = data_of(seed, count=97)
        parts = divided(names, groups, presence, shares, seed)
        np.testing.assert_array_equal(np.bincount(parts, minlength=len(shares)), whole_numbers(97, shares))


def test_groups_are_whole_and_sizes_are_right_to_within_the_largest() -> None:
    for seed in range(8):
        names, groups, presence = data_of(seed, largest=7)
        shares = [0.7, 0.2, 0.1]
        parts = divided(names, groups, presence, shares, seed)
        assert all(len(np.unique(parts[groups == group])) == 1 for group in np.unique(groups))
        assert (np.abs(np.bincount(parts, minlength=3) - np.array(shares) * len(names)) <= 7).all()


def test_the_order_of_the_images_and_of_the_group_numbers_changes_nothing() -> None:
    for seed in range(5):
        names, groups, presence = data_of(seed, largest=4)
        parts = divided(names, groups, presence, [0.7, 0.2, 0.1], 3)
        order = np.random.default_rng(seed + 100).permutation(len(names))
        again = divided([names[n] for n in order], 1000 - groups[order], presence[order], [0.7, 0.2, 0.1], 3)
        np.testing.assert_array_equal(again, parts[order])


def test_another_seed_divides_otherwise_and_a_known_division_stays() -> None:
    names, groups, presence = [f"{number}.png" for number in range(12)], np.arange(12), np.ones((12, 1), bool)
    one = divided(names, groups, presence, [0.5, 0.25, 0.25], 0)
    assert one.tolist() != divided(names, groups, presence, [0.5, 0.25, 0.25], 1).tolist()
    # A golden: whoever changes it changes the splits of everybody's next run.
    assert one.tolist() == [2, 1, 2, 0, 0, 0, 1, 0, 2, 1, 0, 0]


def test_a_class_of_as_many_images_as_parts_is_in_every_part() -> None:
    for seed in range(10):
        names, groups, presence = data_of(seed, count=200, classes=8)
        rng = np.random.default_rng(seed)
        for label in range(4, 8):  # four classes of three images each
            presence[:, label] = False
            presence[rng.choice(200, 3, replace=False), label] = True
        parts = divided(names, groups, presence, [0.7, 0.2, 0.1], seed)
        for part in range(3):
            assert presence[parts == part].any(0).all()


def test_a_class_of_fewer_groups_than_parts_goes_to_the_larger_parts() -> None:
    names = [f"{number}" for number in range(20)]
    presence = np.zeros((20, 1), bool)
    presence[[4, 9], 0] = True
    parts = divided(names, np.arange(20), presence, [0.7, 0.2, 0.1], 0)
    assert sorted(parts[[4, 9]].tolist()) == [0, 1]


def test_common_classes_have_their_share_in_every_part() -> None:
    names, groups, presence = data_of(2, count=400, classes=3)
    parts = divided(names, groups, presence, [0.7, 0.2, 0.1], 0)
    for part, share in enumerate([0.7, 0.2, 0.1]):
        counts = presence[parts == part].sum(0)
        assert (np.abs(counts - share * presence.sum(0)) <= 3).all()


def test_images_of_one_name_stay_together() -> None:
    names = ["same.png", "other.png", "same.png", "more.png"] * 3
    parts = divided(names, np.arange(12), np.zeros((12, 0), bool), [0.5, 0.5], 0)
    assert len({part for name, part in zip(names, parts.tolist(), strict=True) if name == "same.png"}) == 1


def test_shares_are_nested_of_the_right_size_and_hold_every_class() -> None:
    for seed in range(5):
        names, groups, presence = data_of(seed, count=200, classes=4)
        chosen = [set(nested_share(names, groups, presence, share, seed).tolist()) for share in (0.25, 0.5, 1.0)]
        assert chosen[0] < chosen[1] < chosen[2]
        assert [len(one) for one in chosen] == [50, 100, 200]
        assert presence[sorted(chosen[0])].any(0)[presence.sum(0) >= 4].all()


def test_joining_is_the_closure_of_its_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 40, (25, 2)).tolist()
    linked = np.eye(40, dtype=bool)
    for one, other in pairs:
        linked[one, other] = linked[other, one] = True
    for _ in range(6):  # the square of a reachability is that of twice the steps
        linked = linked @ linked
    firsts = joined(40, pairs)
    np.testing.assert_array_equal(firsts[:, None] == firsts, linked)
    assert same_marks(["a", "", "a", ""]) == [(0, 2)]

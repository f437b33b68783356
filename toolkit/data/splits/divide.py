"""A data set in several parts: groups whole, every class in every part where it can be, sizes as asked for.

The parts follow from names, groups, classes and a seed alone: not from the machine, nor from the order in which files
are listed. Images are handed out class by class, the rarest first, each to the part that lacks most of its class and
has room (Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", 2011), here by groups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolkit.data.images.listing import same_name
from toolkit.data.splits.groups import joined, same_marks


class _Unit(NamedTuple):
    """Images that stay together. members: their positions. classes: (K,) how many of them hold each class."""

    members: np.ndarray
    classes: np.ndarray


def divided(
    names: Sequence[str], groups: np.ndarray, presence: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """(N,) int64: the part of each image, 0..P-1.

    A part has its share of the images to within rounding, and, where groups do not fit, to within the largest group. A
    class whose groups are as many as the parts is in every part, as long as other classes leave a place.

    Args:
        names: paths of the images relative to the data set's root; images of one name stay together.
        groups: (N,) numbers; images with the same number stay together.
        presence: (N, K) bool: image i holds class c; K may be 0.
        shares: the share of each of the P parts, 0..1; together 1. The first takes what rounding leaves.
        seed: another number gives another division.

    >>> parts = divided(["a", "b", "c", "d"], np.arange(4), np.zeros((4, 0), bool), [0.5, 0.25, 0.25], 0)
    >>> np.bincount(parts).tolist()
    [2, 1, 1]
    """
    units = _units(names, groups, presence, seed)
    room = whole_numbers(len(names), shares)
    table = np.array([unit.classes for unit in units], np.int64).reshape(len(units), presence.shape[1])
    wanted = _wanted(table, np.asarray(shares, np.float64))
    part_of = np.full(len(units), -1, np.int64)
    left = room.copy()
    remaining = (table > 0).sum(0)

    def give(unit: int, part: int) -> None:
        part_of[unit] = part
        left[part] -= len(units[unit].members)
        wanted[part] -= table[unit]
        remaining[:] -= table[unit] > 0

    while (remaining > 0).any():
        rarest = int(np.where(remaining > 0, remaining, np.iinfo(np.int64).max).argmin())
        for unit in np.flatnonzero((part_of < 0) & (table[:, rarest] > 0)).tolist():
            give(unit, _choice(len(units[unit].members), wanted[:, rarest], left, room))
    for unit in np.flatnonzero(part_of < 0).tolist():
        give(unit, _choice(len(units[unit].members), left.astype(np.float64), left, room))
    _complete(units, table, part_of, len(shares))
    parts = np.zeros(len(names), np.int64)
    for one, part in zip(units, part_of.tolist(), strict=True):
        parts[one.members] = part
    return parts


def whole_numbers(count: int, shares: Sequence[float]) -> np.ndarray:
    """(P,) int64 that add up to `count` and are nearest to its shares (largest remainders, the first ones first).

    >>> whole_numbers(10, [0.7, 0.2, 0.1]).tolist(), whole_numbers(5, [0.5, 0.5]).tolist()
    ([7, 2, 1], [3, 2])
    """
    exact = np.round(np.asarray(shares, np.float64) * count, 9)
    found = np.floor(exact).astype(np.int64)
    order = np.argsort(found - exact, kind="stable")
    found[order[: count - int(found.sum())]] += 1
    return found


def nested_share(names: Sequence[str], groups: np.ndarray, presence: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions, ascending, of a share of the images: of each class about that share, and part of every larger share.

    Args:
        names: paths of the images relative to the data set's root.
        groups: (N,) numbers; images with the same number stay together.
        presence: (N, K) bool: image i holds class c; K may be 0.
        share: how much is wanted, more than 0 and at most 1; one group at least is given.
        seed: another number gives another choice.

    >>> few, more = (nested_share(list("abcdefgh"), np.arange(8), np.ones((8, 1), bool), s, 0) for s in (0.25, 0.5))
    >>> len(few), len(more), set(few.tolist()) <= set(more.tolist())
    (2, 4, True)
    """
    units = _units(names, groups, presence, seed)
    counts = np.sum([unit.classes > 0 for unit in units], axis=0) if presence.shape[1] else np.zeros(0, np.int64)
    strata: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        held = np.flatnonzero(unit.classes)
        strata.setdefault(int(held[counts[held].argmin()]) if len(held) else -1, []).append(place)
    order = sorted(
        ((rank + 0.5) / len(members), place) for members in strata.values() for rank, place in enumerate(members)
    )
    wanted, taken = max(1, round(share * len(names))), np.zeros(0, np.int64)
    for _, place in order:
        if len(taken) >= wanted:
            break
        taken = np.append(taken, units[place].members)
    return np.sort(taken)


def _units(names: Sequence[str], groups: np.ndarray, presence: np.ndarray, seed: int) -> list[_Unit]:
    """Groups in an order of their own: large ones first, equal ones shuffled by the seed and the first of their names."""
    together = [*same_marks([same_name(name) for name in names]), *same_marks([str(one) for one in groups.tolist()])]
    members: dict[int, list[int]] = {}
    for index, first in enumerate(joined(len(names), together).tolist()):
        members.setdefault(first, []).append(index)

    def key(indices: list[int]) -> tuple[int, bytes]:
        first = min(same_name(names[index]) for index in indices)
        text = f"{seed}\n{first}".encode("utf-8", "surrogateescape")
        return -len(indices), hashlib.blake2b(text, digest_size=16).digest()

    ordered = sorted(members.values(), key=key)
    return [_Unit(np.array(one, np.int64), presence[one].sum(0).astype(np.int64)) for one in ordered]


def _wanted(table: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(P, K) float: images of each class that each part should get: its share, and one unit's where that can be."""
    held = (table > 0).sum(0)
    wanted = shares[:, None] * table.sum(0)
    parts = int((shares > 0).sum())
    by_size = np.argsort(-shares, kind="stable")
    for label in np.flatnonzero(held).tolist():
        one = table[:, label].sum() / held[label]
        if held[label] < parts:
            wanted[:, label] = 0
            wanted[by_size[: held[label]], label] = one
            continue
        small = (shares > 0) & (wanted[:, label] < one)
        wanted[by_size[0], label] -= (one - wanted[small, label]).sum()
        wanted[small, label] = one
    return wanted


def _choice(size: int, wanted: np.ndarray, left: np.ndarray, room: np.ndarray) -> int:
    """The part that lacks most among those with room; where there is room nowhere, the one that has most of it."""
    fits = (left >= size) & (room > 0)
    if not fits.any():
        return int(np.where(room > 0, left, np.iinfo(np.int64).min).argmax())
    best = np.where(fits, np.round(wanted, 9), -np.inf)
    return max(np.flatnonzero(best == best.max()).tolist(), key=lambda part: (int(left[part]), -part))


def _complete(units: Sequence[_Unit], table: np.ndarray, part_of: np.ndarray, parts: int) -> None:
    """Exchanges units of one size where a part lacks a class that another can spare."""
    present = table > 0
    have = np.array([present[part_of == part].sum(0) for part in range(parts)]).reshape(parts, table.shape[1])
    filled = [part for part in range(parts) if (part_of == part).any()]
    for label in np.argsort(present.sum(0), kind="stable").tolist():
        for part in filled:
            if have[part, label] or present[:, label].sum() < len(filled):
                continue
            pair = _exchange(units, present, part_of, have, label, part)
            if pair is None:
                continue
            giver = int(part_of[pair[0]])
            change = present[pair[0]].astype(np.int64) - present[pair[1]]
            have[part] += change
            have[giver] -= change
            part_of[pair[0]], part_of[pair[1]] = part, giver


def _exchange(
    units: Sequence[_Unit], present: np.ndarray, part_of: np.ndarray, have: np.ndarray, label: int, part: int
) -> tuple[int, int] | None:
    """(unit with the class, unit of the part) whose exchange takes no part's last unit of any class."""
    for one in np.flatnonzero(present[:, label] & (part_of != part)).tolist():
        giver = int(part_of[one])
        if have[giver, label] < 2:
            continue
        for other in np.flatnonzero(part_of == part).tolist():
            if len(units[one].members) != len(units[other].members):
                continue
            lost_there = present[one] & ~present[other] & (have[giver] < 2)
            lost_here = present[other] & ~present[one] & (have[part] < 2)
            if not lost_there.any() and not lost_here.any():
                return one, other
    return None

"""Which images belong together: by a rule in their names, by a table, or because they look alike.

Frames of one video, slices of one patient or tiles of one aerial picture say less than as many separate images. Who
divides a data set keeps a group whole, and who says how sure a number is counts groups, not images.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from toolkit.data.images.fingerprint import hash_bits, mirrored_bits, near_pairs
from toolkit.data.splits.names import image_finder
from toolkit.errors import DataError, Problem, listed, missing_path

MOST_COMPARED = 60_000
"""Pictures among which near copies are looked for: the work grows with the square, a minute or so at this number."""

_SHOWN = 5


class Grouped(NamedTuple):
    """The group of every image.

    Args:
        names: N group names, in the order of the images; an image of no group has its own name.
        notes: sentences about images that the rule says nothing of, and about how the groups were made.
    """

    names: list[str]
    notes: list[str]


def image_groups(names: Sequence[str], rule: str | None) -> Grouped:
    """The group of each image by a rule, the same whatever the order of the images.

    A rule is `folder` (images of one folder), a CSV file with the image in the first column and its group in the
    second, or a regular expression: what its first group, or all of it, matches in the name. None: each for itself.

    Args:
        names: paths of the images relative to the data set's root, with `/`.
        rule: "folder", the path of a CSV file, or a regular expression.

    Raises:
        DataError: for a table that is missing or names no image, and for a rule that is no regular expression.

    >>> image_groups(["a/p1_01.png", "a/p1_02.png", "b/p2_01.png"], "p[0-9]+").names
    ['p1', 'p1', 'p2']
    >>> image_groups(["a/1.png", "a/2.png", "b/1.png"], "folder").names
    ['a', 'a', 'b']
    """
    if rule is None:
        return Grouped(list(names), [])
    if rule == "folder":
        found: list[str | None] = [str(PurePosixPath(name).parent) for name in names]
        how = "by folder"
    elif rule.lower().endswith(".csv"):
        found = _from_table(names, Path(rule))
        how = f"by {rule}"
    else:
        found = _matched(names, rule)
        how = f"by '{rule}' in the name"
    alone = [name for name, group in zip(names, found, strict=True) if group is None]
    groups = [name if group is None else group for name, group in zip(names, found, strict=True)]
    notes = [f"{len(set(groups))} groups among {len(names)} images, {how}"]
    if alone:
        notes.append(f"{len(alone)} images are of no group and stand for themselves: {listed(alone, _SHOWN)}")
    return Grouped(groups, notes)


def _matched(names: Sequence[str], rule: str) -> list[str | None]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        message = f"'{rule}' is no regular expression: {error}"
        raise DataError(Problem("data.group", message, "or write folder, or the path of a CSV file")) from None
    matches = [pattern.search(name) for name in names]
    if names and not any(matches):
        message = f"'{rule}' matches none of the {len(names)} names, such as {names[0]}"
        raise DataError(
            Problem("data.group", message, "write a pattern that matches, folder, or the path of a CSV file")
        )
    return [None if match is None else match.group(1 if pattern.groups else 0) for match in matches]


def _from_table(names: Sequence[str], path: Path) -> list[str | None]:
    rows = read_table(path, "table of groups")
    find = image_finder(names)
    found: list[str | None] = [None] * len(names)
    for row in rows:
        position = find(row[0])
        if position is not None:
            found[position] = row[1]
    if names and not any(found):
        message = f"names none of the {len(names)} images; its first line is {', '.join(rows[0][:2])}"
        raise DataError(Problem(path, message, f"wanted names such as {names[0]} in the first column"))
    return found


def read_table(path: Path, what: str) -> list[list[str]]:
    """The rows of a CSV file that are not empty, of two columns or more.

    Raises DataError when it is missing, empty, no CSV in UTF-8, or has a row of one column.
    """
    if not path.is_file():
        raise DataError(missing_path(what, path))
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text("utf-8-sig").splitlines())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(Problem(path, f"is no CSV file in UTF-8: {error}")) from None
    rows = [row for row in rows if any(row)]
    if not rows:
        raise DataError(Problem(path, "is empty", f"a {what} has two columns"))
    short = next((row for row in rows if len(row) < 2), None)
    if short is not None:
        raise DataError(Problem(path, f"wanted two columns, and the row '{short[0]}' has one"))
    return rows


def look_alikes(digests: Sequence[str], hashes: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of pictures with the same pixels, or that are near copies or mirror images of one another.

    Among more than `MOST_COMPARED` different pictures only those with the same pixels are found.

    Args:
        digests: N numbers that only equal pixels share (`pixel_digest`), "" for a picture that cannot be read.
        hashes: N hashes that near copies share nearly (`perceptual_hash`), "" for one with too little in it.
    """
    pairs = [(members[0], other) for members in _members(digests).values() for other in members[1:]]
    alike = list(_members(hashes).items())
    pairs += [(members[0], other) for _, members in alike for other in members[1:]]
    if not 1 < len(alike) <= MOST_COMPARED:
        return pairs
    bits = hash_bits([one for one, _ in alike])
    for others in (bits, mirrored_bits(bits)):
        near = near_pairs(bits, others).tolist()
        pairs += [(alike[one][1][0], alike[other][1][0]) for one, other in near if one < other]
    return pairs


def _members(marks: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, mark in enumerate(marks):
        if mark:
            found[mark].append(index)
    return found


def same_marks(marks: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs that link whatever bears the same mark.

    >>> same_marks(["a", "b", "a"])
    [(0, 2)]
    """
    return [(members[0], other) for members in _members(marks).values() for other in members[1:]]


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """(count,) int64: for each of so many things the first one that it is linked with, directly or through others.

    >>> joined(5, [(3, 1), (4, 3)]).tolist()
    [0, 1, 2, 1, 1]
    """
    first = list(range(count))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for one, other in pairs:
        a, b = root(one), root(other)
        first[max(a, b)] = min(a, b)
    return np.array([root(place) for place in range(count)], np.int64)

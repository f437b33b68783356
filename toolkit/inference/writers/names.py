"""What result files are called: no two inputs share a file, in this run or another, and no name is too long for a disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import PurePosixPath

LONGEST = 255
"""Bytes of a file's name that Linux, macOS and Windows take."""


def output_stems(names: Sequence[str], endings: Iterable[str] = (), reserved: Iterable[str] = ()) -> list[str]:
    """Output paths, without suffix, of input paths: sub-folder and stem stay, and no two results are the same file.

    Inputs that differ in their extension only, or in upper and lower case, keep it in the stem. So does an input whose
    own name ends as a result's does (`a_overlay.jpg`), or is that of a file for all: beside `a.jpg`, or in a later run
    into the same folder, it would replace another's result. Names too long for the longest ending are cut, with a mark
    made of the whole name in the place of the rest.

    Args:
        names: paths of the inputs below their folder, with `/`.
        endings: what follows a stem in the names of results, "_overlay.jpg" and ".png", of every format there is.
        reserved: stems of files that hold all images, "detections".

    Raises:
        ValueError: an absolute path, or one that leaves its folder.

    >>> output_stems(["day/a.jpg", "day/b.png", "night/a.jpg", "b.c.jpg"])
    ['day/a', 'day/b', 'night/a', 'b.c']
    >>> output_stems(["a.jpg", "a.png", "b.jpg"])
    ['a_jpg', 'a_png', 'b']
    >>> output_stems(["a.jpg", "a_overlay.jpg"], [".png", "_overlay.jpg"])
    ['a', 'a_overlay_jpg']
    """
    endings = tuple(endings)
    marks = tuple(sorted({ending.partition(".")[0].casefold() for ending in endings} - {""}))
    kept = {stem.casefold() for stem in reserved}
    longest = max((len(os.fsencode(ending)) for ending in endings), default=0)
    stems = [_stem(name) for name in names]
    often = Counter(map(_folded, stems))
    shared = {stem for stem, count in often.items() if count > 1}
    given: set[str] = set()

    def is_taken(folded: str) -> bool:
        return folded in given or (folded in often and folded not in shared)

    for place, (stem, name) in enumerate(zip(stems, names, strict=True)):
        folded = _folded(stem)
        if folded in shared or folded in kept or (marks and folded.endswith(marks)):
            stem = _free(f"{stem}_{name[len(stem) + 1 :]}", is_taken)
            given.add(stem.casefold())
        stems[place] = _short(stem, longest)
    return stems


def _folded(stem: str) -> str:
    """The stem without upper case; the same object where it has none: a million names are in memory once."""
    folded = stem.casefold()
    return stem if folded == stem else folded


def _stem(name: str) -> str:
    """A path below a folder without its suffix. Raises ValueError for one that is none."""
    path = name if os.sep == "/" else name.replace(os.sep, "/")
    begin = path.rfind("/") + 1
    if path.startswith("/") or begin == len(path) or (".." in path and ".." in path.split("/")):
        raise ValueError(f"not a path below a folder: '{path}'")
    place = path.rfind(".", begin)
    return path[:place] if begin < place < len(path) - 1 else path


def _free(stem: str, is_taken: Callable[[str], bool]) -> str:
    """The stem, with the first number that makes it new."""
    number, candidate = 2, stem
    while is_taken(candidate.casefold()):
        candidate, number = f"{stem}_{number}", number + 1
    return candidate


def _short(stem: str, ending: int) -> str:
    """The stem, cut so that its name and an ending of so many bytes are no longer than `LONGEST`."""
    if len(stem) * 4 + ending <= LONGEST:  # as many bytes as a letter can have
        return stem
    path = PurePosixPath(stem)
    if len(os.fsencode(path.name)) + ending <= LONGEST:
        return stem
    mark = "~" + blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    name = path.name
    while len(os.fsencode(name)) + len(mark) + ending > LONGEST:
        name = name[:-1]
    return str(path.with_name(name + mark))

"""What result files are called: no two inputs share a file, in this run or another, and no name is too long for a disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
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
    paths = [_below(name) for name in names]
    stems = [str(path.with_suffix("")) for path in paths]
    often = Counter(stem.casefold() for stem in stems)

    def is_shared(stem: str) -> bool:
        folded = stem.casefold()
        return often[folded] > 1 or folded in kept or bool(marks and folded.endswith(marks))

    taken = {stem.casefold() for stem in stems if not is_shared(stem)}
    result = []
    for path, stem in zip(paths, stems, strict=True):
        if is_shared(stem):
            stem = _free(f"{stem}_{path.suffix[1:]}" if path.suffix else f"{stem}_", taken)
            taken.add(stem.casefold())
        result.append(_short(stem, max((len(os.fsencode(ending)) for ending in endings), default=0)))
    return result


def _below(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace(os.sep, "/"))
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ValueError(f"not a path below a folder: '{path}'")
    return path


def _free(stem: str, taken: set[str]) -> str:
    """The stem, with the first number that makes it new."""
    number, candidate = 2, stem
    while candidate.casefold() in taken:
        candidate, number = f"{stem}_{number}", number + 1
    return candidate


def _short(stem: str, ending: int) -> str:
    """The stem, cut so that its name and an ending of so many bytes are no longer than `LONGEST`."""
    path = PurePosixPath(stem)
    if len(os.fsencode(path.name)) + ending <= LONGEST:
        return stem
    mark = "~" + blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    name = path.name
    while len(os.fsencode(name)) + len(mark) + ending > LONGEST:
        name = name[:-1]
    return str(path.with_name(name + mark))

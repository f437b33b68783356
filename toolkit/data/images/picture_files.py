"""The pictures of files, folders and globs, listed so that a million of them cost little time and memory."""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import overload

from toolkit.data.images.picture import Picture
from toolkit.data.images.read import IMAGE_SUFFIXES
from toolkit.errors import DataError, Problem, missing_path


class FilesBelow(Sequence[Picture]):
    """Files below one folder, each a `Picture` only when it is asked for.

    Args:
        folder: the folder that was named.
        names: places of the files below it, with the system's separator, in order.
        left: how many files of each suffix there are beside them that are no pictures.
        closed: folders below it that may not be read.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], left: Counter[str] | None = None, closed: Sequence[str] = ()
    ) -> None:
        self.folder, self.names = folder, names
        self.left: Counter[str] = left or Counter()
        self.closed = list(closed)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> FilesBelow: ...
    def __getitem__(self, index: int | slice) -> Picture | FilesBelow:
        if isinstance(index, slice):
            return FilesBelow(self.folder, self.names[index])
        path = self.folder / self.names[index]
        return Picture(path, Path(self.names[index]).as_posix())


class PictureList(Sequence[Picture]):
    """Pictures of several sources, one source after the other.

    Args:
        parts: the pictures of each source.
    """

    def __init__(self, parts: Sequence[Sequence[Picture]]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Picture]:
        for part in self._parts:
            yield from part

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        part = bisect_right(self._ends, place)
        return self._parts[part][place - (self._ends[part - 1] if part else 0)]

    @property
    def names(self) -> Iterator[str]:
        """The names of the pictures, without making the pictures."""
        for part in self._parts:
            if isinstance(part, FilesBelow):
                yield from (name.replace(os.sep, "/") for name in part.names)
            else:
                yield from (picture.name for picture in part)

    @property
    def left(self) -> Counter[str]:
        """How many files of each suffix lie in the folders and are not read."""
        return sum((part.left for part in self._parts if isinstance(part, FilesBelow)), Counter())

    @property
    def closed(self) -> list[str]:
        """Folders that may not be read."""
        return [folder for part in self._parts if isinstance(part, FilesBelow) for folder in part.closed]


def files_of(path: Path) -> FilesBelow:
    """Pictures of a file, folder (searched recursively) or glob, in sorted order.

    Arrays of numpy where a folder holds no others. Raises DataError for a path that does not exist, or holds none.
    """
    if path.is_dir():
        pictures = _below(path)
        empty = f"holds no picture ({', '.join(sorted(IMAGE_SUFFIXES))})"
    elif path.is_file():
        pictures, empty = FilesBelow(path.parent, [path.name]), ""
    else:
        pictures = _matching(str(path))
        empty = "matches no picture" if glob.has_magic(str(path)) else ""
    if not pictures:
        raise DataError(Problem(path, empty) if empty else missing_path("file or folder", path))
    return pictures


def without_doubles(parts: Sequence[Sequence[Picture]]) -> PictureList:
    """The pictures of all parts, a file that several of them name only once, in its first place."""
    if len(parts) < 2:
        return PictureList(parts)
    seen: set[Path] = set()
    kept: list[list[Picture]] = []
    for part in parts:
        kept.append([])
        for picture in part:
            place = picture.path.absolute() if picture.path is not None else None
            if place is None or place not in seen:
                kept[-1].append(picture)
            if place is not None:
                seen.add(place)
    shorter = zip(parts, kept, strict=True)
    return PictureList([part if len(part) == len(few) else few for part, few in shorter])


def _below(folder: Path) -> FilesBelow:
    """The pictures below a folder; arrays of numpy where it holds no others."""
    closed: list[str] = []
    pictures: list[str] = []
    arrays: list[str] = []
    left: Counter[str] = Counter()
    for name in _walk(str(folder), "", closed):
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file costs more than all the rest
        if suffix in IMAGE_SUFFIXES:
            pictures.append(name)
        elif suffix == ".npy":
            arrays.append(name)
        else:
            left[suffix] += 1
    if pictures and arrays:
        left[".npy"] = len(arrays)
    return FilesBelow(folder, pictures or arrays, left, closed)


def _walk(folder: str, before: str, closed: list[str]) -> Iterator[str]:
    """Names of the files below a folder in the order of their paths' parts; hidden files are left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry) for entry in found)
    except OSError:
        closed.append(folder)
        return
    for name, entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{before}{name}{os.sep}", closed)
        elif not name.startswith(".") and entry.is_file():
            yield before + name


def _matching(pattern: str) -> FilesBelow:
    """Files of a glob, named below its fixed part."""
    fixed = Path(*_fixed_parts(Path(pattern).parts[:-1]))
    files = sorted(Path(file) for file in glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns too
    pictures = [file for file in files if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES]
    return FilesBelow(fixed, [str(file.relative_to(fixed)) for file in pictures])


def _fixed_parts(parts: Sequence[str]) -> list[str]:
    fixed = []
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed

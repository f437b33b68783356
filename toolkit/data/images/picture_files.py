"""The pictures of files, folders and globs, listed so that a million of them cost little time and memory."""

from __future__ import annotations

import csv
import glob
import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import overload

from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.listing import image_names
from toolkit.data.images.pages import PAGED_SUFFIXES, places_of
from toolkit.data.images.picture import Picture
from toolkit.errors import DataError, Problem, listed, missing_path
from toolkit.progress import tracked

_ADDRESS = re.compile(r"(https?|ftp|s3|gs|file):/")
"""How an address begins, one slash of which `Path` takes away."""


class FilesBelow(Sequence[Picture]):
    """Files below one folder, each a `Picture` only when it is asked for.

    Args:
        folder: the folder that was named.
        names: places of the files below it, with the system's separator, in order.
        left: how many files of each suffix there are beside them that are no pictures.
        notes: sentences on what else was passed over.
        pages: for each name the number of its page, from 1 on, and its place (`page_places`), or None for a file of one;
            () where files are not parted.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        left: Counter[str] | None = None,
        notes: Sequence[str] = (),
        pages: Sequence[tuple[int, int] | None] = (),
    ) -> None:
        self.folder, self.names, self.pages = folder, names, pages
        self.left: Counter[str] = left or Counter()
        self.notes = list(notes)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> FilesBelow: ...
    def __getitem__(self, index: int | slice) -> Picture | FilesBelow:
        if isinstance(index, slice):
            return FilesBelow(self.folder, self.names[index], pages=self.pages[index])
        path = self.folder / self.names[index]
        page = self.pages[index] if self.pages else None
        return Picture(path, _shown(self.names[index], page), page=None if page is None else page[1])

    @property
    def shown(self) -> Iterator[str]:
        """The names of the pictures: places below the folder, with `/`, and the numbers of pages."""
        if self.pages:
            return (_shown(name, page) for name, page in zip(self.names, self.pages, strict=True))
        return (name.replace(os.sep, "/") for name in self.names)

    def by_pages(self, bands: int = 0) -> FilesBelow:
        """The same with each page of a file as a picture. bands: so many gray pages are one; 0: each is a picture."""
        names: list[str] = []
        pages: list[tuple[int, int] | None] = []
        for name in tracked(self.names, "pages", len(self.names), "file"):
            paged = Path(name).suffix.lower() in PAGED_SUFFIXES
            places = places_of(self.folder / name, bands) if paged else (0,)
            names += [name] * len(places)
            pages += [None] if len(places) == 1 else list(enumerate(places, 1))
        return FilesBelow(self.folder, names, self.left, self.notes, pages)


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
                yield from part.shown
            else:
                yield from (picture.name for picture in part)

    @property
    def left(self) -> Counter[str]:
        """How many files of each suffix lie in the folders and are not read."""
        return sum((part.left for part in self._parts if isinstance(part, FilesBelow)), Counter())

    @property
    def notes(self) -> list[str]:
        """Sentences on what the folders hold that was passed over."""
        told = [note for part in self._parts for note in getattr(part, "notes", ())]
        if self.left:
            kinds = ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in self.left.most_common(8))
            told.append(f"files that are no pictures were not read: {kinds}")
        return told


def _shown(name: str, page: tuple[int, int] | None) -> str:
    """The name of a picture: the file's place below its folder; of one page among several with its number."""
    shown = Path(name).as_posix()
    if page is None:
        return shown
    stem, dot, suffix = shown.rpartition(".")
    return f"{stem}_page{page[0]:04d}{dot}{suffix}" if dot else f"{shown}_page{page[0]:04d}"


def files_of(path: Path) -> FilesBelow:
    """Pictures of a file, folder (searched recursively), glob or list (`@files.txt`), sorted; those of a list as it has them.

    Arrays of numpy where a folder holds no others. Raises DataError for a path that does not exist, or holds none.
    """
    if _ADDRESS.match(str(path)):
        address = _ADDRESS.sub(r"\g<0>/", str(path))  # a path has one slash where the address had two
        raise DataError(Problem(address, "is an address; pictures are read from disks only", "fetch it first"))
    if str(path).startswith("@") and not path.exists():
        pictures, empty = _listed_in(str(path)[1:]), "names no picture"
    elif path.is_dir():
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
    seen: set[tuple[Path, int | None]] = set()
    kept: list[list[Picture]] = []
    for part in parts:
        kept.append([])
        for picture in part:
            part_of_file = picture.page if picture.frame is None else picture.frame.number
            place = (picture.path.absolute(), part_of_file) if picture.path is not None else None
            if place is None or place not in seen:
                kept[-1].append(picture)
            if place is not None:
                seen.add(place)
    shorter = zip(parts, kept, strict=True)
    return PictureList([part if len(part) == len(few) else few for part, few in shorter])


def _below(folder: Path) -> FilesBelow:
    """The pictures below a folder; arrays of numpy where it holds no others."""
    listing = image_names(folder)
    return FilesBelow(folder, listing.names, listing.left, listing.notes)


def _listed_in(text: str) -> FilesBelow:
    """Files that a list names, a line each, or a CSV file in a column (`@files.csv:path`), relative to the list's folder.

    Raises DataError for a list that is not there, lacks the column, or names files that are not there.
    """
    name, colon, column = text.partition(":") if not Path(text).exists() else (text, "", "")
    path = Path(name)
    if not path.is_file():
        raise DataError(missing_path("list of pictures", path))
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    if colon or path.suffix.lower() == ".csv":
        names = _column(path, lines, column)
    else:
        names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        message = f"names {len(missing)} of {len(names)} files that are not there: {listed(missing)}"
        raise DataError(Problem(path, message, f"names are relative to {path.parent.absolute()}"))
    outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        files = [path.parent / name for name in names]
        base = Path(os.path.commonpath([str(file.parent.absolute()) for file in files]))
        return FilesBelow(base, [os.path.relpath(file.absolute(), base) for file in files])
    return FilesBelow(path.parent, [str(Path(name)) for name in names])


def _column(path: Path, lines: list[str], column: str) -> list[str]:
    """The cells of a CSV file's column; of its only one, or of `path`, `file` or `image`, where none is named."""
    rows = csv.DictReader(lines)
    names = list(rows.fieldnames or [])
    usual = [name for name in names if name in ("path", "file", "image")]
    wanted = column or (names[0] if len(names) == 1 else usual[0] if usual else "")
    if wanted not in names:
        message = f"has no column '{column}'" if column else "does not say which column names the pictures"
        raise DataError(Problem(path, f"{message}; it has {', '.join(names)}", f"write @{path}:COLUMN"))
    return [cell for row in rows if (cell := (row[wanted] or "").strip())]


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

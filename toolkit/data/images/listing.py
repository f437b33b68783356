"""Which image files lie below a folder, and what lies there and is not read: nothing is left out without a word."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from toolkit.data.images.formats import IMAGE_SUFFIXES, OTHER_IMAGES

_SHOWN = 5


class Listing(NamedTuple):
    """What lies below a folder.

    Args:
        paths: the image files that are read, sorted by path.
        others: the files of other kinds, sorted by path.
        notes: a sentence for each kind of thing that is left out.
    """

    paths: list[Path]
    others: list[Path]
    notes: list[str]


def same_name(name: str) -> str:
    r"""A name in the Unicode form in which it is compared: what macOS writes and what others write are then equal.

    >>> same_name("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def without_extension(name: str) -> str:
    """A path without the extension of an image; one without such an extension as it is.

    >>> without_extension("street/a.1.JPG"), without_extension("street/a.1")
    ('street/a.1', 'street/a.1')
    """
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in IMAGE_SUFFIXES else name


def image_files(folder: Path, pattern: str = "", suffixes: Iterable[str] = IMAGE_SUFFIXES) -> Listing:
    """The image files of a folder and all folders below it, linked ones included.

    Where a folder holds no image but arrays that numpy saved (.npy), those are its images. Hidden files and folders
    (`.name`) are passed over. A link to a folder that it lies in is not followed.

    Args:
        folder: an existing folder, which is searched with all below it.
        pattern: a glob pattern relative to it, with `**` for any folders; "" takes everything below.
        suffixes: extensions in lower case by which the files are told.
    """
    walk = _Walk(frozenset(suffixes))
    if pattern:
        for name in glob.glob(pattern, root_dir=folder, recursive=True):  # noqa: PTH207 - follows links
            walk.take(str(folder / name), (folder / name).is_file(), (folder / name).is_symlink())
    else:
        walk.enter(str(folder), (os.path.realpath(folder),))
    if suffixes is IMAGE_SUFFIXES:
        walk.take_arrays()
    return Listing([Path(path) for path in walk.paths()], sorted(map(Path, walk.others)), walk.notes(folder))


class Names(NamedTuple):
    """What lies below a folder of, maybe, a million files, as text: a `Path` takes several times its memory.

    Args:
        names: places of the image files below the folder, with the system's separator, in the order of their paths.
        left: how many files of each other suffix, in lower case, there are; pictures that are not read are in the notes.
        notes: a sentence for each kind of thing that is left out.
    """

    names: list[str]
    left: Counter[str]
    notes: list[str]


def image_names(folder: Path) -> Names:
    """`image_files` of a folder, as text. folder: an existing folder, which is searched with all below it."""
    walk = _Walk(frozenset(IMAGE_SUFFIXES))
    walk.enter(str(folder), (os.path.realpath(folder),))
    walk.take_arrays()
    begin = len(str(folder / "x")) - 1
    left = Counter(suffix for path in walk.others if (suffix := _suffix(path)) not in OTHER_IMAGES)
    return Names([path[begin:] for path in walk.paths()], left, walk.notes(folder))


class _Walk:
    """What has been found so far."""

    def __init__(self, suffixes: frozenset[str]) -> None:
        self.suffixes = suffixes
        self.found: list[str] = []
        self.others: list[str] = []
        self.broken: list[Path] = []
        self.special: list[Path] = []
        self.circular: list[Path] = []
        self.locked: list[Path] = []

    def enter(self, folder: str, trail: tuple[str, ...]) -> None:
        """trail: the real paths of this folder and of those above it."""
        try:
            with os.scandir(folder) as entries:
                found = [(one.name, one.path, one.is_symlink(), *kind_of_entry(one)) for one in entries]
        except OSError:
            self.locked.append(Path(folder))
            return
        for name, path, is_link, is_folder, is_file in found:
            if name.startswith("."):
                continue
            if not is_folder:
                self.take(path, is_file, is_link)
                continue
            real = os.path.realpath(path) if is_link else os.path.join(trail[-1], name)  # noqa: PTH118 - text is quick
            if real in trail:
                self.circular.append(Path(path))
            else:
                self.enter(path, (*trail, real))

    def take(self, path: str, is_file: bool, is_link: bool) -> None:
        """Sorts one entry that is no folder into its list."""
        if _suffix(path) not in self.suffixes:
            if is_file:
                self.others.append(path)
        elif is_file:
            self.found.append(path)
        elif not Path(path).is_dir():
            (self.broken if is_link else self.special).append(Path(path))

    def take_arrays(self) -> None:
        """Takes arrays of numpy for images where there are no others."""
        if not self.found:
            self.found = [path for path in self.others if _suffix(path) == ".npy"]
            self.others = [path for path in self.others if _suffix(path) != ".npy"]

    def paths(self) -> list[str]:
        """The image files as `Path` sorts them: folder by folder, whatever letters ASCII has before the separator."""
        return sorted(self.found, key=lambda path: path.replace(os.sep, "\0"))

    def notes(self, folder: Path) -> list[str]:
        """A sentence for each kind of thing that is not read."""
        unread = [Path(path) for path in self.others if _suffix(path) in OTHER_IMAGES]
        kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
        told: list[tuple[list[Path], str]] = [
            (self.broken, "links that lead nowhere"),
            (self.locked, "folders that may not be opened"),
            (self.circular, "links to a folder that they lie in"),
            (self.special, "pipes or devices, which are no files"),
            (unread, f"pictures of a format that is not read ({kinds}): convert them to PNG or JPEG"),
        ]
        return [f"{len(paths)} left out of {folder}, {what}: {_some(folder, paths)}" for paths, what in told if paths]


def _suffix(path: str) -> str:
    """The suffix of a path in lower case, as `Path.suffix` has it: "" of a hidden name and of one that ends with a dot."""
    begin = path.rfind(os.sep) + 1
    place = path.rfind(".", begin)
    return path[place:].lower() if begin < place < len(path) - 1 else ""


def kind_of_entry(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether an entry is a folder, and whether a file; neither for a link that leads to itself."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:
        return False, False


def _some(folder: Path, paths: list[Path]) -> str:
    names = [path.relative_to(folder).as_posix() for path in sorted(paths)[:_SHOWN]]
    return ", ".join(names) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")


def by_key(
    listing: Listing, folder: Path, suffix: str = "", told: Callable[[str, Path, Path], None] | None = None
) -> dict[str, Path]:
    """The files of a listing by their path in the folder without extension and suffix, in one Unicode form.

    Args:
        listing: the image files of that folder, from `image_files`.
        folder: the folder that keys are relative to.
        suffix: end of the names that belongs to the kind ("_mask"); files without it are passed over.
        told: called with the key and both paths where two files have the same one.
    """
    found: dict[str, Path] = {}
    for path in listing.paths:
        key = same_name(path.relative_to(folder).with_suffix("").as_posix())
        if not key.endswith(suffix):
            continue
        key = key[: len(key) - len(suffix)]
        if key in found and told is not None:
            told(key, found[key], path)
        found.setdefault(key, path)
    return found

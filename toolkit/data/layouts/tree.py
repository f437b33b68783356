"""What lies below a folder, by name only: no file is opened, and a hundred thousand files take about a second."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.listing import kind_of_entry
from toolkit.errors import ConfigError, DataError, Problem, listed, missing_path

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
"""Extensions of files that hold other files."""

_LEFTOVERS = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir", "ehthumbs.db", "icon\r", "$recycle.bin"))
"""What systems leave in folders, in lower case; names that begin with a dot are passed over as well."""

_TOLD_EVERY = 5000
"""Files between two looks at the progress."""


@dataclass(frozen=True)
class Tree:
    """Names of the files below a folder.

    Args:
        root: the folder that was looked at.
        folders: names of the files by folder, relative to the root with `/`, "" for the root itself; folders without
            files are left out.
    """

    root: Path
    folders: dict[str, list[str]] = field(repr=False)

    @cached_property
    def number(self) -> int:
        """How many files there are."""
        return sum(map(len, self.folders.values()))

    @cached_property
    def pictures(self) -> dict[str, list[str]]:
        """Names of the pictures by folder, where there are any."""
        return self._with(IMAGE_SUFFIXES)

    @cached_property
    def places(self) -> dict[str, list[str]]:
        """Folders of a picture by its name, in lower case."""
        found: dict[str, list[str]] = defaultdict(list)
        for folder, names in self.pictures.items():
            for name in names:
                found[name.lower()].append(folder)
        return found

    @cached_property
    def kinds(self) -> Counter[str]:
        """How many files have each extension, in lower case."""
        return Counter({kind: sum(map(len, folders.values())) for kind, folders in self._by_kind.items()})

    @cached_property
    def _by_kind(self) -> dict[str, dict[str, list[str]]]:
        """Names of the files by extension and folder."""
        found: dict[str, dict[str, list[str]]] = {}
        for folder, names in self.folders.items():
            for name in names:
                found.setdefault(extension(name), {}).setdefault(folder, []).append(name)
        return found

    def _with(self, suffixes: Iterable[str]) -> dict[str, list[str]]:
        parts = [self._by_kind[kind] for kind in suffixes if kind in self._by_kind]
        if len(parts) == 1:
            return parts[0]
        folders = dict.fromkeys(sorted(folder for part in parts for folder in part))
        return {folder: sorted(name for part in parts for name in part.get(folder, ())) for folder in folders}

    def named(self, *suffixes: str) -> dict[str, list[str]]:
        """Names of the files with one of these extensions (".xml"), by folder, where there are any."""
        return self._with(suffixes)

    def paths(self, *suffixes: str) -> list[str]:
        """Paths of the files with one of these extensions, sorted."""
        return sorted(joined(folder, name) for folder, names in self._with(suffixes).items() for name in names)

    def below(self, folder: str) -> Iterator[str]:
        """The folders in a folder at any depth, itself included, that hold files."""
        return (one for one in self.folders if is_below(one, folder))

    def has(self, path: str) -> bool:
        """Whether there is a file of that path."""
        folder, _, name = path.rpartition("/")
        return name in self.folders.get(folder, ())


def extension(name: str) -> str:
    """The extension of a file's name in lower case, with its dot; "" for none.

    >>> extension("A.JPG"), extension("README")
    ('.jpg', '')
    """
    bare, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and bare else ""


def stem(name: str) -> str:
    """A file's name without its extension.

    >>> stem("a.b.png")
    'a.b'
    """
    bare, dot, _ = name.rpartition(".")
    return bare if dot and bare else name


def joined(*parts: str) -> str:
    """A path of the parts that are not empty.

    >>> joined("", "images", "train")
    'images/train'
    """
    return "/".join(part for part in parts if part)


def is_below(folder: str, other: str) -> bool:
    """Whether a folder is another or lies in it.

    >>> is_below("a/b", "a"), is_below("ab", "a"), is_below("a", "")
    (True, False, True)
    """
    return not other or folder == other or folder.startswith(f"{other}/")


def spread(items: Sequence[str], most: int) -> list[str]:
    """At most so many of a list, evenly spread over it, the first and the last among them.

    >>> spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / max(1, most - 1))] for place in range(most)]


def scan(folder: Path, told: Callable[[int], None] | None = None) -> Tree:
    """The files below a folder; links to folders are followed, but not back into themselves.

    Args:
        folder: the folder that is looked at.
        told: called with the number of files so far, now and then.

    Raises:
        ConfigError: no such folder, a file, an archive.
        DataError: a folder without files.
    """
    _refuse(folder)
    folders: dict[str, list[str]] = {}
    number = 0
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(str(folder), "", (os.path.realpath(folder),))]
    while waiting:
        path, name, trail = waiting.pop()
        files, inner = _entries(path)
        if files:
            folders[name] = sorted(files)
        number += len(files)
        if told is not None and number // _TOLD_EVERY > (number - len(files)) // _TOLD_EVERY:
            told(number)
        for child in inner:
            real = os.path.realpath(os.path.join(path, child))  # noqa: PTH118 - text is quick
            if real not in trail:
                waiting.append((os.path.join(path, child), joined(name, child), (*trail, real)))  # noqa: PTH118
    if not folders:
        raise DataError(Problem(folder, "holds no files", "name the folder that holds pictures and their annotations"))
    tree = Tree(folder, dict(sorted(folders.items())))
    _refuse_only_archives(tree)
    return tree


def _entries(path: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder that can be opened, without a system's leftovers."""
    files, inner = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _LEFTOVERS:
                    continue
                is_folder, is_file = kind_of_entry(entry)
                if is_folder:
                    inner.append(entry.name)
                elif is_file:
                    files.append(entry.name)
    except OSError:
        return [], []
    return files, inner


def _refuse(folder: Path) -> None:
    if folder.is_dir():
        return
    if not folder.exists():
        raise ConfigError(missing_path("folder", folder, "FOLDER"))
    if folder.suffix.lower() in ARCHIVES:
        message = f"{folder} is an archive; a folder was wanted"
        raise ConfigError(Problem("FOLDER", message, "unpack it, and name the folder that comes out"))
    message = f"{folder} is a file; the folder that holds pictures and their annotations was wanted"
    raise ConfigError(Problem("FOLDER", message, f"name its folder: {folder.parent}"))


def _refuse_only_archives(tree: Tree) -> None:
    packed = tree.paths(*ARCHIVES)
    if packed and not tree.pictures:
        message = f"holds no pictures, but an archive: {listed(packed, 3)}"
        raise DataError(Problem(tree.root, message, "unpack it, and name the folder that comes out"))

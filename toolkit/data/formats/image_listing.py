"""Which of many image files exist, by listing their folders: one look a folder instead of one a file."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.images.listing import same_name
from toolkit.errors import Where, did_you_mean

_KIND = "missing image files"


def existing_images(root: Path, names: Sequence[str], source: Where, problems: ProblemList) -> list[str]:
    """The names as they stand on disk; one that is no file gets a problem, and all of them a single one.

    A name that differs from a file's in its Unicode form only, or is URL-quoted (%20), is that file's, with a note.

    Args:
        root: the folder that the names are relative to.
        names: paths of the images relative to root, with `/`.
        source: the file that names them, for messages.
        problems: gets what is missing, by position, and the notes.
    """
    folders = _Folders(root)
    found = [folders.find(name) for name in names]
    missing = [position for position, name in enumerate(found) if name is None]
    if names and len(missing) == len(names):
        first = (root / names[0]).absolute()
        message = f"none of the {len(names)} image files exists; the first was looked for at {first}"
        problems.add(_KIND, source, message, "check root and the folder of the images", image=0)
        problems.count(_KIND, missing[1:])
        return list(names)
    for position in missing:
        folder, _, file = names[position].rpartition("/")
        near = did_you_mean(file, folders.listing(folder).values()) if problems.wants_more(_KIND) else ""
        message = f"image file {(root / names[position]).absolute()} does not exist"
        problems.add(_KIND, source, message, near if near.startswith("did") else "", image=position)
    other = [(name, there) for name, there in zip(names, found, strict=True) if there is not None and there != name]
    if other:
        message = f"{len(other)} names stand in another form on disk, such as '{other[0][1]}' for '{other[0][0]}'"
        problems.notes.append(f"{source}: {message}")
    return [there or name for name, there in zip(names, found, strict=True)]


def named_images(root: Path, folder: Path, names: Sequence[str], source: Where, problems: ProblemList) -> list[str]:
    """Images that an annotation file names, as they stand on disk, relative to the data set's folder.

    A name may go down from the images' folder, not out of it: such a data set would read anything anywhere.

    Args:
        root: the data set's folder, which the result is relative to.
        folder: folder of the images, which the names are relative to.
        names: paths with `/` or back slashes, as they stand in the file.
        source: the file that names them, for messages.
        problems: gets names that lead out, images that are missing, and the notes.
    """
    kind = "file names that lead out of the images' folder"
    for position, name in enumerate(names):
        if ".." not in name and ":" not in name and not name.startswith(("/", "\\")):  # a million of them are quick
            continue
        parts = PurePosixPath(posixpath.normpath(name.replace("\\", "/")))
        if parts.is_absolute() or PureWindowsPath(name).drive or parts.parts[:1] == ("..",):
            message = f"file_name '{name}' leads out of the images' folder {folder.absolute()}"
            remedy = "set `images` to the folder that holds them all, and correct the names"
            problems.add(kind, source, message, remedy, image=position)
    below = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.absolute().as_posix()
    prefix = "" if below == "." else f"{below}/"
    plain = _shortened(folder, [name.replace("\\", "/") for name in names], source, problems)
    return existing_images(root, [prefix + name for name in plain], source, problems)


def _shortened(folder: Path, names: list[str], source: Where, problems: ProblemList) -> list[str]:
    """The names without leading folders, where none is there as it stands and all are there without those.

    LVIS and Objects365 name images by folders of their servers (train2017/, images/v1/patch8/).
    """
    folders = _Folders(folder)
    if not names or "/" not in names[0] or any(folders.find(name) for name in names[:_TRIED]):
        return names
    for number in range(1, names[0].count("/") + 1):
        short = ["/".join(name.split("/")[number:]) or name for name in names]
        if all(folders.find(name) for name in short[:_TRIED]):
            left = "/".join(names[0].split("/")[:number])
            problems.notes.append(f"{source}: names begin with folders that are not there ({left}/); they are left out")
            return short
    return names


_TRIED = 20
"""Names that show whether all begin with folders that are not there."""


class _Folders:
    """Names of the files of folders, each listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, str]] = {}

    def listing(self, folder: str) -> dict[str, str]:
        """Names as they stand, by their form for comparison."""
        if folder not in self._listings:
            try:
                names = os.listdir(self.root / folder)  # noqa: PTH208 - names only, and a million of them
            except OSError:
                names = []
            self._listings[folder] = {same_name(name): name for name in names}
        return self._listings[folder]

    def find(self, name: str) -> str | None:
        """The path of a name as it stands on disk."""
        for text in dict.fromkeys((name, unquote(name))):
            folder, slash, file = text.rpartition("/")
            there = self.listing(folder).get(same_name(file))
            if there is not None:
                return f"{folder}{slash}{there}"
        return None

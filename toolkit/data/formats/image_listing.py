"""Which of many image files are missing, by listing their folders: one look a folder instead of one a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolkit.data.faults.problem_list import ProblemList
from toolkit.errors import Where, did_you_mean


def find_missing_images(root: Path, names: Sequence[str], source: Where, problems: ProblemList) -> None:
    """Adds a problem for every name that is no file below root; a single one when all are missing.

    Args:
        root: folder that the names are relative to.
        names: paths of the images relative to it, with `/`.
        source: the file that names them, for messages.
        problems: takes a problem for every missing file.
    """
    folders: dict[str, frozenset[str]] = {}
    missing = []
    for position, name in enumerate(names):
        folder, _, file = name.rpartition("/")
        if folder not in folders:
            folders[folder] = _listing(root / folder)
        if file not in folders[folder]:
            missing.append((position, name, folder, file))
    if names and len(missing) == len(names):
        first = (root / names[0]).absolute()
        message = f"none of the {len(names)} image files exists; the first was looked for at {first}"
        problems.add("missing image files", source, message, "check root and the folder of the images")
        problems.blame("missing image files", range(len(names)))
        return
    for position, name, folder, file in missing:
        near = did_you_mean(file, folders[folder]) if problems.wants_more("missing image files") else ""
        near = near if near.startswith("did") else ""
        with problems.about(position):
            problems.add("missing image files", source, f"image file {(root / name).absolute()} does not exist", near)


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names only, and a million of them
    except OSError:
        return frozenset()

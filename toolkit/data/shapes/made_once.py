"""A folder of synthetic data: made whole or not at all, and known again by what it was made from."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import DataError, Problem, missing_path

Write = Callable[[Path], None]


def made_folder(
    root: Path, file: str, recipe: Mapping[str, Any], write: Write | None, counts: Mapping[str, int]
) -> None:
    """Sees to it that `root` holds what the recipe says; where it is missing or empty it is made, unless `write` is None.

    Args:
        root: the data set's folder, which is whole or absent.
        file: name of the file in it that keeps the recipe ("shapes.json").
        recipe: everything that the data follow from, as JSON; its key "maker" counts up when the same recipe would
            make other data.
        write: fills a new folder; the recipe is written after it.
        counts: number of files whose names begin with a digit, by the folder below `root` that must hold as many.

    Raises:
        DataError: a folder that is missing, cannot be written, was made from something else, or lacks files.
    """
    if write is not None and (not root.exists() or (root.is_dir() and not any(root.iterdir()))):
        _make(root, file, recipe, write)
    if not root.is_dir():
        raise DataError(missing_path("folder", root, "", "make: true makes it"))
    _verify(root, file, recipe, counts)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as compact JSON with a line break at its end."""
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def _make(root: Path, file: str, recipe: Mapping[str, Any], write: Write) -> None:
    """Makes the files in a temporary folder beside `root` and renames it; of several processes the first one wins."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise DataError(Problem(root, f"cannot be made here: {error.strerror}")) from None
    try:
        write(made)
        write_json(made / file, recipe)
        made.chmod(0o755)  # mkdtemp keeps others out
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        if not root.exists():
            os.replace(made, root)  # noqa: PTH105 - Path.replace, without its return value, reads as a text method
    except OSError as error:
        if not (root / file).is_file():
            raise DataError(Problem(root, f"cannot be made here: {error.strerror}")) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _verify(root: Path, file: str, recipe: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    path, remedy = root / file, "remove the folder to have it made again, or choose another root"
    if not path.is_file():
        kind = Path(file).stem
        raise DataError(Problem(root, f"exists, but holds no {file}: it is no set of {kind}", remedy))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(Problem(path, "is unreadable", remedy)) from None
    differ = [f"{key} {found.get(key)!r} (wanted {recipe[key]!r})" for key in recipe if found.get(key) != recipe[key]]
    if differ:
        raise DataError(Problem(root, f"was made with other parameters: {', '.join(differ)}", remedy))
    for place, count in counts.items():
        have = len(list((root / place).glob("[0-9]*.*")))
        if have != count:
            raise DataError(Problem(root / place, f"holds {have} files instead of {count}", remedy))

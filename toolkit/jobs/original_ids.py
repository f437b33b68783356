"""The numbers that other files have for what is predicted: labels in masks, values in maps, ids of images in annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.formats.label_values import label_reader
from toolkit.errors import ConfigError, DataError, Problem, missing_path
from toolkit.jobs.restore import Restored
from toolkit.labels import IGNORE_INDEX


def original_ids(restored: Restored | None) -> np.ndarray:
    """(256,) int64: the value that the training's mask files have for each label.

    Pixels of no class get the value that the files have for pixels to ignore, where that is exactly one; else the largest byte
    that means no class, mostly 255.

    Raises:
        ConfigError: the weights do not say what the files' values were, or several values are one label.
    """
    config = restored.config if restored is not None else None
    if restored is None or config is None:
        raise _unknown("the model was built in Python", "take the weights of a training")
    if isinstance(config.data.classes, dict):
        message = "data.classes chose and merged classes by name, so labels are not those of the files"
        raise _unknown(message, "leave it out; classes.csv says what the masks hold")
    arguments = config.data.train.dataset.arguments
    table = arguments.get("label_values")
    if table is None:
        name = config.data.train.dataset.name
        message = f"the data set '{name}' of the training has no label_values: its files hold labels, or its own table"
        raise _unknown(message, "leave it out; classes.csv says what the masks hold")
    names = restored.model.classes
    reader = label_reader(names, table)
    values = np.full(256, -1, np.int64)
    problems = []
    for label in [*range(len(names)), IGNORE_INDEX]:
        found = reader.values_of(label)
        if len(found) == 1:
            values[label] = found[0]
        elif label != IGNORE_INDEX:
            message = f"label {label} ({names[label]}) is {len(found)} values of the files ({_few(found)})"
            problems.append(Problem("--original-ids", message, "leave it out; classes.csv says what the masks hold"))
    if problems:
        raise ConfigError(problems)
    if values[IGNORE_INDEX] < 0:
        values[IGNORE_INDEX] = max(set(range(256)) - set(values.tolist()))
    values[values < 0] = values[IGNORE_INDEX]
    return values


def scale_of_values(restored: Restored | None) -> float | None:
    """The value of the number 1 in the training's maps of whole numbers (`image_maps`); None where they say none."""
    config = restored.config if restored is not None else None
    scale = config.data.train.dataset.arguments.get("scale") if config is not None else None
    return float(scale) if isinstance(scale, (int, float)) and scale not in (0, 1) else None


def image_ids_of(path: str | Path, names: Sequence[str], files: Sequence[Path | None] = ()) -> dict[str, Any]:
    """The ids that a COCO file has for pictures: {name: id}, found by the whole name, or the file's alone.

    Where several images of the file are called alike in other folders, the one is meant whose name the picture's path ends with.

    Args:
        path: file of annotations; only its `images` are read.
        names: places of the pictures below the folder that was named.
        files: paths of the pictures, as many as names; None for one in memory.

    Raises:
        DataError: no JSON with `images`, or pictures that it does not name, or names twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(missing_path("file", path, "--annotations"))
    try:
        rows = json.loads(path.read_bytes())["images"]
        whole = {str(row["file_name"]): row["id"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        message = f"is no file of COCO: wanted 'images' with 'id' and 'file_name' ({error})"
        raise DataError(Problem(path, message)) from error
    ends: dict[str, list[str]] = {}
    for name in whole:
        ends.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, Any] = {}
    missing: list[str] = []
    several: list[str] = []
    for name, file in zip_longest(names, files):
        called = [name] if name in whole else ends.get(name.rpartition("/")[2], [])
        if len(called) > 1 and file is not None:
            called = [one for one in called if f"/{file.resolve().as_posix()}".endswith(f"/{one}")] or called
        if len(called) == 1:
            found[name] = whole[called[0]]
        else:
            (several if called else missing).append(name)
    told = [("names no image for", missing), ("names more than one image for", several)]
    problems = [Problem(path, f"{what} {len(those)} pictures: {_some(those)}") for what, those in told if those]
    if problems:
        raise DataError(problems)
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _few(values: np.ndarray) -> str:
    return ", ".join(map(str, values[:4].tolist())) + (" ..." if len(values) > 4 else "")


def _unknown(message: str, remedy: str) -> ConfigError:
    return ConfigError(Problem("--original-ids", message, remedy))

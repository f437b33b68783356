"""Synthetic sequences: data for nets that look at the past, with no download."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from toolkit.bounds import NonNegativeInt, PositiveInt
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.formats.pairs import name_in
from toolkit.data.images.label_maps import read_label_map
from toolkit.data.images.read import read_image
from toolkit.data.seeds import mix
from toolkit.data.shapes.made_once import made_folder
from toolkit.data.shapes.sequences import GLIDES, Sequences, automaton, glide, parity
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.labels import default_palette
from toolkit.samples import Sample

_LOG = logging.getLogger(__name__)

RECIPE_FILE = "sequences.json"
_MAKER = 1
"""Counts up when the same recipe would make other sequences."""

_CLASSES = {"parity": ("equal", "different"), "automaton": ("zero", "one"), "glides": tuple(GLIDES)}


@DATASETS.register("sequences")
class SyntheticSequences(Dataset):
    """Sequences as pictures: every row is one, read from left to right; a step is a pixel, its numbers are channels.

    A folder that was made with other arguments is refused. What is made:

        ROOT/train/0000.png   ROOT/train/labels/0000.png (a class a step)   or   ROOT/train/rising/0000.png

    Args:
        root: where the files are, or are to be made (which takes seconds).
        split: the part that is read, each with sequences of its own.
        task: "parity" asks at every step whether its bit is that of `delay` steps before; "automaton" asks of every
            pixel for its own value, which the row above decides (Wolfram's rule 30); "glides" asks of a whole sequence
            of three bands in which order a tone runs through them, at whatever time.
        make: whether the files are made when the folder is missing or empty.
        count_train: number of pictures that are made for training.
        count_val: number of pictures that are made for validation.
        rows: sequences of a picture, one a row; of glides there is always one.
        steps: length of every sequence in pixels, above the delay, and at least 12.
        delay: steps from a bit to the one that it is compared with, for "parity".
        seed: number that all sequences follow from; another one gives others.

    Raises:
        ConfigError: sequences that are shorter than the delay, or than 12 steps.
        DataError: a folder that cannot be made, or that was made otherwise.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val"],
        task: Literal["parity", "automaton", "glides"] = "parity",
        make: bool = True,
        count_train: PositiveInt = 400,
        count_val: PositiveInt = 100,
        rows: PositiveInt = 8,
        steps: PositiveInt = 128,
        delay: PositiveInt = 40,
        seed: NonNegativeInt = 0,
    ) -> None:
        if steps < 12 or (task == "parity" and steps <= delay):
            message = f"{steps} steps; wanted at least 12, and more than the delay"
            raise ConfigError(Problem("steps", message))
        self.root, self.split, self.task = Path(root), split, task
        self.classes, self.palette = _CLASSES[task], default_palette(len(_CLASSES[task]))
        self.channels = 3 if task == "glides" else 1
        counts = {"train": count_train, "val": count_val}
        recipe = {
            "maker": _MAKER,
            "task": task,
            "counts": counts,
            "rows": 1 if task == "glides" else rows,
            "steps": steps,
            "delay": delay if task == "parity" else None,
            "seed": seed,
        }
        folders = (
            {} if task == "glides" else {f"{part}{sub}": n for part, n in counts.items() for sub in ("", "/labels")}
        )
        made_folder(self.root, RECIPE_FILE, recipe, (lambda folder: _write(folder, recipe)) if make else None, folders)
        self.items = _items(self.root / split, self.classes if task == "glides" else ())

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        path, label = self.items[index]
        image = read_image(path, self.channels)
        sample = Sample(image, name_in(self.root, path), index, image.shape[:2])
        if label is not None:
            return sample._replace(image_label=label)
        mask = self.files(index)[1]
        label_map = read_label_map(mask)
        if label_map.shape != image.shape[:2]:
            raise DataError(Problem(mask, f"is {label_map.shape}, its picture {image.shape[:2]}"))
        return sample._replace(label_map=label_map)

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture and, where every step has a class, the picture of those."""
        path, label = self.items[index]
        return (path,) if label is not None else (path, path.parent / "labels" / path.name)

    def describe(self) -> str:
        """The task, the number of pictures, where they are, and the classes."""
        return f"{self.task} {self.split}: {len(self)} pictures of sequences in {self.root}, classes {', '.join(self.classes)}"


def _items(folder: Path, classes: tuple[str, ...]) -> tuple[tuple[Path, int | None], ...]:
    """Pictures with the class of each, or with None where every step has one."""
    if not classes:
        return tuple((path, None) for path in sorted(folder.glob("*.png")))
    found = [(path, label) for label, name in enumerate(classes) for path in (folder / name).glob("*.png")]
    return tuple(sorted(found, key=lambda item: item[0].name))


def _write(root: Path, recipe: dict[str, Any]) -> None:
    _LOG.info("making %d pictures of sequences", sum(recipe["counts"].values()))
    for number, (split, count) in enumerate(recipe["counts"].items()):
        for index in range(count):
            made = _draw(recipe, np.random.default_rng(mix(recipe["seed"], number, index)))
            folder = root / split / (_CLASSES["glides"][made.label] if made.label is not None else "")
            _save(folder / f"{index:04d}.png", made.image)
            if made.label_map is not None:
                _save(folder / "labels" / f"{index:04d}.png", made.label_map)


def _draw(recipe: dict[str, Any], rng: np.random.Generator) -> Sequences:
    rows, steps = recipe["rows"], recipe["steps"]
    if recipe["task"] == "parity":
        return parity(rng, rows, steps, recipe["delay"])
    return automaton(rng, rows, steps) if recipe["task"] == "automaton" else glide(rng, steps)


def _save(path: Path, picture: np.ndarray) -> None:
    """Writes RGB or gray pixels as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", picture[..., ::-1] if picture.shape[2:] == (3,) else picture)
    path.write_bytes(encoded.tobytes())

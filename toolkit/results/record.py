"""The record of an evaluation: what was counted for each image, and every number made of it, in a folder on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import DataError, Problem, missing_path
from toolkit.files import replacing
from toolkit.results.image_rows import ImageRow, in_order, joined, taken

FORMAT = 1
"""Number of the disk format: metrics.json says it, and a reader refuses others."""
NUMBERS_FILE, ARRAYS_FILE = "metrics.json", "record.npz"
_OWN = "record_"
"""How the names of those arrays in record.npz begin that hold names, ids, sizes, groups and tags."""


@dataclass(frozen=True)
class Record:
    """What an evaluation counted, for N images in the order of their names.

    On disk it is `metrics.json` (`about` and `numbers`) and `record.npz` (all else).

    Args:
        about: what was measured and how, plain JSON: `task` ("segmentation", "detection", "classification" or
            "values"), `classes`, `palette`, `split`, `metric`, `weights` (sha256 of the tensors), `options`,
            `checkpoint`, `command`, `environment`, `excluded` classes, `groups` (how they were made).
        images: N names relative to the data set's root, with `/`.
        image_ids: (N,) int64, the annotation file's, or places in the data set.
        sizes: (N, 2) int64 height and width in pixels.
        groups: N names; images that belong together have the same, and are drawn together.
        tags: {tag: N values} that the numbers are also given for.
        arrays: {name: array} of what was counted, see `image_rows`.
        numbers: {section: plain JSON} of what is made of the arrays: `metrics`, `intervals`, `baseline` ...
    """

    about: Mapping[str, Any]
    images: tuple[str, ...]
    image_ids: np.ndarray
    sizes: np.ndarray
    groups: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(rows: Sequence[ImageRow], about: Mapping[str, Any]) -> Record:
        """The record of some images, each in a group of its own. Raises DataError when an image comes twice."""
        rows = in_order(rows)
        seen: set[tuple[str, int]] = set()
        for row in rows:
            if (row.name, row.image_id) in seen:
                raise DataError(Problem(row.name, "was evaluated twice: it would count twice"))
            seen.add((row.name, row.image_id))
        names = tuple(row.name for row in rows)
        return Record(
            about,
            names,
            np.array([row.image_id for row in rows], np.int64),
            np.array([row.size for row in rows], np.int64).reshape(-1, 2),
            names,
            arrays=joined(rows),
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of labels 0..K-1."""
        return tuple(self.about["classes"])

    @property
    def group_numbers(self) -> np.ndarray:
        """(N,) int64: the groups as numbers from 0 on, in the order they first occur."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(self.groups))}
        return np.array([numbers[name] for name in self.groups], np.int64)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Pixels of each image by truth (rows) and prediction (columns, the last "no class"): (N, K, K + 1) int64.

        Made anew from the sparse `confusion_cells` and `confusion_pixels`; 5,000 images of 150 classes take 0.9 GB, so
        what needs no single cells takes `class_pixels`. Raises KeyError for a record of another task.
        """
        count = len(self.classes)
        dense = np.zeros((len(self), count * (count + 1)), np.int64)
        dense[self._image_of_cell(), self.arrays["confusion_cells"]] = self.arrays["confusion_pixels"]
        return dense.reshape(len(self), count, count + 1)

    @cached_property
    def class_pixels(self) -> np.ndarray:
        """Pixels of each image and class: right, true, predicted: (N, 3, K) int64. IoU, Acc and Dice need no more."""
        count = len(self.classes)
        images, pixels = self._image_of_cell(), self.arrays["confusion_pixels"]
        true, predicted = np.divmod(self.arrays["confusion_cells"].astype(np.int64), count + 1)
        counted = np.zeros((3, len(self) * (count + 1)), np.int64)
        of_truth, right = images * (count + 1) + true, true == predicted
        np.add.at(counted[0], of_truth[right], pixels[right])
        np.add.at(counted[1], of_truth, pixels)
        np.add.at(counted[2], images * (count + 1) + predicted, pixels)
        return counted.reshape(3, len(self), count + 1).transpose(1, 0, 2)[:, :, :count]

    def _image_of_cell(self) -> np.ndarray:
        return np.repeat(np.arange(len(self)), self.arrays["confusion_counts"])

    def take(self, places: Sequence[int] | np.ndarray) -> Record:
        """The record of some of its images, in that order, without the numbers, which were those of all."""
        chosen = np.asarray(places, np.int64).reshape(-1)
        tags = {tag: tuple(values[place] for place in chosen) for tag, values in self.tags.items()}
        return Record(
            self.about,
            tuple(self.images[place] for place in chosen),
            self.image_ids[chosen],
            self.sizes[chosen],
            tuple(self.groups[place] for place in chosen),
            tags,
            taken(self.arrays, chosen),
        )

    def with_numbers(self, **sections: Any) -> Record:
        """The same record with some sections of `numbers` set or replaced."""
        return replace(self, numbers={**self.numbers, **sections})

    def write(self, folder: str | Path) -> None:
        """Writes both files. Each appears whole; metrics.json comes last and knows its record.npz by digest.

        Raises UserError when the disk refuses, ValueError for numbers that are not finite.
        """
        folder = Path(folder)
        with replacing(folder / ARRAYS_FILE, durable=False) as part, part.open("wb") as file:
            # Numbers alone: NumPy before 2.2 would take `allow_pickle` for one of the arrays.
            arrays: dict[str, Any] = {**self._own_arrays(), **self.arrays}
            np.savez_compressed(file, **arrays)
        digest = _digest(folder / ARRAYS_FILE)
        self._write_numbers(folder, digest)

    def write_numbers(self, folder: str | Path) -> None:
        """Writes metrics.json alone, beside the record.npz that this record was read from."""
        self._write_numbers(Path(folder), _digest(Path(folder) / ARRAYS_FILE))

    def _write_numbers(self, folder: Path, digest: str) -> None:
        value = {"format": FORMAT, "arrays": digest, "about": dict(self.about), **self.numbers}
        with replacing(folder / NUMBERS_FILE, durable=False) as part:
            part.write_bytes(_json_bytes(value))

    def _own_arrays(self) -> dict[str, np.ndarray]:
        texts = {"images": self.images, "groups": self.groups} | {f"tag_{tag}": v for tag, v in self.tags.items()}
        arrays = {name: np.array(values, np.str_) for name, values in texts.items()}
        arrays |= {"image_ids": self.image_ids, "sizes": self.sizes}
        return {_OWN + name: array for name, array in arrays.items()}

    @staticmethod
    def read(folder: str | Path) -> Record:
        """The record in a folder. Raises DataError when it is missing, damaged, or of two evaluations."""
        folder = Path(folder)
        for name in (NUMBERS_FILE, ARRAYS_FILE):
            if not (folder / name).is_file():
                raise DataError(missing_path("file", folder / name, "", "make it with `toolkit evaluate`"))
        value = read_numbers(folder / NUMBERS_FILE)
        if value.pop("arrays") != _digest(folder / ARRAYS_FILE):
            message = f"belongs to another {ARRAYS_FILE} than the one beside it"
            raise DataError(Problem(folder / NUMBERS_FILE, message, "evaluate again"))
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        own = {name.removeprefix(_OWN): arrays.pop(name) for name in list(arrays) if name.startswith(_OWN)}
        texts = {name: tuple(array.tolist()) for name, array in own.items() if array.dtype.kind == "U"}
        tags = {name.removeprefix("tag_"): values for name, values in texts.items() if name.startswith("tag_")}
        about = value.pop("about")
        return Record(
            about, texts["images"], own["image_ids"], own["sizes"], texts["groups"], tags, arrays, value
        )  # fmt: skip


def _json_bytes(value: Any) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_numbers(file: Path) -> dict[str, Any]:
    """What metrics.json says: "about", "arrays" and every section of numbers. Raises DataError for any other file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(Problem(file, f"cannot be read as JSON ({error})", "evaluate again")) from error
    found = value.pop("format", None) if isinstance(value, dict) else None
    if found != FORMAT or not isinstance(value.get("about"), dict) or "arrays" not in value:
        message = f"is not the record of an evaluation in format {FORMAT}, or was written by another version"
        raise DataError(Problem(file, message, "evaluate again"))
    return value


def _digest(file: Path) -> str:
    return blake2b(file.read_bytes(), digest_size=16).hexdigest()

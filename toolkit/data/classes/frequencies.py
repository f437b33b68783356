"""How common each class is in a training set, and the class weights that follow (median frequency balancing).

A training set is counted once: its counts are kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.errors import DataError, Problem, UserError
from toolkit.files import cache_folder, replacing
from toolkit.ops.confusion import count_labels
from toolkit.samples import IGNORE_INDEX

Definition = Literal["per_image_all_pixels", "per_image", "global"]


class ClassCounts(NamedTuple):
    """Pixels of a set of label maps, all (K,) int64.

    Args:
        pixels: (K,) int64 pixels of each class in all images.
        images: (K,) int64 number of images that hold the class.
        labelled_around: (K,) int64 labelled (not ignored) pixels of the images that hold it.
        all_around: (K,) int64 pixels of the images that hold it, ignored ones too.
    """

    pixels: np.ndarray
    images: np.ndarray
    labelled_around: np.ndarray
    all_around: np.ndarray


def class_counts(dataset: Dataset) -> ClassCounts:
    """Counts over a data set's label maps. Raises DataError when a sample has none, or a label is no class."""
    return count_classes(_label_maps(dataset), len(dataset.classes))


def count_classes(label_maps: Iterable[np.ndarray], num_classes: int) -> ClassCounts:
    """Counts over (H, W) uint8 label maps. Raises DataError for a label that is neither a class nor `IGNORE_INDEX`.

    >>> counts = count_classes([np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 0, 0, 0]], np.uint8)], 2)
    >>> counts.pixels.tolist(), counts.images.tolist(), counts.all_around.tolist()
    ([6, 1], [2, 1], [8, 4])
    """
    totals = np.zeros((4, num_classes), np.int64)
    for position, label_map in enumerate(label_maps):
        counts = count_labels(label_map)
        extra = [label for label in np.flatnonzero(counts[:IGNORE_INDEX]) if label >= num_classes]
        if extra:
            problem = f"holds labels {', '.join(map(str, extra))}, but labels are 0..{num_classes - 1}"
            raise DataError(Problem(f"label map {position}", problem))
        classes = counts[:num_classes]
        held = classes > 0
        totals += np.stack([classes, held, held * classes.sum(), held * label_map.size])
    return ClassCounts(*totals)


def median_frequency_weights(counts: ClassCounts, definition: Definition = "per_image_all_pixels") -> list[float]:
    """Weight of each class: the median of all frequencies over its own (Eigen and Fergus 2015, section 6.3.2).

    What a class's frequency is, authors read differently:

    * `per_image_all_pixels`: its pixels over all pixels of the images that hold it (Eigen and Fergus; SegNet's text).
    * `per_image`: the same without the ignored pixels.
    * `global`: its pixels over all labelled pixels.

    A class that never occurs enters no median and gets the weight 1. Raises DataError when no class occurs.

    >>> counts = count_classes([np.array([[0, 0, 0, 1]], np.uint8)], 3)  # class 2 never occurs
    >>> [round(weight, 3) for weight in median_frequency_weights(counts)]
    [0.667, 2.0, 1.0]
    """
    whole = {
        "per_image_all_pixels": counts.all_around,
        "per_image": counts.labelled_around,
        "global": np.full_like(counts.pixels, counts.pixels.sum()),
    }[definition]
    occurs = counts.pixels > 0
    if not occurs.any():
        raise DataError("class weights cannot be computed: every pixel of the training set is ignored")
    frequency = counts.pixels[occurs] / whole[occurs]
    weights = np.ones(len(occurs))
    weights[occurs] = np.median(frequency) / frequency
    return weights.tolist()


SOFT_LIMIT = 10.0
"""The largest of `softened_weights`."""

FAR_APART = 50.0
"""A ratio of class weights from which on a few pixels of one class move the net more than whole images of another."""


def softened_weights(weights: Sequence[float]) -> list[float]:
    """Square roots of class weights, at most `SOFT_LIMIT`, of four digits: the same order, with less between them.

    >>> softened_weights([0.25, 1.0, 400.0])
    [0.5, 1.0, 10.0]
    """
    return [float(f"{min(weight**0.5, SOFT_LIMIT):.4g}") for weight in weights]


def weight_ratio(weights: Sequence[float]) -> float:
    """The largest weight over the smallest that is not zero; 1 when there is none.

    >>> weight_ratio([0.5, 100.0, 0.0])
    200.0
    """
    positive = [weight for weight in weights if weight > 0]
    return max(positive) / min(positive) if positive else 1.0


def _label_maps(dataset: Dataset) -> Iterator[np.ndarray]:
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.label_map is None:
            raise DataError(Problem(sample.name, "has no label map, from which class weights could be computed"))
        yield sample.label_map


log = logging.getLogger(__name__)

DEFINITIONS: dict[str, Definition] = {
    "median_frequency": "per_image_all_pixels",
    "median_frequency_labelled": "per_image",
    "median_frequency_global": "global",
}
"""What a config may call them, and what each is for `median_frequency_weights`."""


class ComputedWeights:
    """Class weights of a data set by name.

    Counting reads every label map. Its result is kept in the user's cache folder (`toolkit.files.cache_folder`) when the data set
    shows its mask files (`Dataset.files`), by their paths, sizes and times, and by how they are read; nothing is
    ever written into the data folder, and a cache that cannot be written is done without.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._counts: ClassCounts | None = None

    def of(self, name: str) -> list[float]:
        """Four digits that count of each class's weight. Raises DataError for unreadable or unlabelled data."""
        if self._counts is None:
            self._counts = cached_counts(self.dataset)
        weights = median_frequency_weights(self._counts, DEFINITIONS[name])
        return [float(f"{weight:.4g}") for weight in weights]


def cached_counts(dataset: Dataset) -> ClassCounts:
    """`class_counts`, from the cache when the same files were counted before."""
    path = cache_file(dataset, "class_counts", ".json")
    known = _read(path, len(dataset.classes)) if path else None
    if known is not None:
        return known
    log.info("counting the pixels of each class in %d label maps", len(dataset))
    counts = class_counts(dataset)
    if path:
        _write(path, counts)
    return counts


def cache_file(dataset: Dataset, kind: str, suffix: str) -> Path | None:
    """A name made of everything an answer about all label maps depends on; None for data that does not show its files.

    Args:
        dataset: the data set, whose class, arguments and mask files count.
        kind: folder in the user's cache, one for each kind of answer.
        suffix: end of the file's name, such as ".json".
    """
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(pickle.dumps(dataset))
    try:
        for index in range(len(dataset)):
            annotation = dataset.files(index)[1:]
            if not annotation:
                return None
            status = annotation[0].stat()
            digest.update(f"{annotation[0].absolute()} {status.st_size} {status.st_mtime_ns}\n".encode())
    except OSError:  # reading will say what is wrong with it
        return None
    return folder / kind / f"{digest.hexdigest()[:32]}{suffix}"


def _read(path: Path, num_classes: int) -> ClassCounts | None:
    try:
        rows = np.array(json.loads(path.read_text(encoding="utf-8")), np.int64)
    except (OSError, ValueError, TypeError):
        return None
    return ClassCounts(*rows) if rows.shape == (len(ClassCounts._fields), num_classes) else None


def _write(path: Path, counts: ClassCounts) -> None:
    with suppress(UserError), replacing(path, durable=False) as part:
        part.write_text(json.dumps([row.tolist() for row in counts]), encoding="utf-8")

"""How common each class is in a training set, and the class weights that follow (median frequency balancing)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.errors import DataError, Problem
from toolkit.ops.confusion import count_labels
from toolkit.samples import IGNORE_INDEX

Definition = Literal["per_image_all_pixels", "per_image", "global"]


class ClassCounts(NamedTuple):
    """Pixels of a set of label maps, all (K,) int64.

    pixels: of each class. images: how many images hold it. labelled_around: labelled (not ignored) pixels of the images
    that hold it. all_around: all pixels of those images.
    """

    pixels: np.ndarray
    images: np.ndarray
    labelled_around: np.ndarray
    all_around: np.ndarray


def class_counts(dataset: Dataset) -> ClassCounts:
    """Counts over a data set's label maps. Raises DataError when a sample has none, or a label is no class."""
    return count_classes(_label_maps(dataset), len(dataset.classes))


def count_classes(label_maps: Iterable[np.ndarray], num_classes: int) -> ClassCounts:
    """Counts over (H, W) uint8 label maps. Raises DataError for a label that is neither a class nor `IGNORE_INDEX`."""
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


def _label_maps(dataset: Dataset) -> Iterator[np.ndarray]:
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.label_map is None:
            raise DataError(Problem(sample.name, "has no label map, from which class weights could be computed"))
        yield sample.label_map

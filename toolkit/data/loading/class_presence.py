"""Which classes each image of a training set holds: from its boxes, or from its label maps, read once."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.classes.frequencies import cache_file
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import DetectionIndex
from toolkit.errors import DataError, Problem, UserError
from toolkit.files import replacing
from toolkit.samples import IGNORE_INDEX, Sample

log = logging.getLogger(__name__)


def class_presence(dataset: Dataset) -> np.ndarray:
    """(N, K) bool: image i holds class c. Crowd regions and ignored pixels hold nothing.

    Box data sets know it; label maps are all read, once: the answer is kept in the user's cache folder as the counts of
    `frequencies.py` are. Raises DataError for data without classes, or a label that is no class.
    """
    if isinstance(dataset, BoxDataset):
        return _of_boxes(dataset.index, len(dataset.classes))
    path = cache_file(dataset, "class_presence", ".npy")
    known = _read(path, (len(dataset), len(dataset.classes))) if path else None
    if known is not None:
        return known
    log.info("looking for the classes of %d images", len(dataset))
    found = _of_samples(dataset)
    if path:
        _write(path, found)
    return found


def _of_boxes(index: DetectionIndex, num_classes: int) -> np.ndarray:
    found = np.zeros((len(index), num_classes), bool)
    owners = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    kept = ~index.crowd
    found[owners[kept], index.labels[kept]] = True
    return found


def _of_samples(dataset: Dataset) -> np.ndarray:
    found = np.zeros((len(dataset), len(dataset.classes)), bool)
    for row in range(len(dataset)):
        sample = dataset[row]
        labels = _labels(sample)
        if labels.size and labels.max() >= found.shape[1]:
            message = f"holds label {labels.max()}, but labels are 0..{found.shape[1] - 1}"
            raise DataError(Problem(sample.name, message))
        found[row, labels] = True
    return found


def _labels(sample: Sample) -> np.ndarray:
    if sample.label_map is not None:
        return np.setdiff1d(np.flatnonzero(np.bincount(sample.label_map.ravel(), minlength=256)), [IGNORE_INDEX])
    if sample.boxes is not None:
        return np.unique(sample.boxes.labels[~sample.boxes.crowd])
    if sample.image_label is not None:
        return np.array([sample.image_label])
    message = "has neither label map, boxes nor label: there are no classes to sample by"
    raise DataError(Problem(sample.name, message, "set data.sampling: uniform"))


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == bool else None


def _write(path: Path, found: np.ndarray) -> None:
    with suppress(UserError), replacing(path, durable=False) as part, part.open("wb") as file:
        np.save(file, found)

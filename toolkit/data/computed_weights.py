"""Class weights that follow from a training set, counted once: the counts are kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.frequencies import ClassCounts, Definition, class_counts, median_frequency_weights
from toolkit.errors import UserError
from toolkit.files import cache_folder, replacing

log = logging.getLogger(__name__)

DEFINITIONS: dict[str, Definition] = {
    "median_frequency": "per_image_all_pixels",
    "median_frequency_labelled": "per_image",
    "median_frequency_global": "global",
}
"""What a config may call them, and the definition in `frequencies.py`."""


class ComputedWeights:
    """Class weights of a data set by name.

    Counting reads every label map. Its result is kept in the user's cache folder (`toolkit.files.cache_folder`) when the data set
    has mask files (an attribute `pairs`), by their paths, sizes and times, and by how they are read; nothing is
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

    kind: folder in the user's cache.
    """
    pairs = getattr(dataset, "pairs", None)
    folder = cache_folder()
    if not pairs or folder is None:
        return None
    digest = hashlib.sha256(pickle.dumps(dataset))
    try:
        for pair in pairs:
            if not hasattr(pair, "mask"):
                return None
            status = pair.mask.stat()
            digest.update(f"{pair.mask.absolute()} {status.st_size} {status.st_mtime_ns}\n".encode())
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

"""The page of a check, written where the user asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import DetectionIndex
from toolkit.data.images.read import image_size
from toolkit.errors import UserError
from toolkit.jobs.data_folders import data_folders
from toolkit.labels import ClassTable
from toolkit.preflight.data.files import image_paths
from toolkit.preflight.findings import Report
from toolkit.report.check.page import Marks, check_page
from toolkit.report.page import write_page
from toolkit.report.thumbnails import Mark


def write_check_page(
    report: Report, path: Path, config: Config, table: ClassTable | None, datasets: Mapping[str, Dataset]
) -> Path:
    """Writes the page of a report. Raises UserError when it cannot be written, or would lie in a data folder.

    table, datasets: what could be built of them.
    """
    names = table.names if table is not None else ()
    palette = table.palette if table is not None else ()
    text = check_page(report, config.name or "check", names, palette, _marks(datasets, names))
    return write_page(path, text, data_folders(config, datasets))


def _marks(datasets: Mapping[str, Dataset], names: tuple[str, ...]) -> Marks:
    """The boxes of an image of a detection data set."""
    places: dict[str, tuple[DetectionIndex, int]] = {}
    for dataset in datasets.values():
        if isinstance(dataset, BoxDataset):
            places.update({str(path.absolute()): (dataset.index, i) for i, path in enumerate(image_paths(dataset))})

    def marks(path: str) -> list[Mark]:
        if path not in places:
            return []
        index, position = places[path]
        try:
            size = image_size(path)
        except UserError:
            return []
        boxes = index.boxes(position, size)
        labels = np.asarray(boxes.labels).tolist()
        words = [names[label] if label < len(names) else str(label) for label in labels]
        return [Mark(tuple(xyxy), word) for xyxy, word in zip(np.asarray(boxes.xyxy).tolist(), words, strict=True)]

    return marks

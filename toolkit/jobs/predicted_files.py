"""Predictions of an evaluation as files beside its record: label maps as pictures, and as COCO results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.contracts import Dataset
from toolkit.data.writers.masks import encode_mask
from toolkit.drawing import full_palette
from toolkit.engine.process import gathered
from toolkit.inference.writers.base import write_whole
from toolkit.inference.writers.names import output_stems
from toolkit.jobs.record import write_results
from toolkit.labels import ClassTable
from toolkit.samples import LabelMap, Prediction, Truth

MASKS_FOLDER = "masks"


class PredictedFiles:
    """Writes what it is handed; each process its share of the images.

    Args:
        folder: folder of the record, which the files go to.
        classes: names, colours and, for COCO results, ids of the classes.
        masks: whether label maps are written as pictures into `masks/`.
        dataset: what is measured; where its files have ids of classes, label maps become entries of `results.json`.
    """

    def __init__(self, folder: Path, classes: ClassTable, masks: bool, dataset: Dataset) -> None:
        self.folder, self.masks = folder, masks
        self.classes = ClassTable(classes.names, classes.palette, tuple(dataset.category_ids) or classes.ids)
        self.colors = full_palette(classes.palette, len(classes.names))
        self.with_entries = bool(dataset.category_ids)
        self.entries: list[dict[str, Any]] = []
        self.seen = False
        names = [name for place in range(len(dataset) if masks else 0) if (name := _name(dataset, place)) is not None]
        self.stems = dict(zip(names, output_stems(names, [".png"]), strict=True))

    def add(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Writes or keeps the label maps among some images' predictions."""
        for prediction, truth in zip(predictions, truths, strict=True):
            if not isinstance(prediction, LabelMap):
                continue
            self.seen = True
            if self.masks:
                path = self.folder / MASKS_FOLDER / f"{self.stems.get(truth.name) or _stem(truth.name)}.png"
                write_whole(path, encode_mask(prediction.numpy(), self.colors))
            if self.with_entries:
                self.entries += prediction.of_classes(self.classes).to_coco(truth.image_id)

    def finish(self, fabric: Any) -> None:
        """Writes `results.json` of all processes' label maps, by the first of them."""
        if not self.with_entries:
            return
        entries = [entry for share in gathered(fabric, self.entries) for entry in share]
        if fabric.is_global_zero and (entries or self.seen):
            entries.sort(key=lambda entry: (entry["image_id"], entry["category_id"]))
            write_results(self.folder, entries)


def _name(dataset: Dataset, place: int) -> str | None:
    """Name of an image as its sample has it; None for a data set that does not show its files."""
    files = dataset.files(place)
    return Path(os.path.relpath(files[0], dataset.root)).as_posix() if files else None


def _stem(name: str) -> str:
    """The path of an image without suffix, below the folder whatever the name is."""
    return output_stems([name.lstrip("/").replace("../", "")])[0]

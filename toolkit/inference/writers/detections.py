"""Detections as files of `predict`: COCO results, and labels of YOLO, VOC and LabelMe, by the writers of annotations."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from toolkit.coco_results import box_entries
from toolkit.data.formats.outlines import Outline
from toolkit.data.writers.annotated import Annotated, Losses
from toolkit.data.writers.labelme import labelme_json, shapes_of_label_map
from toolkit.data.writers.voc import voc_xml
from toolkit.data.writers.yolo import data_yaml, yolo_boxes
from toolkit.drawing import as_rgb
from toolkit.inference.writers.base import TableRow, Writer, json_list, write_lines, write_whole
from toolkit.labels import ClassTable, background_labels
from toolkit.printing import printable
from toolkit.samples import Detections, LabelMap, Prediction


class CocoWriter(Writer):
    """`detections.json` for all images, in COCO's results format.

    A folder of images has no ids, so image_id is the number of the picture in the listing, from 1 on, or what an
    annotation file says; each entry also names its `file` (output stem) and `category`. Category ids are those of the
    training data; else they count from 1.

    Args:
        folder: folder that the file goes to.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class; not used.
        ids: category id of each class in the training data's files; () counts from 1.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (Detections,)
    files: ClassVar[tuple[str, ...]] = ("detections.json",)

    image_ids: Mapping[str, Any] = {}
    """Id of each picture by its stem, where an annotation file has one; the others are numbered."""

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[dict[str, Any]]:
        """The entries of one picture, without its number.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        found = _detections(prediction)
        entries = box_entries(*found.numpy(), image_id=0, classes=self.classes)
        own = {"image_id": self.image_ids.get(stem)}
        return [
            {**entry, **own, "file": printable(stem), "category": self.classes.name_of(label)}
            for entry, label in zip(entries, found.labels.tolist(), strict=True)
        ]

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the file, an entry a line."""
        entries = (
            json.dumps({**entry, "image_id": row.number} if entry["image_id"] is None else entry)
            for row in rows
            for entry in row.cells
        )
        return [write_lines(self.folder / "detections.json", json_list(entries))]


class YoloWriter(Writer):
    """`<stem>.txt`, a training label: class cx cy width height, fractions of the image; and `data.yaml` with the names.

    Args:
        folder: folder that the files go to.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class; not used.
        ids: category id of each class in the data; not used.
    """

    suffix: ClassVar[str] = ".txt"
    takes: ClassVar[tuple[type, ...]] = (Detections,)
    scores: ClassVar[bool] = False

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the label file of one image, empty when nothing was found.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        found = as_annotated(stem, image, _detections(prediction), self.classes)
        text = yolo_boxes(found, self.classes.names, Losses(), scores=self.scores)
        return [write_whole(self.path_of(stem), text.encode())]

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Any]:
        """Nothing of the picture; that there is one, so that the names of the classes are wanted.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        return []

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the names of the classes."""
        return [write_whole(self.folder / "data.yaml", data_yaml(self.classes.names, ()).encode())]


class YoloScoresWriter(YoloWriter):
    """`<stem>.txt` as `yolo` writes it, with the score as last column: what Ultralytics' `save_conf` writes."""

    scores = True


class VocWriter(Writer):
    """`<stem>.xml`, an annotation of Pascal VOC: boxes in whole pixels, and their scores."""

    suffix: ClassVar[str] = ".xml"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the annotation of one image.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        found = as_annotated(stem, image, _detections(prediction), self.classes)
        return [write_whole(self.path_of(stem), voc_xml(found, image.shape[2], Losses()).encode())]


class LabelmeWriter(Writer):
    """`<stem>.json` for LabelMe, to be corrected there: a rectangle a detection, a polygon a region of a label map.

    The picture is inside the file, as a PNG: LabelMe opens it wherever the file lies.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (Detections, LabelMap)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file of one image.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        if isinstance(prediction, LabelMap):
            names = self.classes.names
            behind = next((label for label in background_labels(names) if label == 0), None)
            shapes = shapes_of_label_map(prediction.labels.numpy(), names, behind)
            found = Annotated(f"{stem}.jpg", (image.shape[0], image.shape[1]), shapes)
        else:
            found = as_annotated(stem, image, _detections(prediction), self.classes)
        buffer = io.BytesIO()
        Image.fromarray(as_rgb(image)).save(buffer, "PNG", compress_level=1)
        text = labelme_json(found, Losses(), buffer.getvalue())
        return [write_whole(self.path_of(stem), text.encode())]


def as_annotated(stem: str, image: np.ndarray, detections: Detections, classes: ClassTable) -> Annotated:
    """Detections in the form that writers of annotations take.

    Args:
        stem: output path of the image without suffix.
        image: (H, W, C) uint8 picture as it was read.
        detections: what was found on it, in its pixels.
        classes: names of the labels 0..K-1.
    """
    found = detections.numpy()
    rows = zip(found.boxes.astype(np.float64).tolist(), found.labels.tolist(), strict=True)
    objects = tuple(Outline(classes.name_of(label), box=(x1, y1, x2, y2)) for (x1, y1, x2, y2), label in rows)
    size = (image.shape[0], image.shape[1])
    return Annotated(f"{stem}.jpg", size, objects, scores=tuple(found.scores.astype(np.float64).tolist()))


def _detections(prediction: Prediction) -> Detections:
    if not isinstance(prediction, Detections):
        raise TypeError(f"boxes are written of Detections, not of {type(prediction).__name__}")
    return prediction

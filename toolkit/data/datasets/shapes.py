"""Synthetic scenes of six shapes: data for a first try, with no download, for segmentation and detection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.bounds import NonNegativeInt, PositiveInt, Probability
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import LabelReader
from toolkit.data.formats.pairs import find_pairs, name_in, read_pair
from toolkit.data.images.read import read_image
from toolkit.data.shapes.files import Recipe, make_shapes
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.samples import Boxes, Sample


@DATASETS.register("shapes")
class Shapes(Dataset):
    """Textured circles, squares, triangles, rings, rods and stars, hiding parts of one another.

    A folder that was made with other counts, sizes or seeds is refused. What is made:

        ROOT/images/train/0000.jpg   ROOT/masks/train/0000.png   ROOT/annotations/instances_train.json (COCO)

    Args:
        root: where the files are, or are to be made (which takes seconds).
        split: the part that is read, each with pictures of its own.
        target: "label_map" gives label maps of 7 classes, the first being the background; "boxes" gives boxes of the 6
            shapes; "both" gives both with the 7 classes' labels, so that no box has label 0; "largest" gives one of the
            6 shapes an image, the one that covers most pixels.
        make: whether the files are made when the folder is missing or empty.
        count_train: number of pictures that are made for training.
        count_val: number of pictures that are made for validation.
        image_size: height and width of the pictures in pixels, at least 32 each.
        seed: number that all scenes follow from; another one gives other pictures.
        texture: strength of the patterns on the shapes, 0 (plain colours) to 1.
        visible: least share, 0 to 1, of what is in sight of a shape that one more laid on it leaves; 1 lets none cover another.
        things: how many shapes a picture has at least and at most; one that finds no room is left out.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val"],
        target: Literal["label_map", "boxes", "both", "largest"] = "label_map",
        make: bool = True,
        count_train: PositiveInt = 240,
        count_val: PositiveInt = 60,
        image_size: tuple[PositiveInt, PositiveInt] = (96, 128),
        seed: NonNegativeInt = 0,
        texture: Probability = 1.0,
        visible: Probability = 0.4,
        things: tuple[PositiveInt, PositiveInt] = (4, 8),
    ) -> None:
        self.classes, self.palette, _ = class_table("shapes_boxes" if target in ("boxes", "largest") else "shapes")
        self.split = split
        self.target = target
        self.root = Path(root)
        if min(image_size) < 32:
            message = f"scenes need at least 32 pixels a side, got {tuple(image_size)}"
            raise ConfigError(Problem("image_size", message))
        if things[0] > things[1]:
            raise ConfigError(Problem("things", f"wanted the smaller of two first, found {things[0]}, {things[1]}"))
        size, number = (image_size[0], image_size[1]), (things[0], things[1])
        recipe = Recipe(count_train, count_val, size, seed, texture, visible, number)
        make_shapes(self.root, recipe, make)
        self.reader = LabelReader(class_table("shapes").names)
        self.pairs = tuple(find_pairs(self.root / "images" / split, self.root / "masks" / split))
        self.boxes = None if target in ("label_map", "largest") else self._read_boxes()

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        if self.target == "boxes":
            image = read_image(pair.image)
            sample = Sample(image, name_in(self.root, pair.image), index, image.shape[:2])
        else:
            sample = read_pair(pair, self.root, index, self.reader)
        if self.target == "largest" and sample.label_map is not None:
            covered = np.bincount(sample.label_map.ravel(), minlength=1 + len(self.classes))[1 : 1 + len(self.classes)]
            sample = sample._replace(label_map=None, image_label=int(covered.argmax()))
        boxes = None if self.boxes is None else self.boxes[index]
        return sample._replace(boxes=boxes, image_id=index + 1)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its mask or the file of all boxes."""
        pair = self.pairs[index]
        return (pair.image, self._boxes_file()) if self.target == "boxes" else (pair.image, pair.mask)

    def describe(self) -> str:
        """The split, the number of pictures, where they are, and the number of classes."""
        return f"shapes {self.split}: {len(self)} synthetic images in {self.root}, {len(self.classes)} classes"

    def _boxes_file(self) -> Path:
        return self.root / "annotations" / f"instances_{self.split}.json"

    def _read_boxes(self) -> tuple[Boxes, ...]:
        path = self._boxes_file()
        try:
            coco = json.loads(path.read_text(encoding="utf-8"))
            by_image: list[list[dict[str, Any]]] = [[] for _ in self.pairs]
            for annotation in coco["annotations"]:
                by_image[annotation["image_id"] - 1].append(annotation)
            first = 1 if self.target == "boxes" else 0
            return tuple(_boxes(annotations, first) for annotations in by_image)
        except (OSError, ValueError, KeyError, IndexError) as error:
            remedy = "remove the folder to have it made again"
            raise DataError(Problem(path, f"is unreadable ({error})", remedy)) from None


def _boxes(annotations: list[dict[str, Any]], first: int) -> Boxes:
    """first: the category id of label 0."""
    xywh = np.array([a["bbox"] for a in annotations], np.float32).reshape(-1, 4)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
    boxes = Boxes.of(xyxy, [a["category_id"] - first for a in annotations])
    return boxes._replace(area=np.array([a["area"] for a in annotations], np.float32))

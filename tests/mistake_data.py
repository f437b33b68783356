"""Small sound data sets and configs, to be broken one fault at a time, and the command line that shall find it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny_detection import TINY_DETECTION
from tiny_run import TINY

CLASSES = ("sky", "tree", "road")
SIZE = (32, 40)


def masks(folder: Path, counts: dict[str, int] | None = None) -> Path:
    """images/SPLIT/NN.jpg and masks/SPLIT/NN.png of three classes, where the image shows the class; returns the folder."""
    for number_of_split, (split, count) in enumerate((counts or {"train": 6, "val": 3}).items()):
        for number in range(count):
            generator = np.random.default_rng(100 * number_of_split + number)
            labels = np.repeat(np.repeat(generator.integers(0, 3, (4, 5)), 8, 0), 8, 1).astype(np.uint8)
            image = (labels[..., None] * [60, 90, 20] + generator.integers(0, 60, (*SIZE, 3))).astype(np.uint8)
            for kind, suffix, array in (("images", "jpg", image), ("masks", "png", labels)):
                path = folder / kind / split / f"{number:02d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return folder


def masks_config(path: Path, data: Path, *, classes: tuple[str, ...] = CLASSES, steps: int = 6) -> Path:
    """A U-Net for `masks`, written to `path`."""
    text = TINY.replace("classes: shapes", f"root: {data}\n  classes: [{', '.join(classes)}]")
    for split in ("train", "val"):
        recipe = f"{{name: shapes, split: {split}, count_train: 6, count_val: 3, image_size: [32, 40]}}"
        text = text.replace(recipe, f"{{name: image_masks, images: images/{split}, masks: masks/{split}}}")
    path.write_text(text.replace("steps: 8", f"steps: {steps}"))
    return path


def boxes(folder: Path, counts: dict[str, int] | None = None) -> Path:
    """COCO files of images with two boxes of classes cat and dog (category ids 1 and 7); returns the folder."""
    for split, count in (counts or {"train": 4, "val": 2}).items():
        images, annotations = [], []
        for number in range(count):
            path = folder / "images" / split / f"{number:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([split == "val", number]).integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(noise).save(path)
            images.append({"id": number + 1, "file_name": path.name, "height": 48, "width": 64})
            for place, category in enumerate((1, 7)):
                box = [4 + 20 * place, 6.0, 18.0, 22.0]
                annotation = {
                    "id": 2 * number + place + 1,
                    "image_id": number + 1,
                    "category_id": category,
                    "bbox": box,
                }
                annotations.append(annotation | {"area": 18 * 22.0, "iscrowd": 0})
        write_coco(folder, split, images, annotations)
    return folder


def write_coco(folder: Path, split: str, images: list[Any], annotations: list[Any]) -> None:
    """One split's JSON."""
    categories = [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content))


def change_coco(folder: Path, change: Callable[[dict[str, Any]], None], split: str = "train") -> Path:
    """Rewrites a split's JSON after `change`; returns its path."""
    path = folder / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def boxes_config(path: Path, data: Path, *, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """A small detector for `boxes`, written to `path`."""
    text = TINY_DETECTION.replace("classes: shapes_boxes", f"root: {data}\n  classes: [{', '.join(classes)}]")
    for split in ("train", "val"):
        recipe = f"{{name: shapes, split: {split}, target: boxes, count_train: 6, count_val: 3, image_size: [48, 64]}}"
        text = text.replace(recipe, f"{{name: coco, annotations: {split}.json, images: images/{split}}}")
    path.write_text(text)
    return path

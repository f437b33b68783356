"""Synthetic scenes on disk, in the layouts that other tools read too.

images/{train,val}/0000.jpg   masks/{train,val}/0000.png (palette, 0 is background)   classes.txt
annotations/instances_{train,val}.json (COCO: category ids 1..6, boxes and areas of the visible pixels)
shapes.json (what it was made with)
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from toolkit.data.classes.tables import class_table
from toolkit.data.seeds import mix
from toolkit.data.shapes.made_once import made_folder, write_json
from toolkit.data.shapes.scene import SHAPES, Scene, Thing, make_scene

_LOG = logging.getLogger(__name__)

RECIPE_FILE = "shapes.json"
_MAKER = 1
"""Counts up when the same recipe would make other pictures."""

_JPEG_QUALITY = 92


class Recipe(NamedTuple):
    """What a set of scenes is made from.

    Args:
        count_train: number of images of the training set.
        count_val: number of images of the validation set.
        image_size: (height, width) of the images in pixels.
        seed: seed that every scene's is made from.
        texture: strength of the patterns, 0 (plain colours) to 1.
        visible: least share, 0 to 1, of what is in sight of a thing that one more leaves of it.
        things: how many things are drawn in an image, at least and at most.
    """

    count_train: int
    count_val: int
    image_size: tuple[int, int]
    seed: int
    texture: float = 1.0
    visible: float = 0.4
    things: tuple[int, int] = (4, 8)

    def as_json(self) -> dict[str, Any]:
        """The recipe as it stands in its file, whose older ones do not have `visible` and `things`."""
        usual = {name for name in ("visible", "things") if getattr(self, name) == self._field_defaults[name]}
        found = {"maker": _MAKER, **self._asdict(), "image_size": list(self.image_size), "things": list(self.things)}
        return {name: value for name, value in found.items() if name not in usual}


def make_shapes(root: Path, recipe: Recipe, make: bool = True) -> None:
    """Sees to it that `root` holds the scenes of a recipe (`made_once.py`); `make`: where it is missing or empty, makes it.

    Raises DataError when the folder cannot be made, or was made with another recipe, or by something else, or lacks files.

    Args:
        root: the data set's folder, which holds images, masks and annotations.
        recipe: what the scenes are made from.
        make: whether a missing or empty folder is filled; else it is an error.
    """
    counts = {
        f"{place}/{split}": count
        for split, count in (("train", recipe.count_train), ("val", recipe.count_val))
        for place in ("images", "masks")
    }
    made_folder(root, RECIPE_FILE, recipe.as_json(), (lambda made: _write(made, recipe)) if make else None, counts)


def _write(root: Path, recipe: Recipe) -> None:
    _LOG.info("making %d synthetic images", recipe.count_train + recipe.count_val)
    (root / "annotations").mkdir()
    for number, (split, count) in enumerate((("train", recipe.count_train), ("val", recipe.count_val))):
        (root / "images" / split).mkdir(parents=True)
        (root / "masks" / split).mkdir(parents=True)
        coco = _empty_coco()
        for index in range(count):
            seed = mix(recipe.seed, number, index)
            scene = make_scene(recipe.image_size, seed, recipe.texture, recipe.visible, recipe.things)
            _write_scene(root, split, f"{index:04d}", scene)
            _annotate(coco, f"{index:04d}.jpg", scene)
        write_json(root / "annotations" / f"instances_{split}.json", coco)
    (root / "classes.txt").write_text("\n".join(class_table("shapes").names) + "\n", encoding="utf-8")


def _write_scene(root: Path, split: str, stem: str, scene: Scene) -> None:
    bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    (root / "images" / split / f"{stem}.jpg").write_bytes(encoded.tobytes())
    mask = Image.fromarray(scene.label_map)
    mask.putpalette(np.array(class_table("shapes").palette, np.uint8).ravel().tolist())
    mask.save(root / "masks" / split / f"{stem}.png", optimize=True)


def _empty_coco() -> dict[str, list[Any]]:
    categories = [{"id": 1 + label, "name": name, "supercategory": "shape"} for label, name in enumerate(SHAPES)]
    return {"images": [], "annotations": [], "categories": categories}


def _annotate(coco: dict[str, list[Any]], file_name: str, scene: Scene) -> None:
    image_id = 1 + len(coco["images"])
    height, width = scene.label_map.shape
    coco["images"].append({"id": image_id, "file_name": file_name, "height": height, "width": width})
    for thing in scene.things:
        coco["annotations"].append({"id": 1 + len(coco["annotations"]), "image_id": image_id, **_annotation(thing)})


def _annotation(thing: Thing) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    x, y, width, height = cv2.boundingRect(thing.visible.astype(np.uint8))
    counts = coco_mask.encode(np.asfortranarray(thing.visible.astype(np.uint8)))["counts"].decode("ascii")
    return {
        "category_id": 1 + thing.label,
        "bbox": [x, y, width, height],
        "area": int(thing.visible.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(thing.visible.shape), "counts": counts},
    }

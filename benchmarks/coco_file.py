"""A COCO file of 100,000 images and a million boxes: reading it, against the standard library's reading and pycocotools'
index, and a whole `check` of a config on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.rows import Goal, Measurements, Row, Way, Work, from_package
from benchmarks.start_up import IMPORT, ROOT, in_process, inside_process

SIZES = ((640, 480), (480, 640), (640, 427), (500, 375))
_LINKS = 30_000
"""Names of one picture's file: file systems allow some 65,000."""


def rows() -> list[Row]:
    """Reading alone, and the check; the goals on two quiet cores: 15 seconds, 0.6 GB above `import torch`."""
    reading = (Goal("json.load", most=1.0), Goal("pycocotools", most=0.7), Goal("json.load", most=0.3, of="bytes"))
    return [
        Row("coco_read", "COCO file of 100,000 images, 1 M boxes, read", measure_reading, reading, budget=20, rounds=1,
            limit_seconds=8),
        Row("coco_check", "toolkit check of a config on that file", measure_check, (Goal(IMPORT, most=13.0),), budget=10,
            rounds=1, limit_seconds=15),
    ]  # fmt: skip


def make(folder: Path, images: int, boxes: int = 10, seed: int = 0) -> None:
    """Writes instances.json and the pictures it names, which are names of a few files.

    Args:
        folder: is filled with `instances.json` and `images/`.
        images: how many there are.
        boxes: objects in each of them.
        seed: of sizes, places and classes.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    listed = [
        {"id": place + 1, "file_name": f"{seed}_{place:08d}.jpg", "width": width, "height": height, "license": 1}
        for place, (width, height) in enumerate(SIZES[place % len(SIZES)] for place in range(images))
    ]
    _pictures(folder / "images", listed, random)
    head = {
        "info": {},
        "categories": [{"id": one + 1, "name": f"class {one + 1}"} for one in range(80)],
        "images": listed,
    }
    with (folder / "instances.json").open("w") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, row in enumerate(_annotations(listed, boxes, random)):
            file.write((", " if number else "") + json.dumps({**row, "id": number + 1}))
        file.write("]}")


def _pictures(folder: Path, listed: list[dict[str, Any]], random: np.random.Generator) -> None:
    from PIL import Image

    first: dict[tuple[int, int], Path] = {}
    for place, row in enumerate(listed):
        path, key = folder / row["file_name"], (place % len(SIZES), place // (_LINKS * len(SIZES)))
        if key in first:
            os.link(first[key], path)
            continue
        coarse = random.integers(0, 255, (row["height"] // 16, row["width"] // 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((row["width"], row["height"])).save(path)
        first[key] = path


def _annotations(listed: list[dict[str, Any]], boxes: int, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    for row in listed:
        side = np.exp(random.normal(4, 1, (boxes, 2))).clip(4, 300).round(2)
        corner = (random.random((boxes, 2)) * (np.array([row["width"], row["height"]]) - side - 1)).clip(0).round(2)
        labels = random.zipf(1.6, boxes) % 80 + 1
        for (w, h), (x, y), label in zip(side.tolist(), corner.tolist(), labels.tolist(), strict=True):
            own = {"image_id": row["id"], "category_id": label, "bbox": [x, y, w, h]}
            yield {**own, "area": round(w * h, 2), "iscrowd": 0, "segmentation": []}


def measure_reading(work: Work) -> Measurements:
    """The index of all boxes, the bare standard library, and pycocotools' index of the same file."""
    make(work.folder / "coco", (400 if work.toy else 100_000) * work.scale)
    path = work.folder / "coco" / "instances.json"
    index = f"CocoDataset({str(path.parent)!r}, 'instances.json', 'images')"
    return work.in_turn(
        {
            "toolkit": lambda: inside_process("from toolkit.data.datasets.coco import CocoDataset", index),
            "json.load": lambda: inside_process("", f"content = json.load(open({str(path)!r}))"),
            "pycocotools": from_package("pycocotools", lambda: _pycocotools(path)),
        }
    )


def _pycocotools(path: Path) -> Way:
    import pycocotools.coco  # noqa: F401 - whether it is there

    return lambda: inside_process("from pycocotools.coco import COCO", f"content = COCO({str(path)!r})")


def measure_check(work: Work) -> Measurements:
    """The whole command, with a validation split of its own."""
    for split, images, seed in (("train", 400 if work.toy else 100_000, 0), ("val", 40, 1)):
        make(work.folder / split, images, seed=seed)
    config = yaml.safe_load((ROOT / "configs" / "tiny" / "faster_rcnn_shapes.yaml").read_text(encoding="utf-8"))
    config["data"].update(root=str(work.folder), classes=None)
    for split in ("train", "val"):
        dataset = {"name": "coco", "annotations": f"{split}/instances.json", "images": f"{split}/images"}
        config["data"][split]["dataset"] = dataset
    path = work.folder / "coco.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    ours = ["-m", "toolkit", "check", str(path)]
    return work.in_turn({"toolkit": lambda: in_process(ours, 0), IMPORT: lambda: in_process(["-c", "import torch"], 0)})

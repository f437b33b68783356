"""Folders of somebody's own pictures, with masks and with boxes: small, of things that can be told by colour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def own_folders(place: Path) -> None:
    """`pictures` with masks, `boxes` with COCO boxes, `photos`: small, with things that can be told by colour."""
    rng = np.random.default_rng(0)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "disc"}]}
    for split, count in (("train", 6), ("val", 4)):
        for kind in ("pictures/images", "pictures/masks", "boxes"):
            (place / kind / split).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((60, 80), np.uint8)
            column = int(rng.integers(20, 60))
            cv2.circle(mask, (column, 30), 15, 1, -1)
            cv2.imwrite(str(place / "pictures/masks" / split / f"{index}.png"), mask)
            image = (rng.integers(0, 90, (60, 80, 3)) + 150 * mask[..., None]).astype(np.uint8)
            cv2.imwrite(str(place / "pictures/images" / split / f"{index}.jpg"), image)
            name, number = f"{split}/{index}.jpg", len(coco["images"])
            cv2.imwrite(str(place / "boxes" / name), image)
            coco["images"].append({"id": number, "file_name": name, "height": 60, "width": 80})
            box = {"bbox": [column - 15, 15, 31, 31], "area": 700, "iscrowd": 0, "category_id": 1}
            coco["annotations"].append({"id": number, "image_id": number, **box})
    (place / "boxes/all.json").write_text(json.dumps(coco))
    (place / "photos").symlink_to(place / "pictures/images/val")

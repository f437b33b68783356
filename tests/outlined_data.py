"""Small pictures, and a COCO file of polygons, run lengths or boxes on the first of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (64, 96), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(path)


def coco(
    folder: Path,
    annotations: Sequence[dict[str, Any]],
    categories: Sequence[tuple[int, str]] = ((4, "disc"), (9, "bar")),
    size: tuple[int, int] = (64, 96),
    images: int = 1,
) -> dict[str, str]:
    """Writes it, and gives the arguments of a data set."""
    for number in range(images):
        picture(folder / f"pics/{number}.png", size, number)
    rows = [{"id": n, "file_name": f"{n}.png", "height": size[0], "width": size[1]} for n in range(images)]
    document = {"images": rows, "annotations": [], "categories": [{"id": n, "name": name} for n, name in categories]}
    for number, row in enumerate(annotations):
        document["annotations"].append({"id": number, "image_id": 0, "category_id": 4, "iscrowd": 0, **row})
    (folder / "a.json").write_text(json.dumps(document))
    return {"root": str(folder), "annotations": "a.json", "images": "pics"}

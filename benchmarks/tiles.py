"""A large picture in tiles, exact to its last digit, against the picture as a whole."""

from __future__ import annotations

import numpy as np
import torch

import toolkit
from benchmarks.rows import Goal, Measurements, Row, Work
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.samples import Sample, collate


def rows() -> list[Row]:
    goals = (Goal("the whole picture", most=1.7),)
    return [
        Row("tiles", "exact tiles of 1024, picture 1000 × 1500, U-Net resnet18", tiles, goals, rounds=3, grows=True)
    ]


def tiles(work: Work) -> Measurements:
    """The labels of the picture; `scale` makes it longer."""
    height, width = (96, 704) if work.toy else (1000 * work.scale, 1500)
    torch.manual_seed(0)
    model = toolkit.unet("resnet18", num_classes=11).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    batch = collate([Sample(pixels, "", 0, (height, width))])
    tiled = TiledPrediction(
        model, 640 if work.toy else 1024
    )  # this net sees 287 pixels around: 608 is its smallest tile

    def ours() -> torch.Tensor:
        with torch.inference_mode():
            return tiled(batch)[0].labels

    return work.in_turn({"toolkit": ours, "the whole picture": lambda: model.predict(batch)[0].labels}, same_labels)


def same_labels(returned: dict[str, torch.Tensor]) -> None:
    one, other = returned.values()
    assert (one != other).float().mean() < 1e-4, "the labels differ"

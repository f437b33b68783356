"""From a folder of pictures to a folder of masks, against the net's passes alone and the loop that one writes by hand."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

import toolkit
from benchmarks.rows import Goal, Measurements, Row, Work
from toolkit.export.engines import with_engine
from toolkit.inference.folder import predict

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet


def rows() -> list[Row]:
    title = "folder of 4 JPEGs 360 × 480 to masks, small U-Net"
    goals = (Goal("forward passes", most=1.05), Goal("plain loop", least=2.0))
    fast = (Goal("plain loop", least=2.0),)
    return [
        Row("folder", title, folder, goals, rounds=3, grows=True),
        Row("folder_2", title, folder, goals, threads=2, rounds=3),
        Row("folder_engine", f"{title}, fastest engine", by_engine, fast, rounds=3),
    ]


def write_pictures(where: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Smooth light and grain, about as many bytes as photographs have."""
    where.mkdir()
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        light = random.integers(0, 256, (24, 32, 3)).astype(np.float32)
        pixels = cv2.resize(light, size[::-1], interpolation=cv2.INTER_CUBIC) + random.normal(0, 5, (*size, 1))
        paths.append(where / f"{number:04}.jpg")
        cv2.imwrite(str(paths[-1]), np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 93])
    return paths


def by_engine(work: Work) -> Measurements:
    os.environ["XDG_CACHE_HOME"] = str(work.folder)  # exported and measured anew
    return folder(work, engine="auto")


def folder(work: Work, engine: str | None = None) -> Measurements:
    """engine: what makes our forward passes; None for eager PyTorch, as in the others."""
    size, count = ((64, 96), 2) if work.toy else ((360, 480), 4 * work.scale)
    paths = write_pictures(work.folder / "pictures", count, size)
    (work.folder / "masks").mkdir()
    torch.manual_seed(0)
    model = toolkit.unet("resnet18", num_classes=11).eval()
    mine = model if engine is None else with_engine(copy.deepcopy(model), engine, 1)

    def ours() -> None:
        for result in predict(mine, work.folder / "pictures"):
            cv2.imwrite(str(work.folder / "masks" / f"{Path(result.name).stem}.png"), result.prediction.labels.numpy())

    def passes() -> None:
        with torch.inference_mode():
            for _ in paths:
                model(images)

    def plain() -> None:
        """As tutorials have it: read, normalise in float64, forward, argmax, write in colour."""
        with torch.inference_mode():
            for path, labels in _answers():
                cv2.imwrite(str(work.folder / "masks" / f"{path.stem}.png"), palette[labels])

    def _answers() -> Iterator[tuple[Path, np.ndarray]]:
        for path in paths:
            pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) / 255.0
            normal = torch.from_numpy(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)).float()[None]
            yield path, model.head(model.neck(model.backbone(normal))).argmax(1)[0].numpy()

    palette = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    return work.in_turn({"toolkit": ours, "forward passes": passes, "plain loop": plain})

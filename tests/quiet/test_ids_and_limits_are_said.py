"""What results cannot say of themselves is said beside them: whose ids they hold, and what a metric does not look at."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.cli.predict import _notes
from toolkit.config.sections import Config
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored
from toolkit.samples import Boxes, Detections, Truth


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    return path


def notes(model: toolkit.VisionModel, picture: Path, out: Path, formats: list[str] | None) -> str:
    restored = Restored(model.eval(), cast(Config, None), Path("model"), {})
    return "\n".join(_notes(run_prediction(restored, [picture], out, formats)))


def test_masks_say_what_their_values_are(picture: Path, tmp_path: Path) -> None:
    model = toolkit.unet("resnet18", classes=["soil", "weed"])
    assert "labels (0 soil, 1 weed)" in notes(model, picture, tmp_path / "out", None)


def test_image_ids_that_only_count_are_said(picture: Path, tmp_path: Path) -> None:
    model = toolkit.faster_rcnn("resnet18", num_classes=2)
    assert "counts the pictures from 1" in notes(model, picture, tmp_path / "coco", ["coco"])
    assert "counts the pictures" not in notes(model, picture, tmp_path / "csv", ["csv"])


def found_of(count: int) -> str:
    """The title of COCO's table after perfect detections of so many objects in one picture."""
    left = np.arange(count, dtype=np.float32) * 10
    xyxy = np.stack([left, left * 0, left + 8, left * 0 + 8], axis=1)
    labels = np.zeros(count, np.int64)
    detections = Detections(torch.from_numpy(xyxy), torch.linspace(1, 0.5, count), torch.from_numpy(labels))
    evaluator = CocoEvaluator(["dot"])
    evaluator.update([detections], [Truth("a", 1, (20, 10 * count), boxes=Boxes.of(xyxy, labels))])
    return evaluator.tables()[0][0]


def test_objects_beyond_the_limit_of_the_metric_are_said() -> None:
    assert found_of(100) == "COCO"
    assert "30 of 130 boxes cannot be found" in found_of(130)


def test_pages_that_are_not_predicted_are_said(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((64, 64, 3), shade, np.uint8)) for shade in (10, 90, 170)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    model = toolkit.unet("resnet18", classes=["soil", "weed"])
    assert "2 of 3 pages of" in notes(model, tmp_path / "stack.tif", tmp_path / "out", ["mask"])

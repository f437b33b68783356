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


def perfect(count: int, given: int, pictures: int = 1, **arguments: int) -> CocoEvaluator:
    """COCO's evaluator after perfect detections of the first `given` of so many objects in each picture."""
    left = np.arange(count, dtype=np.float32) * 10
    xyxy = np.stack([left, left * 0, left + 8, left * 0 + 8], axis=1)
    labels = np.zeros(count, np.int64)
    found = Detections(torch.from_numpy(xyxy), torch.linspace(1, 0.5, count), torch.from_numpy(labels))
    found = Detections(*(field[:given] for field in found))
    evaluator = CocoEvaluator(["dot"], **arguments)
    for number in range(pictures):
        truth = Truth(str(number), number, (20, 10 * count), boxes=Boxes.of(xyxy, labels))
        evaluator.update([found], [truth])
    return evaluator


def title(evaluator: CocoEvaluator) -> str:
    return evaluator.tables()[0][0]


def test_objects_beyond_the_limit_of_the_metric_are_said() -> None:
    assert title(perfect(100, 100)) == "COCO"
    assert "30 of 130 boxes cannot be found" in title(perfect(130, 130))


def test_the_limit_of_the_metric_can_be_raised() -> None:
    raised = perfect(400, 400, max_detections=1000)
    assert title(raised) == "COCO"
    numbers = raised.compute()
    assert numbers["AP"] == pytest.approx(1, abs=1e-12)
    assert numbers["AR1000"] == pytest.approx(1, abs=1e-12)
    assert numbers["AR10"] == pytest.approx(10 / 400)
    assert "AR100" not in numbers


def test_objects_beyond_the_limit_of_the_model_are_said() -> None:
    assert "no picture was given more than 50 detections" in title(perfect(60, 50, pictures=3))
    assert title(perfect(60, 50, pictures=1)) == "COCO"


def test_pages_that_are_not_predicted_are_said(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((64, 64, 3), shade, np.uint8)) for shade in (10, 90, 170)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    model = toolkit.unet("resnet18", classes=["soil", "weed"])
    assert "2 of 3 pages of" in notes(model, tmp_path / "stack.tif", tmp_path / "out", ["mask"])

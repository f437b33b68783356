"""Thresholds that weights keep cut what is predicted, class by class; options take their place; damage is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.cli.predict import _notes
from toolkit.config.sections import Config
from toolkit.errors import CheckpointError
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored
from toolkit.models.vision_model import VisionModel
from toolkit.results.operating_points import stored_points


def points(thresholds: dict[str, float | None], fallback: str | None = None) -> dict[str, Any]:
    by_class = {
        name: {"threshold": value, "reached": value is not None, "why": "" if value is not None else "never reached"}
        for name, value in thresholds.items()
    }
    return {"operating_points": {"goal": "f1", "chosen_on": "val", "fallback": fallback, "by_class": by_class}}


def restored(model: VisionModel, metadata: dict[str, Any]) -> Restored:
    return Restored(model.eval(), cast(Config, None), Path("model"), metadata)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    return path


@pytest.fixture
def dense() -> VisionModel:
    torch.manual_seed(0)
    return toolkit.segnet_basic(classes=["sky", "road", "car"]).eval()


def mask(out: Path) -> np.ndarray:
    return np.array(Image.open(out / "photo.png"))


@pytest.mark.parametrize("fallback", [None, "sky"])
def test_pixels_below_the_threshold_of_their_class_become_the_fallback(
    dense: VisionModel, picture: Path, tmp_path: Path, fallback: str | None
) -> None:
    dense.head.with_scores = True
    prediction = dense.predict(str(picture))[0]
    labels, scores = prediction.labels, prediction.scores
    assert scores is not None
    dense.head.with_scores = False
    lowest = {
        name: float(scores[labels == label].median())
        for label, name in enumerate(dense.classes)
        if (labels == label).any()
    }
    lowest |= {"sky": None} if fallback == "sky" else {}  # type: ignore[dict-item]
    result = run_prediction(restored(dense, points(lowest, fallback)), [picture], tmp_path / "out", ["mask"])
    wanted = labels.clone()
    for label, name in enumerate(dense.classes):
        if lowest.get(name) is not None:
            wanted[(labels == label) & (scores < lowest[name])] = 255 if fallback is None else 0
    assert (wanted != labels).any()
    np.testing.assert_array_equal(mask(tmp_path / "out"), wanted.numpy())
    assert result["thresholds"]["thresholds"] == lowest
    run_prediction(restored(dense, points(lowest, fallback)), [picture], tmp_path / "all", ["mask"], thresholds=False)
    np.testing.assert_array_equal(mask(tmp_path / "all"), labels.numpy())


def test_detections_are_cut_by_the_threshold_of_their_class_and_by_score_in_its_place(
    picture: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = toolkit.faster_rcnn("resnet18", classes=["cat", "dog"], norm="batch").eval()
    model.head.limit_detections(score=0.0)
    found = model.predict(str(picture))[0].numpy()
    lowest = {0: float(np.median(found.scores[found.labels == 0])), 1: None}
    metadata = points({"cat": lowest[0], "dog": None})

    def written(out: str, **options: Any) -> list[tuple[int, float]]:
        run_prediction(restored(model, metadata), [picture], tmp_path / out, ["coco"], **options)
        entries = json.loads((tmp_path / out / "detections.json").read_text())
        return sorted((entry["category_id"] - 1, entry["score"]) for entry in entries)

    pairs = sorted(zip(found.labels.tolist(), found.scores.astype(float).tolist(), strict=True))
    kept = [(label, score) for label, score in pairs if label == 1 or score >= lowest[0]]
    assert 0 < len(kept) < len(pairs)
    assert written("points") == kept
    assert written("all", thresholds=False) == pairs
    assert written("score", score=0.5) == [(label, score) for label, score in pairs if score >= 0.5]


def test_the_note_says_which_thresholds_were_used_and_which_class_has_none(
    dense: VisionModel, picture: Path, tmp_path: Path
) -> None:
    metadata = points({"sky": 0.25, "road": None}, "car")
    result = run_prediction(restored(dense, metadata), [picture], tmp_path / "out", ["mask"])
    note = (
        "thresholds of the checkpoint (f1, chosen on val): sky 0.25, road none (never reached); pixels below are car; "
    )
    assert note + "--no-thresholds takes everything" in _notes(result)


@pytest.mark.parametrize(
    "section", ["text", {}, {"by_class": {"sky": {"threshold": 2.0}}}, {"by_class": {"moon": {"threshold": 0.5}}},
                {"by_class": {}, "fallback": "moon"}, {"by_class": {"sky": 0.5}}],
)  # fmt: skip
def test_a_damaged_entry_is_refused_with_the_files_name(section: Any) -> None:
    with pytest.raises(CheckpointError, match=r"best\.safetensors.*operating_points"):
        stored_points({"operating_points": section}, ["sky", "road"], Path("best.safetensors"))

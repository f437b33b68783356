"""Images of many bands and 16 bits through a training, its evaluation and its predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import tiny_config

from toolkit.errors import UserError
from toolkit.jobs.assemble import assemble
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import load_model
from toolkit.jobs.train import run_training

PART = "{name: image_masks, label_values: {default: 1, 0: 0}}"
CHANGES = (
    "data.classes=[no, yes]", "data.channels=5", "data.value_range=[0, 4095]", "model.backbone.in_channels=5",
    "train.steps=1", "train.evaluate_every=1", "data.train.transforms=[{name: HorizontalFlip, p: 0.5}]",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four images of five bands as arrays, and their masks."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(4):
        np.save(root / f"images/{number}.npy", rng.integers(0, 4096, (32, 40, 5)).astype(np.uint16))
        Image.fromarray(rng.integers(0, 3, (32, 40)).astype(np.uint8)).save(root / f"masks/{number}.png")
    return root


def test_one_rule_for_training_evaluation_and_prediction(data: Path, tmp_path: Path) -> None:
    splits = [f"data.{split}.dataset={PART}" for split in ("train", "val")]
    config = tiny_config(data, *splits, *CHANGES)
    sample = assemble(config).datasets["val"][0]
    stored = np.load(data / "images/0.npy").astype(np.float64)
    np.testing.assert_array_equal(sample.image, np.rint(stored / 4095 * 255).astype(np.uint8))
    run_training(config, tmp_path / "run", quiet=True)
    assert run_evaluation(tmp_path / "run", quiet=True)["images"] == 4
    model = load_model(tmp_path / "run")
    assert model.value_range == [0, 4095]
    labels = model.predict(data / "images/2.npy")[0].labels
    told = run_prediction(tmp_path / "run", [data / "images"], tmp_path / "out")
    assert not told["failed"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/2.png")), labels.numpy())


def test_without_a_range_it_is_said_what_to_write(data: Path) -> None:
    splits = [f"data.{split}.dataset={PART}" for split in ("train", "val")]
    config = tiny_config(data, *splits, *(change for change in CHANGES if "value_range" not in change))
    with pytest.raises(UserError, match=r"found uint16 from \d+ to \d+; .*data.value_range=\[low,high\]"):
        assemble(config).datasets["train"][0]

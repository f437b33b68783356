"""`evaluate.mirrorings` and `evaluate.tile`: an evaluation of what mirrored and tiled predictions answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import tiny_config

import toolkit
from toolkit.errors import ConfigError
from toolkit.inference.tiling.tiled import predict_tiled
from toolkit.jobs.assemble import answer_as_evaluated
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training
from toolkit.samples import Batch, collate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    run_training(
        tiny_config(folder / "data", "train.steps=6", "evaluate.mirrorings=4", "model.backbone.depth=2"),
        folder / "run",
        quiet=True,
    )
    return folder / "run"


def test_the_labels_are_those_of_four_mirrorings(run: Path, tmp_path: Path) -> None:
    wishes = RecordWishes(out=str(tmp_path / "record"), save_predictions=True)
    run_evaluation(str(run), "val", wishes=wishes)
    model = toolkit.load_model(run)
    with torch.inference_mode():
        for sample in build_dataset(tiny_config(run.parent / "data"), "val"):
            expected = predict_tiled(model, collate([sample]), "auto", mirrorings=4)[0].numpy()
            written = next((tmp_path / "record" / "masks").rglob(f"{Path(sample.name).stem}.png"))
            assert np.array_equal(np.array(Image.open(written)), expected)


def test_the_best_weights_are_chosen_by_what_is_measured(run: Path) -> None:
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [event["val/mIoU"] for event in events if "val/mIoU" in event]
    again = run_evaluation(str(run), "val", wishes=RecordWishes(out=str(run / "again")))
    assert again["metrics"]["mIoU"] == pytest.approx(max(measured), abs=1e-6)
    alone = run_evaluation(str(run), "val", ["evaluate.mirrorings=1"], wishes=RecordWishes(out=str(run / "alone")))
    assert alone["metrics"]["mIoU"] != again["metrics"]["mIoU"]


def test_tiles_change_no_number(run: Path) -> None:
    options = (["evaluate.mirrorings=1"], ["evaluate.mirrorings=1", "evaluate.tile=28"])
    whole, tiled = (
        run_evaluation(str(run), "val", list(one), wishes=RecordWishes(out=str(run / f"out{number}")))["metrics"]
        for number, one in enumerate(options)
    )
    assert tiled == pytest.approx(whole, abs=1e-4)


def test_only_a_head_that_answers_for_every_pixel_can_be_mirrored(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "evaluate.mirrorings=4", "model.samples=2")
    with pytest.raises(ConfigError, match=r"cannot be had together with model\.samples, which is 2"):
        answer_as_evaluated(config, toolkit.build_model(config))
    classifier = toolkit.load_config("configs/tiny/classify_shapes.yaml", overrides=["evaluate.tile=auto"])
    with pytest.raises(ConfigError, match="only models that answer with pixels or boxes can be tiled"):
        answer_as_evaluated(classifier, toolkit.build_model(classifier))


def test_a_batch_is_answered_picture_by_picture(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "data", "evaluate.mirrorings=4")
    model = toolkit.build_model(config).eval()
    answer = answer_as_evaluated(config, model)
    assert answer is not None
    batch: Batch = collate([build_dataset(config, "val")[0], build_dataset(config, "val")[1]])
    assert len(answer(batch)) == 2

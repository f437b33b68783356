"""Thresholds chosen for a run: the weights stay, and the masks that predict writes have the P and R that are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_run import tiny_config

from toolkit.cli.thresholds import command
from toolkit.config.sections import Config
from toolkit.errors import ConfigError
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.thresholds import choose_thresholds
from toolkit.jobs.train import run_training
from toolkit.models.weights import read_weights, tensors_digest
from toolkit.results.record import Record


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    folder = tmp_path_factory.mktemp("thresholds")
    config = tiny_config(folder / "data", "train.optimizer.lr=0.05", "train.steps=12", "train.evaluate_every=12")
    run_training(config, folder / "run", quiet=True)
    return folder / "run", config


def counted(config: Config, out: Path) -> dict[str, tuple[float | None, float | None]]:
    """Precision and recall of each class in the written masks."""
    dataset = build_dataset(config, "val")
    totals = np.zeros((3, len(dataset.classes)))
    for place in range(len(dataset)):
        sample = dataset[place]
        assert sample.label_map is not None
        mask = np.array(Image.open(next(out.rglob(f"{Path(sample.name).stem}.png"))))
        known = sample.label_map != 255
        for label in range(len(dataset.classes)):
            answer, truth = (mask == label) & known, (sample.label_map == label) & known
            totals[:, label] += (answer & truth).sum(), answer.sum(), truth.sum()
    right, answers, truths = totals.tolist()
    return {
        name: (right[label] / answers[label] if answers[label] else None, right[label] / truths[label])
        for label, name in enumerate(dataset.classes)
        if truths[label]
    }


@pytest.mark.parametrize("goal", ["f1", "recall=0.3"])
def test_predicted_masks_have_the_precision_and_recall_that_are_told(
    run: tuple[Path, Config], tmp_path: Path, goal: str
) -> None:
    folder, config = run
    digest = tensors_digest(read_weights(folder / "best.safetensors")[0])
    result = choose_thresholds(folder, goal)
    assert tensors_digest(read_weights(folder / "best.safetensors")[0]) == digest
    dataset = build_dataset(config, "val")
    run_prediction(
        folder, [dataset.root / dataset[place].name for place in range(len(dataset))], tmp_path / "out", ["mask"]
    )
    found = counted(config, tmp_path / "out")
    reached = {name: entry for name, entry in result["by_class"].items() if entry["reached"]}
    assert reached
    for name, entry in reached.items():
        assert found[name] == (entry["precision"], entry["recall"])
    section = Record.read(folder / "evaluation" / "val").numbers["operating_points"]
    assert section["goal"] == goal
    assert section["by_class"] == json.loads(json.dumps(result["by_class"]))


def test_metrics_of_curves_and_labels_do_not_change_with_thresholds(run: tuple[Path, Config]) -> None:
    folder, _ = run
    before: dict[str, Any] = run_evaluation(folder)["metrics"]
    choose_thresholds(folder, "f1")
    assert run_evaluation(folder)["metrics"] == before


def test_the_command_prints_one_object_with_thresholds_and_split(run: tuple[Path, Config]) -> None:
    result = CliRunner().invoke(command, [str(run[0]), "--goal", "f1", "--json"])
    printed = json.loads(result.stdout)
    assert printed["split"] == printed["report_split"] == "val"
    assert set(printed["thresholds"]) == set(printed["by_class"])


def test_a_fallback_that_is_no_class_is_refused_before_anything_is_measured(run: tuple[Path, Config]) -> None:
    with pytest.raises(ConfigError, match="names no class of this model: 'moon'"):
        choose_thresholds(run[0], "f1", fallback="moon")

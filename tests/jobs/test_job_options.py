"""What a whole job makes of the config's less common options, on a training of seconds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tiny_run import tiny_config
from torch import Tensor

from toolkit.data.loading.loader import train_loader
from toolkit.engine.batch_norm import recompute_bn
from toolkit.errors import CheckpointError, ConfigError
from toolkit.jobs.build_data import build_dataset, build_transforms
from toolkit.jobs.check import check_config
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import load_model
from toolkit.jobs.train import run_training

SHORT = ("train.steps=2", "train.evaluate_every=null")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture(scope="module")
def before(data, tmp_path_factory) -> Path:
    """A finished run to start from."""
    run = tmp_path_factory.mktemp("runs") / "before"
    run_training(tiny_config(data, *SHORT), run, quiet=True)
    return run


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "last.safetensors")


def log_of(run: Path) -> str:
    return (run / "train.log").read_text()


def test_a_run_starts_from_another(data, before, tmp_path):
    source = tmp_path / "before"
    shutil.copytree(before, source)
    config = tiny_config(data, *SHORT, f"model.init_from={source}", "train.optimizer.lr=1e-12")
    assert any("tensors loaded" in fact.text for fact in check_config(config).facts)
    run_training(config, tmp_path / "run", quiet=True)
    learnt, start = weights(tmp_path / "run"), weights(before)
    assert f"start      {source}" in log_of(tmp_path / "run")
    for name in start:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(learnt[name], start[name], rtol=0, atol=1e-9)
    shutil.rmtree(source)  # a continued run needs what it started from no more
    longer = tiny_config(
        data, "train.steps=3", "train.evaluate_every=null", f"model.init_from={source}", "train.optimizer.lr=1e-12"
    )
    assert run_training(longer, tmp_path / "run", resume=True, quiet=True)["step"] == 3


def test_a_start_that_is_not_there_is_said_before_a_folder_is_made(data, tmp_path):
    config = tiny_config(data, *SHORT, f"model.init_from={tmp_path / 'nothing'}")
    (problem,) = check_config(config).errors
    assert "no checkpoint or run folder" in str(problem)
    with pytest.raises(CheckpointError):
        run_training(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="init_rename"):
        run_training(tiny_config(data, *SHORT, "model.init_rename={a: b}"), tmp_path / "run", quiet=True)


def test_class_weights_are_computed_once_and_written_down(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loss = (
        "model.head.loss={name: weighted_sum, losses: [{name: cross_entropy, class_weights: median_frequency}, dice]}"
    )
    config = tiny_config(data, *SHORT, loss)
    assert not check_config(config).errors
    run_training(config, tmp_path / "run", quiet=True)
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    numbers = saved["model"]["head"]["loss"]["losses"][0]["class_weights"]
    assert len(numbers) == 7
    assert sorted(numbers)[3] == pytest.approx(1, rel=0.5)  # of the median class, or near it
    assert numbers[0] == min(numbers)  # the background is the commonest
    assert f"balance    class weights {numbers[0]:g}" in log_of(tmp_path / "run")
    load_model(tmp_path / "run")  # knows the numbers: no data is needed
    longer = tiny_config(data, "train.steps=3", "train.evaluate_every=null", loss)
    assert run_training(longer, tmp_path / "run", resume=True, quiet=True)["step"] == 3


def test_batch_statistics_are_recomputed_before_the_last_evaluation(data, tmp_path):
    plain, exact = (tiny_config(data, *SHORT, f"train.recompute_bn={number}") for number in (0, 3))
    run_training(plain, tmp_path / "plain", quiet=True)
    result = run_training(exact, tmp_path / "exact", quiet=True)
    assert "statistics of 3 batches" in log_of(tmp_path / "exact")
    old, new = weights(tmp_path / "plain"), weights(tmp_path / "exact")
    model = load_model(tmp_path / "plain" / "last.safetensors").train()
    dataset, transforms = build_dataset(exact, "train"), build_transforms(exact, "train")
    recompute_bn(model, train_loader(dataset, transforms, exact.data.batch_size, exact.seed, 0, 3))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(new[name], value)
        if name.endswith(("weight", "bias")):
            assert torch.equal(new[name], old[name])
    assert any(not torch.equal(new[name], old[name]) for name in old if name.endswith("running_mean"))
    again = run_evaluation(tmp_path / "exact" / "last.safetensors", quiet=True)["metrics"]
    assert again["mIoU"] == result["metrics"]["mIoU"]


def test_monte_carlo_predictions_from_config_to_file(data, before, tmp_path):
    config = tiny_config(data, *SHORT, "model.samples=3", f"model.init_from={before}")
    first, second = (run_training(config, tmp_path / name, quiet=True)["metrics"] for name in "ab")
    assert first == second
    pictures = sorted((data / "images" / "val").iterdir())[:2]
    result = run_prediction(tmp_path / "a", pictures, tmp_path / "out", ["mask", "uncertainty"], device="cpu")
    assert (result["written"], result["failed"]) == (5, [])
    sizes = {Image.open(path).size for path in (tmp_path / "out").glob("*.png")}
    assert sizes == {(40, 32)}
    unsure = Image.open(tmp_path / "out" / f"{pictures[0].stem}_uncertainty.png")
    assert unsure.getextrema()[1] > 0
    whole: Any = run_prediction(tmp_path / "a", pictures, tmp_path / "again", ["uncertainty"], device="cpu")
    assert whole["written"] == 2
    for path in (tmp_path / "again").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_samples_without_dropout_are_refused(data):
    config = tiny_config(data, "model.samples=3", "model.backbone.dropout=0.0")
    (problem,) = check_config(config).errors
    assert "needs dropout" in str(problem)


def test_frozen_parts_stay(data, before, tmp_path):
    config = tiny_config(data, *SHORT, f"model.init_from={before}", "train.frozen=[neck, head.classifier]")
    run_training(config, tmp_path / "run", quiet=True)
    start, after = weights(before), weights(tmp_path / "run")
    for name in start:
        if name.endswith(("weight", "bias")):
            assert torch.equal(start[name], after[name]) == name.startswith(("neck.", "head.classifier.")), name

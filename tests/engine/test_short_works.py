"""Overfitting, the learning-rate test and the batch size make a training's own steps: frozen, shared, clipped as there."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from run_laws import assert_same_tensors, events, weights
from tiny_run import tiny_config

from toolkit.config.plain import to_yaml
from toolkit.config.sections import Config
from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.batch_size import largest_batch
from toolkit.engine.finite import FiniteCheck, StepRecord
from toolkit.engine.job import Job
from toolkit.engine.log import RunLog
from toolkit.engine.lr_finder import find_learning_rate
from toolkit.engine.overfit import overfit
from toolkit.engine.process import make_fabric
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import UserError
from toolkit.jobs.assemble import assemble, build_job
from toolkit.jobs.build import build_optimizer_rule
from toolkit.jobs.train import run_training
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch

# Parts of pictures have no labels, so that batches of a step count differently.
CROPPED = "data.train.transforms=[{name: random_scale, minimum: 0.4, maximum: 1.0}, {name: random_crop, height: 32, width: 40}]"


def job_of(config: Config, folder: Path) -> tuple[Any, Job]:
    fabric, built = make_fabric(config.train), assemble(config)
    log = RunLog(None, None, quiet=True)
    return fabric, build_job(config, fabric, built.model, built.datasets, RunFolder(folder), log, to_yaml(config))


def test_overfitting_begins_with_the_first_step_of_a_training(tmp_path: Path) -> None:
    options = ["train.schedule=null", "train.freeze_until={backbone: 50}", "train.clip_norm=0.5", "train.log_every=1"]
    config = tiny_config(tmp_path / "data", *options, "train.steps=1", "train.evaluate_every=null")
    run_training(config, tmp_path / "run", quiet=True)
    fabric, job = job_of(config, tmp_path)
    before = copy.deepcopy(job.model.state_dict())
    result = overfit(fabric, job, config.train, 1)
    after = dict(job.model.state_dict())
    assert_same_tensors(after, weights(tmp_path / "run"), "weights")
    assert result.losses == [events(tmp_path / "run")[0]["loss"]]
    learned = [
        name
        for name, value in before.items()
        if name.endswith((".weight", ".bias")) and not torch.equal(value, after[name])
    ]
    assert learned
    assert not any(name.startswith("backbone") for name in learned)


def test_the_learning_rate_test_shares_a_step_out_as_a_training_does(tmp_path: Path) -> None:
    options = ["train.accumulate=2", "train.steps=1", "train.log_every=1", "train.evaluate_every=null", CROPPED]
    config = tiny_config(tmp_path / "data", *options)
    run_training(config, tmp_path / "run", quiet=True)
    fabric, job = job_of(config, tmp_path)
    found = find_learning_rate(fabric, job, config.train, steps=1)
    assert found.losses[0] == events(tmp_path / "run")[0]["loss"]


def test_the_batch_size_is_tried_with_the_whole_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is frozen at first counts, for it is trained in the end; the model comes back as it was."""
    config = tiny_config(tmp_path / "data", "train.freeze_until={backbone: 50}", "train.clip_norm=0.5")
    fabric, built = make_fabric(config.train), assemble(config)
    before, moved = copy.deepcopy(built.model.state_dict()), set[str]()
    real = VisionModel.loss

    def loss(self: VisionModel, batch: Batch) -> Any:
        moved.update(name for name, value in self.state_dict().items() if not torch.equal(value, before[name]))
        return real(self, batch)

    monkeypatch.setattr(VisionModel, "loss", loss)
    rule = build_optimizer_rule(config)
    largest_batch(fabric, built.model, rule, config.train, [built.datasets["train"][0]], 2)
    assert {name.split(".")[0] for name in moved if name.endswith(".weight")} == {"backbone", "neck", "head"}
    assert_same_tensors(dict(built.model.state_dict()), dict(before), "weights")


class Scaler:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def get_scale(self) -> float:
        return self.scale


@pytest.mark.parametrize(
    ("scale", "loss", "said"),
    [
        (65536.0, 1.0, ""),  # the scaler's to skip
        (65536.0, float("nan"), "the loss is not finite at step 8"),
        (1.0, 1.0, "the loss is finite, but its gradient is not at step 8"),  # nothing left to lower
    ],
)
def test_under_float16_only_what_no_scale_mends_is_an_error(scale: float, loss: float, said: str) -> None:
    """A gradient that stays NaN would be skipped for ever, the scale falling to 0 and nothing being trained."""

    class Precision:
        scaler = Scaler(scale)

    class Strategy:
        precision = Precision()

    class Fabric:
        strategy, world_size, global_rank = Strategy(), 1, 0

    empty = torch.zeros(1, 2)
    losses = [AsyncScalars({"dice": torch.tensor(value)}) for value in (0.5, loss)]
    norm, infinite = AsyncScalars({"gradient_norm": torch.tensor(3.0)}), torch.tensor(float("nan"))
    records = [
        StepRecord(7, 1, Batch(empty, empty, empty, ("a", "b")), {}, losses[0], norm),
        StepRecord(7, 2, Batch(empty, empty, empty, ("c", "d")), {}, losses[1], None),
    ]
    check = FiniteCheck(Fabric(), torch.nn.Linear(1, 1), lambda record: True, None, "")
    if not said:
        check.watch(AsyncScalars({"gradient_norm": infinite}), infinite, None, records)
        return
    with pytest.raises(UserError, match=rf"{said}.*\(2 of 2 of the step\): c, d"):
        check.watch(AsyncScalars({"gradient_norm": infinite}), infinite, None, records)

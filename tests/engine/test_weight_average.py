"""Averaged weights are PyTorch's, to the bit; they are what is measured and saved; a resumed run keeps both kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_laws import assert_same_run, assert_same_tensors, events, stop_after, weights
from tiny_run import tiny_config
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toolkit.engine.checkpoint import load_state
from toolkit.engine.weight_average import WeightAverage
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training

EMA = "train.ema_decay=0.7"


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    model[4].weight = model[3].weight  # shared
    return model


def steps(model: nn.Module, number: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(number):
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_equal_to_pytorchs_averaged_model_parameters_and_running_statistics() -> None:
    model = net()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(model)  # the first call copies
    ours = WeightAverage(model, 0.9)
    for _ in range(7):
        steps(model, 1)
        theirs.update_parameters(model)
        ours.update()
    state = ours.state()
    wanted = theirs.module.state_dict()
    assert state.keys() == wanted.keys()
    for name, value in state.items():
        if value.is_floating_point():
            assert torch.equal(value, wanted[name]), name
    assert int(state["1.num_batches_tracked"]) == 7  # a count is not averaged


def test_inside_the_model_has_the_averages_and_outside_its_own_weights() -> None:
    model = net()
    average = WeightAverage(model, 0.5)
    steps(model, 2)
    average.update()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    averages = {name: value.clone() for name, value in average.state().items()}
    with average.in_model():
        assert_same_tensors(dict(model.state_dict()), averages, "inside")
        model[1].running_mean.fill_(3.0)  # batch statistics recomputed: they belong to the averages
    assert_same_tensors(dict(model.state_dict()), own, "outside")
    assert torch.equal(average.state()["1.running_mean"], torch.full((4,), 3.0))


def test_a_saved_average_continues() -> None:
    model = net()
    whole, first = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    steps(model, 2)
    whole.update(), first.update()
    saved = {name: value.clone() for name, value in first.state().items()}
    again = WeightAverage(model, 0.9, saved)
    steps(model, 2)
    whole.update(), again.update()
    assert_same_tensors(whole.state(), again.state(), "average")


def test_without_a_decay_nothing_happens() -> None:
    model = net()
    average = WeightAverage(model, None)
    average.update()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with average.in_model():
        assert_same_tensors(dict(model.state_dict()), own, "model")
    assert average.state() == {}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture(scope="module")
def averaged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    run_training(tiny_config(data, EMA), run, quiet=True)
    return run


def test_averaging_does_not_touch_the_training(data: Path, averaged: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data), tmp_path / "plain", quiet=True)
    plain = [event for event in events(tmp_path / "plain") if "loss" in event]
    assert plain == [event for event in events(averaged) if "loss" in event]
    state = load_state(averaged / "last.state")
    assert_same_tensors(state.model, weights(tmp_path / "plain"), "the weights themselves")
    assert_same_tensors(state.average, weights(averaged), "last.safetensors")
    key = "backbone.levels.0.0.conv.weight"
    assert not torch.equal(state.model[key], state.average[key])


def test_what_is_measured_is_the_average(averaged: Path, tmp_path: Path) -> None:
    last = events(averaged)[-1]
    first, second = RecordWishes(out=tmp_path / "last"), RecordWishes(out=tmp_path / "best")
    assert run_evaluation(averaged / "last.safetensors", wishes=first)["metrics"]["mIoU"] == last["val/mIoU"]
    best = max(event["val/mIoU"] for event in events(averaged) if "val/mIoU" in event)
    assert run_evaluation(averaged / "best.safetensors", wishes=second)["metrics"]["mIoU"] == best


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(7, marks=pytest.mark.slow)])
def test_resumed_is_the_uninterrupted_run(
    data: Path, averaged: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(tiny_config(data, EMA), tmp_path / "run", step, monkeypatch)
    run_training(tiny_config(data, EMA), tmp_path / "run", resume=True, quiet=True)
    assert_same_run(averaged, tmp_path / "run")


def test_recomputed_statistics_are_those_of_the_averages(data: Path, averaged: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(tiny_config(data, EMA, "train.recompute_bn=2"), run, quiet=True)
    state, plain = load_state(run / "last.state"), load_state(averaged / "last.state")
    counts = ("num_batches_tracked",)  # recomputing counts its batches
    own, unchanged = ({k: v for k, v in one.model.items() if not k.endswith(counts)} for one in (state, plain))
    assert_same_tensors(own, unchanged, "the weights themselves and their statistics")
    mean = "backbone.levels.0.0.norm.running_mean"
    assert not torch.equal(state.average[mean], plain.average[mean])
    assert_same_tensors(weights(run), state.average, "last.safetensors")

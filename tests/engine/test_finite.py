"""A loss or gradient that is not finite ends the run before the weights see it, and leaves a batch that shows it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from run_laws import assert_same_tensors, events, weights
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.config.sections import Config
from toolkit.contracts import OPTIMIZERS
from toolkit.engine import step as step_module
from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.checkpoint import load_state
from toolkit.engine.finite import FiniteCheck, load_bad_batch
from toolkit.engine.step import gradient_norm
from toolkit.errors import CheckpointError, UserError
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.diagnostics import replay_batch
from toolkit.jobs.train import run_training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


def fails(config: Config, run: Path, match: str) -> Path:
    with pytest.raises(UserError, match=match):
        run_training(config, run, quiet=True)
    return run / "nonfinite_batch.state"


def poisoned(monkeypatch: pytest.MonkeyPatch, owner: type, at: int) -> None:
    """From step `at` on the module's output is not finite in training."""
    forward, rate, step = owner.forward, step_module.set_learning_rate, [0]

    def noted(optimizer: Any, schedule: Any, number: int, settings: Any) -> float:
        step[0] = number
        return rate(optimizer, schedule, number, settings)

    def bad(self: Any, *inputs: Any) -> Any:
        output = forward(self, *inputs)
        return output * float("inf") if self.training and step[0] >= at else output

    monkeypatch.setattr(step_module, "set_learning_rate", noted)
    monkeypatch.setattr(owner, "forward", bad)


def test_it_stops_with_step_terms_files_and_a_batch_that_shows_it_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(data)
    with monkeypatch.context() as patch:
        poisoned(patch, PixelHead, 5)
        pattern = r"not finite at step 6: cross_entropy nan; images of the batch: images/train/\S+, images/train/"
        file = fails(config, tmp_path / "run", pattern)
        result = replay_batch(file, quiet=True)
    assert result["module"] == "head (PixelHead)"  # its convolution was fine
    assert (result["step"], result["saved"], result["terms"]) == (6, {"cross_entropy": "nan"}, {"cross_entropy": "nan"})
    bad = load_bad_batch(file)
    assert bad.batch.images.dtype == torch.uint8
    assert bad.batch.images.shape[0] == bad.batch.label_maps.shape[0] == len(bad.batch.names) == 2
    assert load_state(tmp_path / "run" / "last.state").step == 4  # what was saved is from before
    assert not any(value != value for event in events(tmp_path / "run") for value in event.values())


def test_the_weights_are_those_that_made_the_loss(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five updates were made; the saved weights are those of a run of five steps (running statistics have one more)."""
    with monkeypatch.context() as patch:
        poisoned(patch, PixelHead, 5)
        file = fails(tiny_config(data), tmp_path / "run", "at step 6")
    run_training(tiny_config(data, "train.schedule=null", "train.steps=5"), tmp_path / "other", quiet=True)
    with monkeypatch.context() as patch:
        poisoned(patch, PixelHead, 5)
        again = fails(tiny_config(data, "train.schedule=null"), tmp_path / "constant", "at step 6")
    learned = {k: v for k, v in weights(tmp_path / "other").items() if k.endswith((".weight", ".bias"))}
    found = load_bad_batch(again).model
    assert_same_tensors({k: found[k] for k in learned}, learned, "weights")
    assert load_bad_batch(file).step == 5


def test_a_replay_makes_the_very_numbers_of_the_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout too: without the poison, the replayed loss is the loss of that step in a run that was never poisoned."""
    with monkeypatch.context() as patch:
        poisoned(patch, PixelHead, 5)
        file = fails(tiny_config(data), tmp_path / "run", "at step 6")
    result = replay_batch(file, quiet=True)
    assert (result["module"], result["parameters"], result["gradients"]) == ("", [], [])
    run_training(tiny_config(data, "train.log_every=1"), tmp_path / "whole", quiet=True)
    (event,) = [event for event in events(tmp_path / "whole") if event["step"] == 6 and "loss" in event]
    assert result["terms"]["cross_entropy"] == event["loss"]
    assert result["terms"]["gradient_norm"] == pytest.approx(event["gradient_norm"], rel=1e-6)


def test_a_gradient_that_is_not_finite_stops_too(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * float("nan")

    real = PixelHead.forward
    with monkeypatch.context() as patch:
        patch.setattr(PixelHead, "forward", lambda self, pyramid: Bad.apply(real(self, pyramid)))
        file = fails(tiny_config(data), tmp_path / "run", "the loss is finite, but its gradient is not at step 1")
        result = replay_batch(file, quiet=True)
    assert result["terms"]["gradient_norm"] == "nan"
    assert "head.classifier.weight" in result["gradients"]
    assert all(bool(torch.isfinite(value).all()) for value in load_bad_batch(file).model.values())


def test_first_module_and_weights_are_named(data: Path, tmp_path: Path) -> None:
    plain = ["model.backbone.norm=none", "model.neck.norm=none"]
    config = tiny_config(data, "train.optimizer={name: sgd, lr: 1e38}", *plain)
    result = replay_batch(fails(config, tmp_path / "run", r"train\.optimizer\.lr"), quiet=True)
    assert result["module"] == "backbone.levels.0.0.conv (Conv2d)"


def test_boxes_are_saved_and_replayed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_detection_config(tmp_path / "boxes")
    real, calls = UNetEncoder.forward, [0]

    def forward(self: Any, images: torch.Tensor) -> Any:
        calls[0] += self.training
        return real(self, images * float("nan") if calls[0] == 3 else images)

    with monkeypatch.context() as patch:
        patch.setattr(UNetEncoder, "forward", forward)
        file = fails(config, tmp_path / "run", r"not finite at step \d: rpn_objectness nan")
    bad = load_bad_batch(file)
    assert [len(boxes.xyxy) for boxes in bad.batch.boxes] == [len(boxes.labels) for boxes in bad.batch.boxes]
    assert set(replay_batch(file, quiet=True)["terms"]) > {"rpn_objectness", "roi_boxes"}


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n(S'echo'\ntR.", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nonfinite_batch.state"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged, or not a batch that a training saved"):
        load_bad_batch(path)


def test_another_kind_of_state_is_refused(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data, "train.steps=1"), tmp_path / "run", quiet=True)
    with pytest.raises(CheckpointError, match="not a batch"):
        load_bad_batch(tmp_path / "run" / "last.state")
    with pytest.raises(CheckpointError, match="no saved batch"):
        load_bad_batch(tmp_path / "none.state")


class Precision(NamedTuple):
    scaler: torch.amp.GradScaler


class Strategy(NamedTuple):
    precision: Precision


class ScaledFabric(NamedTuple):
    """What `FiniteCheck` and `gradient_norm` look at, with a scaler on the CPU, which training itself refuses."""

    strategy: Strategy
    world_size: int = 1
    global_rank: int = 0


@pytest.mark.parametrize("overflows", [False, True])
def test_float16s_scaler_skips_what_overflows_and_that_is_no_error(overflows: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    fabric = ScaledFabric(Strategy(Precision(scaler)))
    x = torch.randn(4, 3) * (1e36 if overflows else 1.0)
    (plain,) = torch.autograd.grad(layer(x).sum(), layer.weight)
    before = layer.weight.detach().clone()
    scaler.scale(layer(x).sum()).backward()
    norm = gradient_norm(fabric, optimizer, clip_norm=0.5)
    check = FiniteCheck(fabric, layer, lambda record: False, None, "")
    check.watch(AsyncScalars({"gradient_norm": norm}), norm, optimizer, [])
    scaler.step(optimizer)
    scaler.update()
    check.settle()
    if overflows:
        assert torch.equal(layer.weight, before)
        assert scaler.get_scale() == 32768.0
    else:
        both = torch.cat([plain.flatten(), torch.tensor([4.0])])
        assert float(norm) == pytest.approx(float(both.norm()), rel=1e-6)
        torch.testing.assert_close(layer.weight, before - 0.1 * plain * 0.5 / both.norm(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_takes_the_flag_by_which_a_gpu_leaves_a_step_out(name: str) -> None:
    """On a GPU the norm is read a step later; until then the flag, which float16's scaler sets too, guards the weights."""
    weight = torch.nn.Parameter(torch.ones(5))
    optimizer = OPTIMIZERS.find(name)(lr=0.1).build([{"params": [weight]}])
    for flag, moves in ((0.0, True), (1.0, False), (0.0, True)):
        before = weight.detach().clone()
        weight.grad = torch.full((5,), float("nan") if flag else 1.0)
        optimizer.found_inf = torch.tensor(flag)
        optimizer.step()
        assert torch.equal(before, weight) != moves
        assert bool(torch.isfinite(weight).all())

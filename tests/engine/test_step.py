"""One training step for all: it keeps to its own parameters, and finds the micro-batch that is at fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from run_laws import assert_same_tensors
from tiny_run import tiny_config
from torch import Tensor, nn

from toolkit.contracts import PixelLoss
from toolkit.engine import step as step_module
from toolkit.engine.finite import load_bad_batch, save_bad_batch
from toolkit.engine.prepare import LossModule
from toolkit.engine.process import OneProcess
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep
from toolkit.errors import UserError
from toolkit.jobs.diagnostics import replay_batch
from toolkit.jobs.train import run_training
from toolkit.samples import Batch

SETTINGS = TrainSettings(steps=9, accumulate=2, clip_norm=0.5, warmup_steps=3)


class Half(nn.Module):
    """Draws, as dropout does, so that a random stream that is shared would show."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 1))

    @property
    def model(self) -> nn.Module:
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"square": self.layers(batch.images).square().mean()}


class Both(nn.Module):
    """One net of two halves; each step's loss sees both, and may move its own only."""

    def __init__(self, own: str) -> None:
        super().__init__()
        self.a, self.b, self.own = Half(1), Half(2), own

    @property
    def model(self) -> nn.Module:
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "own": getattr(self, self.own)(batch)["square"],
            "other": self.a(batch)["square"] * self.b(batch)["square"],
        }


def batches(seed: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.ones(4, 2, dtype=torch.int64)
    return [Batch(torch.randn(4, 6, generator=generator), sizes, sizes, ("1", "2", "3", "4")) for _ in range(6)]


def training_step(module: nn.Module, parameters: Any, seed: int) -> TrainingStep:
    optimizer = torch.optim.AdamW([{"params": list(parameters), "base_lr": 0.1}], lr=0.1, fused=True)
    return TrainingStep(OneProcess(), module, optimizer, SETTINGS, seed=seed)


def in_turns(steps: list[tuple[TrainingStep, list[Batch]]]) -> None:
    """Three updates of two micro-batches each, those of all steps interleaved."""
    for number in range(3):
        records: list[list[Any]] = [[] for _ in steps]
        for part in range(2):
            for (step, data), own in zip(steps, records, strict=True):
                seed = 100 * step.seed + 2 * number + part
                own.append(step.accumulate(number, data[2 * number + part], seed, {}, part + 1, 2))
        for (step, _), own in zip(steps, records, strict=True):
            step.update(number, own)


def test_two_steps_in_one_loop_are_two_loops() -> None:
    together, apart = [Half(1), Half(2)], [Half(1), Half(2)]
    in_turns([(training_step(net, net.parameters(), n), batches(n)) for n, net in enumerate(together)])
    for n, net in enumerate(apart):
        in_turns([(training_step(net, net.parameters(), n), batches(n))])
    for one, other, fresh in zip(together, apart, [Half(1), Half(2)], strict=True):
        assert_same_tensors(one.state_dict(), other.state_dict(), "interleaved")
        assert not torch.equal(one.layers[0].weight, fresh.layers[0].weight)


def test_halves_of_one_net_get_gradients_of_their_own_step_only() -> None:
    """What B's update sees is B's gradients: those of A's losses by the same parameters never reach it."""
    net = Both("a")
    own: dict[str, list[Tensor]] = {}
    steps = {name: training_step(net, getattr(net, name).parameters(), 0) for name in ("a", "b")}
    (batch,) = batches(0)[:1]
    records = {}
    for name, step in steps.items():
        net.own = name
        records[name] = step.accumulate(0, batch, 7, {}, 1, 1)
        own[name] = [p.grad.clone() for p in getattr(net, name).parameters()]
    for name in steps:
        alone = Both(name)
        training_step(alone, getattr(alone, name).parameters(), 0).accumulate(0, batch, 7, {}, 1, 1)
        found = [p.grad for p in getattr(net, name).parameters()]
        for gradient, before, wanted in zip(found, own[name], getattr(alone, name).parameters(), strict=True):
            assert torch.equal(gradient, before)
            assert torch.equal(gradient, wanted.grad)
    steps["a"].update(0, [records["a"]])
    assert all(p.grad is None for p in net.a.parameters())
    assert all(p.grad is not None for p in net.b.parameters())
    assert all(p.requires_grad for p in net.parameters())


def poisoned(monkeypatch: pytest.MonkeyPatch, guilty: int, *, gradient: bool, repeats: bool) -> list[tuple[str, ...]]:
    """The training pass number `guilty` is not finite, and, if it repeats, every pass of the same images."""

    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * float("nan")

    calls: list[tuple[str, ...]] = []
    real = LossModule.forward

    def forward(self: LossModule, batch: Batch) -> dict[str, Tensor]:
        terms = real(self, batch)
        calls.append(batch.names)
        if len(calls) - 1 == guilty or (repeats and len(calls) > guilty and batch.names == calls[guilty]):
            return {name: Bad.apply(term) if gradient else term * float("nan") for name, term in terms.items()}
        return terms

    monkeypatch.setattr(LossModule, "forward", forward)
    return calls


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_micro_batch_at_fault_is_named_saved_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradient: bool, part: int
) -> None:
    config = tiny_config(tmp_path / "data", "train.accumulate=3", "train.evaluate_every=null", "data.batch_size=1")
    calls = poisoned(monkeypatch, 3 + part, gradient=gradient, repeats=True)
    what = "its gradient is not at step 2" if gradient else "the loss is not finite at step 2"
    with pytest.raises(UserError, match=rf"{what}.*\({part + 1} of 3 of the step\)") as caught:
        run_training(config, tmp_path / "run", quiet=True)
    file = tmp_path / "run" / "nonfinite_batch.state"
    (guilty,) = calls[3 + part]
    assert guilty in str(caught.value)
    assert load_bad_batch(file).batch.names == (guilty,)
    replayed = replay_batch(file, quiet=True)
    assert "nan" in replayed["terms"].values()
    assert replayed["step"] == 2


def test_a_fault_that_does_not_come_again_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path / "data", "train.accumulate=2", "train.evaluate_every=null")
    calls = poisoned(monkeypatch, 2, gradient=True, repeats=False)
    with pytest.raises(UserError, match=r"its gradient is not at step 2"):
        run_training(config, tmp_path / "run", quiet=True)
    assert load_bad_batch(tmp_path / "run" / "nonfinite_batch.state").batch.names == calls[2]
    assert len(calls) == 4  # nothing was done again


def test_shares_are_saved_with_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = "data.train.transforms=[{name: random_scale, minimum: 0.4, maximum: 1.0}, {name: random_crop, height: 32, width: 40}]"
    config = tiny_config(tmp_path / "data", "train.accumulate=2", "train.evaluate_every=null", crop)
    with monkeypatch.context() as patch:
        poisoned(patch, 2, gradient=False, repeats=False)
        with pytest.raises(UserError, match="not finite"):
            run_training(config, tmp_path / "run", quiet=True)
    file = tmp_path / "run" / "nonfinite_batch.state"
    bad = load_bad_batch(file)
    share = bad.shares["cross_entropy"]
    assert share not in (0.0, 1.0)
    replayed = replay_batch(file, quiet=True)["terms"]["cross_entropy"]
    save_bad_batch(file, bad._replace(shares={}))
    assert replay_batch(file, quiet=True)["terms"]["cross_entropy"] * share == pytest.approx(replayed, rel=1e-6)


class Ratio(PixelLoss):
    """A sum over a sum."""

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        above, below = self.total(torch.stack((logits.sum(), logits.new_tensor(float(logits.numel())))))
        return above / below


class WithLoss(Half):
    def __init__(self) -> None:
        super().__init__(1)
        self.ratio = Ratio()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"ratio": self.ratio(self.layers(batch.images), batch.sizes)}


class TwoProcesses(OneProcess):
    world_size = 2


def test_losses_add_up_their_sums_in_a_step_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation measures images alone, another number of them in each process: nobody would answer."""
    asked: list[Tensor] = []
    monkeypatch.setattr(step_module, "sum_over_processes", lambda sums: asked.append(sums) or sums)
    net = WithLoss()
    step = TrainingStep(TwoProcesses(), net, None, SETTINGS)
    (batch,) = batches(0)[:1]
    step.losses(batch, 0)
    assert len(asked) == 1
    net(batch)
    assert len(asked) == 1
    TrainingStep(OneProcess(), net, None, SETTINGS).losses(batch, 0)
    assert len(asked) == 1

"""Training, evaluation and prediction of every head and loss keep everything on the model's device.

No accelerator is needed: see `rehearsed_device.py`. What would make the host wait for the device is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.test_losses import CASES as LOSS_CASES
from lightning_fabric.utilities.apply_func import move_data_to_device
from rehearsed_device import ACCELERATOR, CPU, MixedDevicesError, label, on_accelerator, put, rehearsal
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_map
from versions import OLD_TORCH

import toolkit.evaluators
import toolkit.heads
import toolkit.losses  # noqa: F401  registers
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import EVALUATORS, HEADS, LOSSES, Evaluator, PixelLoss
from toolkit.engine.checkpoint import TrainState, load_state, restore_state, save_state
from toolkit.engine.evaluate import evaluate
from toolkit.engine.prepare import LossModule, trained_module, with_base_rates
from toolkit.engine.process import OneProcess
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep
from toolkit.engine.weight_average import WeightAverage
from toolkit.heads.roi import RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.samples import Batch, Boxes, Sample, Truth, collate

CLASSES = 4
HEAD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "image": {"hidden": [8], "dropout": [0.5, 0.0]},
    "pixel": {"dropout": 0.3},
    "rcnn": {
        "rpn": RpnSettings(
            anchors=AnchorSettings(scales=(4.0,)),
            proposals=ProposalSettings(before_train=40, after_train=20, before_test=40, after_test=10),
            samples=16,
        ),
        "roi": RoiSettings(hidden=16, samples=8, dropout=0.2),
    },
}
WAITS = {"rcnn": 21, "lovasz": 9}
"""How often a step of two batches of two images may wait for the device, where it is more than `WAITS_OF_A_STEP`. A detector
asks how many boxes are left, for each image after the suppression (4) and when anchors and proposals are sampled (4 + 4),
and eight times for a whole batch; Lovász-softmax asks which pixels count and which classes are there, for each image if so told."""
WAITS_OF_A_STEP = 1
"""For the losses of its batches together (`engine/async_scalars.py`); the norm of the step before has come by then."""


class Rehearsed(OneProcess):
    """One process whose device is the accelerator; batches are moved by Fabric's own function."""

    device = ACCELERATOR

    def to_device(self, value: Any) -> Any:
        """The batch as Fabric leaves it."""
        return move_data_to_device(value, ACCELERATOR)

    def autocast(self) -> Any:
        """bf16 where PyTorch takes it."""
        return torch.autocast(ACCELERATOR.type, torch.bfloat16)


class Mixed(torch.nn.Module):
    """A loss in bf16, as Fabric wraps it."""

    def __init__(self, module: LossModule) -> None:
        super().__init__()
        self.module, self.model = module, module.model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(ACCELERATOR.type, torch.bfloat16):
            return self.module(batch)


def batch_of(sizes: list[tuple[int, int]], *, truths: bool = False) -> Batch:
    """Random pictures with every kind of annotation."""
    generator = np.random.default_rng(0)
    samples = []
    for index, (height, width) in enumerate(sizes):
        labels = generator.integers(0, CLASSES, (height, width)).astype(np.uint8)
        labels[:2] = 255
        samples.append(
            Sample(
                generator.integers(0, 256, (height, width, 3), np.uint8),
                f"{index}.png",
                index,
                (height, width),
                labels,
                Boxes.of([[2, 2, 15, 12], [5, 4, 20, 18]], [0, 1]),
                index % CLASSES,
                np.linspace(0, 1, CLASSES, dtype=np.float32),
                generator.random((height, width)).astype(np.float32) + 0.5,
            )
        )
    return collate(samples, [Truth.of(sample) for sample in samples] if truths else ())


def model_with(name: str, arguments: dict[str, Any]) -> VisionModel:
    torch.manual_seed(0)
    backbone = UNetEncoder(in_channels=3, width=2, depth=3, padding="same", norm="batch", dropout=0.0)
    neck = FPN(backbone.spec, strides=[2, 4], channels=4, extra="none") if name == "rcnn" else None
    spec = neck.spec if neck else backbone.spec
    head = HEADS.find(name)(spec, CLASSES, **arguments)
    return VisionModel(backbone, neck, head, [f"class {i}" for i in range(CLASSES)])


def trained_step(model: VisionModel, average: Mapping[str, Tensor] | None = None) -> tuple[TrainingStep, WeightAverage]:
    """A step with everything that touches gradients and weights: bf16, accumulation, clipping, an average."""
    settings = TrainSettings(steps=4, accumulate=2, clip_norm=0.5)
    module = Mixed(trained_module(Rehearsed(), model, settings))
    optimizer = with_base_rates(torch.optim.AdamW(model.parameters(), lr=0.01, fused=True))
    return TrainingStep(Rehearsed(), module, optimizer, settings), WeightAverage(model, 0.9, average)


def saved_and_loaded(step: TrainingStep, average: WeightAverage, path: Path) -> TrainState:
    """The state as a file gives it back, on the host."""
    tensors = (step.model.state_dict(), step.optimizer.state_dict(), average.state())
    model, optimizer, averages = tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, tensors)
    save_state(path, TrainState(1, model, optimizer, {}, {}, -1, {}, "", average=averages))
    state = load_state(path)
    for tensor in tree_iter((state.model, state.optimizer, state.average)):
        if isinstance(tensor, Tensor):
            put(tensor, CPU)
    return state


def batches() -> list[Batch]:
    return [batch_of([(24, 32), (20, 28)]), batch_of([(24, 32), (24, 32)])]


def assert_few(waits: Counter[str], name: str) -> None:
    most = WAITS.get(name, WAITS_OF_A_STEP)
    assert waits.total() <= most, "\n".join(f"{number} x {what}" for what, number in waits.most_common())


def evaluators_of(model: VisionModel) -> list[Evaluator]:
    """The first one that takes what the head predicts."""
    kinds = [EVALUATORS.find(name) for name in ("semantic", "coco", "classification", "regression", "dense_regression")]
    return [kind(list(model.classes)) for kind in kinds if kind.takes is model.head.gives][:1]


@pytest.mark.parametrize("name", HEADS.names())
def test_a_head_stays_on_its_device(name: str, tmp_path: Path) -> None:
    """A step of two batches; in another process, resumed from its file, the next one; an evaluation and a prediction."""
    model = model_with(name, HEAD_ARGUMENTS.get(name, {}))
    with rehearsal():
        on_accelerator(model)
        step, average = trained_step(model)
        step.run(0, batches())
        average.update()
    state = saved_and_loaded(step, average, tmp_path / "last.state")
    model = model_with(name, HEAD_ARGUMENTS.get(name, {}))
    with rehearsal() as waits:
        on_accelerator(model)
        step, average = trained_step(model, state.average)
        restore_state(Rehearsed(), model, step.optimizer, state, tmp_path / "last.state")
        waits.clear()
        step.run(1, batches())
        average.update()
        assert_few(waits, name)
        step.settle()
        kept = (model.state_dict(), step.optimizer.state_dict()["state"], average.state())
        assert all(label(tensor) == ACCELERATOR for tensor in tree_iter(kept) if isinstance(tensor, Tensor))
        model.eval()
        with average.in_model():
            seen = [batch_of([(24, 32), (20, 28)], truths=True)]
            evaluate(Rehearsed(), model, seen, evaluators_of(model), images=2, with_loss=True)
            for prediction in model.predict(Rehearsed().to_device(batch_of([(24, 32)]))):
                assert all(label(part) != ACCELERATOR for part in prediction if isinstance(part, Tensor))


def step_with(loss: PixelLoss) -> Counter[str]:
    """The waits of a step of two batches."""
    model = model_with("pixel", {"loss": loss})
    with rehearsal() as waits:
        on_accelerator(model)
        trained_step(model)[0].run(0, batches())
    return waits


FIRST_CASES = [case for case in LOSS_CASES if str(case.id).endswith("-0")]
"""One case a loss: a rehearsed step is dear, and what a loss does on a device hardly depends on its arguments."""
OTHER_CASES = [
    pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) for case in LOSS_CASES if case not in FIRST_CASES
]


@pytest.mark.parametrize(("name", "arguments"), [*FIRST_CASES, *OTHER_CASES])
def test_a_loss_stays_on_its_device(name: str, arguments: dict[str, Any]) -> None:
    if OLD_TORCH and name == "lovasz":
        pytest.skip("the gradient of sorting in torch 2.11 makes its zeros below what a rehearsal sees")
    assert_few(step_with(LOSSES.find(name)(**arguments)), name)


class Planted(PixelLoss):
    """A squared error with a fault that no processor shows."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.factors = torch.ones(CLASSES)  # no buffer: it does not move with the model
        self.register_buffer("scale", torch.ones(CLASSES))

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        if self.fault == "left on the host":
            logits = logits * self.factors[:, None, None]
        if self.fault == "a buffer left on the host":
            self.scale = torch.ones(CLASSES) if label(self.scale) == ACCELERATOR else self.scale
            logits = logits * self.scale[:, None, None]
        if self.fault == "a factory without a device":
            logits = logits + torch.arange(CLASSES)[:, None, None]
        if self.fault == "waits":
            logits = logits / max(logits.detach().abs().max().item(), 1.0)
        if self.fault == "looks":
            logits = logits[labels[:, None].expand_as(logits) < 255]
        if self.fault == "copies":
            logits = logits / max(float(logits.detach().abs().max().cpu()), 1.0)
        return logits.square().mean()


@pytest.mark.parametrize("fault", ["left on the host", "a buffer left on the host", "a factory without a device"])
def test_two_devices_are_found(fault: str) -> None:
    loss = Planted(fault)
    with rehearsal():
        put(loss.factors, CPU)
    with pytest.raises(MixedDevicesError, match="reads two devices"):
        step_with(loss)


@pytest.mark.parametrize("fault", ["waits", "looks", "copies"])
def test_waits_are_found(fault: str) -> None:
    with pytest.raises(AssertionError, match="x "):
        assert_few(step_with(Planted(fault)), "planted")


def test_a_sound_loss_waits_once() -> None:
    assert step_with(Planted("none")).total() == WAITS_OF_A_STEP

"""The mean over several batches or processes is the mean over all their pixels, not the mean of their means."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import tiny_config
from torch import Tensor
from torch.nn import functional as F

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import PixelLoss
from toolkit.engine.step import apply_shares, loss_shares
from toolkit.heads.pixel import PixelHead
from toolkit.heads.pixel_values import PixelValuesHead
from toolkit.jobs.train import run_training
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.overlap import Dice
from toolkit.losses.weighted_sum import WeightedSum
from toolkit.models.vision_model import VisionModel
from toolkit.samples import IGNORE_INDEX, Batch

ALONE = SimpleNamespace(world_size=1, device="cpu")


def model(loss: PixelLoss | None = None, values: bool = False, padding: str = "same") -> VisionModel:
    torch.manual_seed(0)
    backbone = UNetEncoder(in_channels=3, width=4, depth=2, norm="none", dropout=0.0, padding=padding)  # type: ignore[arg-type]
    head: Any = PixelValuesHead(backbone.spec, 1) if values else PixelHead(backbone.spec, 3, loss=loss)
    return VisionModel(backbone, None, head, ["a"] if values else ["a", "b", "c"])


def batch(seed: int, number: int, ignored: float, size: tuple[int, int] = (16, 20)) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (number, 3, *size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (number, *size), generator=generator, dtype=torch.uint8)
    void = torch.rand(number, *size, generator=generator) < ignored
    labels[void] = IGNORE_INDEX
    values = torch.rand(number, *size, generator=generator).masked_fill(void, float("nan"))
    sizes = torch.tensor([size] * number)
    return Batch(images, sizes, sizes, tuple(f"{seed}_{n}" for n in range(number)), labels, value_maps=values)


def together(one: Batch, two: Batch) -> Batch:
    joined = [torch.cat([getattr(one, name), getattr(two, name)]) for name in Batch._fields[:3]]
    labels = torch.cat([one.label_maps, two.label_maps])  # type: ignore[list-item]
    values = torch.cat([one.value_maps, two.value_maps])  # type: ignore[list-item]
    return Batch(*joined, one.names + two.names, labels, value_maps=values)


def gradients(net: VisionModel, parts: list[Batch], shares: list[dict[str, float]]) -> tuple[float, list[Tensor]]:
    net.zero_grad()
    total = 0.0
    for part, share in zip(parts, shares, strict=True):
        loss = sum(apply_shares(net.loss(part), share).values()) / len(parts)
        loss.backward()  # type: ignore[union-attr]
        total += float(loss)
    return total, [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", ["plain", "weights", "pixels", "values", "sum", "valid convolutions"])
def test_two_batches_make_the_step_of_one(kind: str) -> None:
    losses: dict[str, PixelLoss | None] = {
        "weights": CrossEntropy([0.2, 1.0, 5.0]), "pixels": CrossEntropy([0.2, 1.0, 5.0], "pixels"),
        "sum": WeightedSum([CrossEntropy(), CrossEntropy([1.0, 2.0, 3.0])], [0.5, 2.0]),
    }  # fmt: skip
    size = (28, 28) if kind == "valid convolutions" else (16, 20)
    padding = "valid" if kind == "valid convolutions" else "same"
    net = model(losses.get(kind), values=kind == "values", padding=padding)
    one, two = batch(1, 2, 0.1, size), batch(2, 2, 0.9, size)
    shares = loss_shares(ALONE, net, [one, two])
    assert any(abs(factor - 1) > 0.3 for share in shares for factor in share.values())
    loss, found = gradients(net, [one, two], shares)
    wanted_loss, wanted = gradients(net, [together(one, two)], [{}])
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    means, _ = gradients(net, [one, two], [{}, {}])  # the mean of means is something else
    assert means != pytest.approx(wanted_loss, rel=1e-3)


def test_amounts_are_what_the_loss_divides_by() -> None:
    labels = torch.tensor([[[0, 1, 2, IGNORE_INDEX, 1]]])
    logits = torch.randn(1, 3, 1, 5)
    weights = torch.tensor([0.5, 2.0, 7.0])
    loss = CrossEntropy(weights.tolist())
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX, reduction="sum")
    assert float(loss(logits, labels) * loss.denominator(labels)) == pytest.approx(float(total), rel=1e-6)
    assert loss.denominator(labels) == 0.5 + 2 + 7 + 2
    assert CrossEntropy(weights.tolist(), "pixels").denominator(labels) == 4
    both = WeightedSum([CrossEntropy(), Dice(), CrossEntropy(weights.tolist())])
    names = {name: None if amount is None else float(amount) for name, amount in both.denominators(labels).items()}
    assert names == {"cross_entropy": 4.0, "dice": None, "cross_entropy_2": 11.5}
    assert list(names) == list(both.terms(logits, labels))


def test_one_batch_alone_and_batches_without_labels_keep_their_loss() -> None:
    net = model()
    assert loss_shares(ALONE, net, [batch(1, 2, 0.5)]) == [{}]
    nothing = [batch(1, 1, 1.1), batch(2, 1, 1.1)]
    shares = loss_shares(ALONE, net, nothing)
    assert shares == [{"cross_entropy": 1.0}] * 2
    full = loss_shares(ALONE, net, [batch(1, 2, -1.0), batch(2, 2, -1.0)])
    assert full == [{"cross_entropy": 1.0}] * 2  # exactly: accumulation of whole label maps is what it was
    half = loss_shares(ALONE, net, [batch(1, 1, -1.0), batch(2, 1, 1.1)])
    assert half == [{"cross_entropy": 2.0}, {"cross_entropy": 0.0}]


def test_accumulation_with_ignored_pixels_is_a_larger_batch(tmp_path: Path) -> None:
    """As a whole job: cut out of larger pictures, windows have padding that does not count."""
    plain = [
        "model.backbone.norm=none", "model.neck.norm=none", "model.backbone.dropout=0.0",
        "train.optimizer={name: sgd, lr: 0.1}", "train.steps=4",
        "data.train.transforms=[{name: random_scale, minimum: 0.4, maximum: 1.0}, {name: random_crop, height: 32, width: 40}]",
    ]  # fmt: skip
    run_training(tiny_config(tmp_path / "data", *plain, "data.batch_size=4"), tmp_path / "a", quiet=True)
    run_training(tiny_config(tmp_path / "data", *plain, "train.accumulate=2"), tmp_path / "b", quiet=True)
    first, second = load_file(tmp_path / "a/last.safetensors"), load_file(tmp_path / "b/last.safetensors")
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)


def test_the_factor_reaches_only_its_term() -> None:
    losses = {"cross_entropy": torch.tensor(2.0), "dice": torch.tensor(3.0)}
    assert apply_shares(losses, {"cross_entropy": 1.5}) == {
        "cross_entropy": torch.tensor(3.0),
        "dice": torch.tensor(3.0),
    }

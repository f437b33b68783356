"""Recomputed nets are the ordinary nets: outputs, gradients and running statistics, to the bit."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.backbones.resnet import ResNet
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import BACKBONES, Backbone
from toolkit.layers.conv import ConvNormAct
from toolkit.layers.recomputed import Recompute, Recomputed, after, recompute
from toolkit.ops.kept_bytes import kept_for_backward
from toolkit.ops.pooling import max_pool, max_unpool

LEVELS = ("units", "blocks")
NETS: dict[str, dict[str, Any]] = {
    "unet_encoder": {"in_channels": 3, "width": 8, "depth": 3, "padding": "same", "norm": "batch", "dropout": 0.5},
    "vgg": {"depth": 11, "batch_norm": True, "pool_indices": True, "ceil_mode": True, "dropout_after": [3, 4]},
    "resnet": {"depth": 18},
    "densenet": {},
    "googlenet": {},
    "timm": {"model": "efficientnet_b0"},
    "smp": {"encoder": "mobilenet_v2", "weights": None},
}
QUICK = ("unet_encoder", "resnet")


def backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES.find(name)(**NETS[name])


def step(net: Backbone, images: Tensor) -> tuple[dict[str, Tensor], int]:
    """Everything a training step leaves behind, and the bytes it kept."""
    torch.manual_seed(1)
    with kept_for_backward(net) as kept:
        maps = net(images).maps
    bytes_kept = kept.bytes
    sum((one.float().square().mean() for one in maps), torch.zeros(())).backward()
    left = {f"map {number}": one.detach() for number, one in enumerate(maps)}
    left |= {f"gradient {name}": p.grad for name, p in net.named_parameters() if p.grad is not None}
    return left | dict(net.named_buffers()), bytes_kept


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETS])
def test_equal_to_the_ordinary_net_and_keeps_less(name: str, level: Recompute) -> None:
    images = torch.rand(2, 3, 32, 32)
    wanted, whole = step(backbone(name), images)
    net = backbone(name)
    names = list(net.state_dict())
    assert recompute(net, level) > 1
    assert list(net.state_dict()) == names
    found, kept = step(net, images)
    assert_equal(found, wanted)
    assert kept < 0.8 * whole


@pytest.mark.parametrize("level", LEVELS)
def test_under_bfloat16(level: Recompute) -> None:
    images = torch.rand(2, 3, 32, 32)

    def mixed(net: Backbone) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return step(net, images)[0]

    wanted = mixed(backbone("unet_encoder"))
    net = backbone("unet_encoder")
    recompute(net, level)
    assert wanted["map 1"].dtype == torch.bfloat16
    assert_equal(mixed(net), wanted)


@pytest.mark.parametrize("level", LEVELS)
def test_in_channels_last(level: Recompute) -> None:
    images = torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    plain, net = (backbone("unet_encoder").to(memory_format=torch.channels_last) for _ in range(2))
    recompute(net, level)
    assert_equal(step(net, images)[0], step(plain, images)[0])


def test_a_norm_in_evaluation_mode_stays_as_it_is() -> None:
    images = torch.rand(2, 3, 32, 32)
    plain, net = backbone("unet_encoder"), backbone("unet_encoder")
    recompute(net, "units")
    for one in (plain, net):
        for module in one.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    before = copy.deepcopy(dict(net.named_buffers()))
    assert_equal(step(net, images)[0], step(plain, images)[0])
    assert_equal(dict(net.named_buffers()), before)


def test_statistics_without_momentum_count_each_step_once() -> None:
    units = [ConvNormAct(3, 4), ConvNormAct(3, 4)]
    for unit in units:
        assert isinstance(unit.norm, nn.BatchNorm2d)
        unit.norm.momentum = None  # the plain mean of all batches
    units[1].load_state_dict(units[0].state_dict())
    recompute(units[1], "units")
    for seed in range(3):
        x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        for unit in units:
            unit(x).sum().backward()
    assert int(units[1].norm.num_batches_tracked) == 3  # type: ignore[arg-type]
    assert_equal(units[1].state_dict(), units[0].state_dict())


def test_only_inputs_of_units_are_kept() -> None:
    """Three units of 8 channels: what each gets, and nothing of what is inside."""
    net = nn.Sequential(ConvNormAct(3, 8), ConvNormAct(8, 8), ConvNormAct(8, 8))
    recompute(net, "units")
    x = torch.rand(2, 3, 20, 30)
    with kept_for_backward(net) as kept:
        net(x)
    assert kept.bytes == 4 * 2 * 20 * 30 * (3 + 8 + 8)


def test_a_flat_sequence_is_recomputed_piece_by_piece() -> None:
    def layers() -> nn.Sequential:
        torch.manual_seed(0)
        made = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2), nn.Dropout(0.5)]
        return nn.Sequential(*made, nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True))

    x, outputs = torch.rand(2, 3, 21, 21), []
    plain, net = layers(), layers()
    assert recompute(net, "units") == 1
    for one in (plain, net):
        torch.manual_seed(2)
        with kept_for_backward(one) as kept:
            outputs.append(one(x))
        outputs[-1].sum().backward()
    assert torch.equal(*outputs)
    for first, second in zip(plain.parameters(), net.parameters(), strict=True):
        assert torch.equal(first.grad, second.grad)  # type: ignore[arg-type]
    # The input, and what the first convolution gives.
    assert kept.bytes == 4 * 2 * (3 * 21**2 + 8 * 19**2)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The output channels of every convolution that is done, in order."""
    done: list[int] = []
    real = nn.Conv2d.forward

    def noted(self: nn.Conv2d, x: Tensor) -> Tensor:
        out = real(self, x)
        done.append(self.out_channels)
        return out

    monkeypatch.setattr(nn.Conv2d, "forward", noted)
    return done


def test_of_a_row_only_the_last_convolution_is_done_again(done: list[int]) -> None:
    net = nn.Sequential(ConvNormAct(3, 4), ConvNormAct(4, 5), ConvNormAct(5, 6), nn.Dropout(0.5))
    assert recompute(net, "units") == 1
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    assert done == [4, 5, 6, 6]


def test_a_last_convolution_of_many_channels_is_not(done: list[int]) -> None:
    net = nn.Sequential(ConvNormAct(3, 129), ConvNormAct(129, 2))
    recompute(net, "units")
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    assert done == [129, 2]


@pytest.mark.parametrize("level", LEVELS)
def test_of_an_unpooling_before_a_unit_only_the_small_map_is_kept(level: Recompute) -> None:
    torch.manual_seed(0)
    pooled, indices = max_pool(torch.randn(2, 8, 20, 30))
    unpool = functools.partial(max_unpool, indices=indices)
    plain = nn.Sequential(ConvNormAct(8, 4), ConvNormAct(4, 4))
    net = copy.deepcopy(plain)
    recompute(net, level)
    found = []
    for one in (plain, net):
        small = pooled.clone().requires_grad_()
        with kept_for_backward(one) as kept:
            out = after(unpool, one, small)
        out.square().sum().backward()
        found.append([out, small.grad, *(p.grad for p in one.parameters())])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    first_convolution = 2 * 4 * 20 * 30
    assert kept.bytes == 4 * (pooled.numel() + (first_convolution if level == "units" else 0))


def test_a_copy_computes_with_its_own_weights() -> None:
    net = UNetEncoder(3, 4, 2, "same", "batch", 0.0)
    recompute(net, "units")
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(torch.rand(1, 3, 16, 16)).maps[0].any()


def test_what_is_a_unit_and_what_a_block() -> None:
    units, blocks = ResNet(18), ResNet(18)
    assert recompute(units, "units") == 8  # the residual blocks; the stem stands in the net itself
    assert recompute(blocks, "blocks") == 4
    assert isinstance(units.layer2[0], Recomputed)
    assert not isinstance(units.layer2, Recomputed)
    assert isinstance(blocks.layer2, Recomputed)
    assert not isinstance(blocks.layer2[0], Recomputed)
    # A unit without a norm keeps its output all the same, as the next one's input.
    assert recompute(UNetEncoder(3, 4, 3, "same", "none"), "units") == 0
    assert recompute(UNetEncoder(3, 4, 3, "same", "none"), "blocks") == 3
    assert recompute(ResNet(18), "none") == 0


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_compiled(level: Recompute) -> None:
    """The compiler's own rounding aside; statistics are updated once, and dropout drops the same twice."""
    images = torch.rand(2, 3, 48, 64)
    plain, net = backbone("unet_encoder"), backbone("unet_encoder")
    recompute(net, level)
    results = []
    for one in (plain, net):
        compiled = torch.compile(lambda x, one=one: one(x).maps, fullgraph=True)
        torch.manual_seed(1)
        sum(m.square().mean() for m in compiled(images)).backward()
        results.append({n: p.grad for n, p in one.named_parameters()} | dict(one.named_buffers()))
    assert {int(v) for n, v in results[1].items() if n.endswith("tracked")} == {1}
    for name, wanted in results[0].items():
        torch.testing.assert_close(results[1][name], wanted, rtol=1e-4, atol=1e-5, msg=name)

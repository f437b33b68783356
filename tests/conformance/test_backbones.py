"""What every registered backbone promises. A new one is tested by being registered.

A name without a row in `CASES` is built with its defaults; a row lists the argument sets to test instead (give one
where the default is slow, or where another form deserves the same tests).
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import toolkit.backbones  # noqa: F401 (registers)
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid

CASES: dict[str, list[dict[str, Any]]] = {
    "unet_encoder": [
        {"width": 4},
        {"width": 4, "padding": "same", "norm": "batch", "in_channels": 3},
        {"width": 4, "depth": 3, "padding": "same", "first_stride": 4},
    ],
    "lenet5": [{}, {"padding": 0, "pooling": "trainable", "connections": "table", "in_channels": 3}],
    "alexnet": [{"variant": "2012"}],
    "googlenet": [{"auxiliary": True}, {"true_5x5": True, "batch_norm": False}],
    "resnet": [{"depth": 18}, {"depth": 18, "norm": "frozen_batch", "in_channels": 1}],
    "wavenet": [{"width": 4, "dilations": [1, 2, 4]}],
    "time_delay": [{}, {"in_channels": 3, "widths": [4, 4, 4], "windows": [2, 3, 3], "activation": "relu"}],
    "pixel_cnn": [{"width": 4, "blocks": 2}],
    "mobilenet_v3": [{"variant": "small"}],
    "efficientnet_lite": [{}, {"variant": 2, "in_channels": 1}],
    "timm": [{"model": "test_resnet"}, {"model": "test_convnext", "in_channels": 1}, {"model": "test_vit"}],
    "smp": [{"encoder": "mit_b0"}, {"encoder": "tu-test_resnet", "output_stride": 16, "depth": 4, "in_channels": 1}],
}

PARAMETERS = [(name, case) for name in BACKBONES.names() for case in range(len(CASES.get(name, [{}])))]
every_backbone = pytest.mark.parametrize(
    ("name", "case"), PARAMETERS, ids=[f"{name}-{CASES.get(name, [{}])[case]}" for name, case in PARAMETERS]
)


def build(name: str, case: int) -> Backbone:
    return BACKBONES.find(name)(**CASES.get(name, [{}])[case])


@cache
def shared(name: str, case: int) -> Backbone:
    """One net for all tests that leave it as it is."""
    torch.manual_seed(0)
    return build(name, case).eval()


@cache
def answer(name: str, case: int, odd: bool) -> FeaturePyramid:
    """Its pyramid of one image of the even or the odd size."""
    backbone = shared(name, case)
    with torch.no_grad():
        return backbone(images_for(backbone, sizes_of(backbone)[odd]))


def sizes_of(backbone: Backbone) -> tuple[tuple[int, int], tuple[int, int]]:
    """An even (height, width) near 32x64, and an odd one where the backbone takes any."""
    rule = backbone.spec.sizes
    even = (rule.next_legal(32), rule.next_legal(64))
    odd = (rule.next_legal(33), rule.next_legal(49))
    return even, odd


def images_for(backbone: Backbone, size: tuple[int, int]) -> Tensor:
    return torch.rand(1, backbone.in_channels, *size, generator=torch.Generator().manual_seed(1)) - 0.5


def test_there_are_backbones() -> None:
    assert {"unet_encoder", "resnet", "timm", "smp"} <= set(BACKBONES.names())


@every_backbone
@pytest.mark.parametrize("odd", [False, True], ids=["even", "odd"])
def test_channels_strides_and_borders_are_true(name: str, case: int, odd: bool) -> None:
    spec, size = shared(name, case).spec, sizes_of(shared(name, case))[odd]
    pyramid = answer(name, case, odd)
    assert pyramid.spec == spec
    assert pyramid.image_size == size
    assert tuple(m.shape[1] for m in pyramid.maps) == spec.channels
    for features, stride, border in zip(pyramid.maps, spec.strides, spec.borders, strict=True):
        for cells, pixels in zip(features.shape[-2:], size, strict=True):
            assert cells >= 1
            # Floor, ceil, or (a kernel without padding) a cell less.
            assert abs(cells - (pixels - 2 * border) / stride) < 2, (cells, pixels, stride, border)
    assert len(pyramid.pools) == (len(pyramid.maps) - 1 if spec.pool_indices else 0)
    for pools, finer, coarser in zip(pyramid.pools, pyramid.maps, pyramid.maps[1:], strict=False):
        assert pools.size == tuple(finer.shape[-2:])
        assert pools.pooled == tuple(coarser.shape[-2:])


@every_backbone
def test_a_larger_image_grows_each_map_by_its_stride(name: str, case: int) -> None:
    backbone = shared(name, case)
    (height, width), _ = sizes_of(backbone)
    step = max(*backbone.spec.strides, backbone.spec.sizes.multiple)
    with torch.no_grad():
        large = backbone(images_for(backbone, (height + step, width + 2 * step))).maps
    for a, b, stride in zip(answer(name, case, False).maps, large, backbone.spec.strides, strict=True):
        assert b.shape[-2] - a.shape[-2] == step // stride
        assert b.shape[-1] - a.shape[-1] == 2 * step // stride


@every_backbone
def test_gradient_reaches_the_first_layer_from_a_batch_of_one(name: str, case: int) -> None:
    backbone = deepcopy(shared(name, case)).train()
    # Two cells and more a side at stride 32: batch statistics of one cell have no gradient.
    size = (backbone.spec.sizes.next_legal(64), backbone.spec.sizes.next_legal(64))
    maps = backbone(images_for(backbone, size)).maps
    (maps[-1].square().mean() + maps[-1].mean()).backward()
    first = next(p for p in backbone.parameters() if p.requires_grad and p.ndim >= 3)
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
    assert first.grad.abs().sum() > 0


@every_backbone
def test_evaluation_repeats_and_images_do_not_see_each_other(name: str, case: int) -> None:
    backbone = shared(name, case)
    image = images_for(backbone, sizes_of(backbone)[True])
    with torch.no_grad():
        again = backbone(image).maps
        together = backbone(torch.cat([image.flip(-1) + 1, image])).maps
    for a, b, c in zip(answer(name, case, True).maps, again, together, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, c[1:], rtol=1e-4, atol=1e-4 * float(a.abs().max()) + 1e-7)


@every_backbone
def test_state_dict_round_trips(name: str, case: int) -> None:
    backbone = shared(name, case)
    other = deepcopy(backbone)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.add_(1)
        other.load_state_dict(backbone.state_dict())
        maps = other(images_for(backbone, sizes_of(backbone)[False])).maps
    assert all(torch.equal(a, b) for a, b in zip(answer(name, case, False).maps, maps, strict=True))


@every_backbone
def test_the_meta_device_gives_the_same_shapes(name: str, case: int) -> None:
    backbone = shared(name, case)
    with torch.device("meta"):
        ghost = build(name, case).eval()
    assert ghost.spec == backbone.spec
    for odd in (False, True):
        with torch.no_grad():
            thought = ghost(images_for(backbone, sizes_of(backbone)[odd]).to("meta")).maps
        assert [m.shape for m in answer(name, case, odd).maps] == [m.shape for m in thought]
        assert all(m.is_meta for m in thought)


@every_backbone
def test_pixel_statistics_fit_the_channels(name: str, case: int) -> None:
    stats = shared(name, case).pixel_stats
    assert len(stats.mean) == len(stats.std) == shared(name, case).in_channels
    assert all(value > 0 for value in stats.std)

"""What every registered neck promises, on synthetic pyramids. A new one is tested by being registered.

A name without a row in `CASES` is built with its defaults on both pyramids of `SPECS`; without a row in `WRONG` it
must refuse a pyramid that has nothing any neck could want: one map of stride 3.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import toolkit.necks  # noqa: F401 (registers)
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec
from toolkit.errors import PartsError
from toolkit.ops.pooling import max_pool

RESNET = PyramidSpec((8, 8, 12, 16, 24), (2, 4, 8, 16, 32))
DILATED = PyramidSpec((6, 8, 12, 16, 24), (4, 8, 16, 32, 32))
POOLED = PyramidSpec((8, 16, 24, 24), (1, 2, 4, 8), pool_indices=True)
VGG = PyramidSpec((8, 16, 32, 64, 64, 64), (1, 2, 4, 8, 16, 32), pool_indices=True)
SPECS = [RESNET, DILATED]

CASES: dict[str, list[tuple[dict[str, Any], PyramidSpec]]] = {
    "context": [({"channels": 4}, RESNET), ({"channels": 4, "stride": 8, "padding": "input", "layers": 7}, DILATED)],
    "fpn": [({}, RESNET), ({"channels": 5, "extra": "p6p7", "strides": [8, 32]}, DILATED)],
    "single": [({}, RESNET), ({"stride": 8, "channels": 5}, DILATED)],
    "smp": [
        ({"channels": [16, 16, 8, 8, 8]}, RESNET),
        ({"decoder": "fpn", "channels": [32], "strides": [2, 4, 8, 16]}, RESNET),
        ({"decoder": "segformer", "channels": [8]}, DILATED),
    ],
    "index_unpool": [({}, POOLED), ({}, VGG)],
    "skip": [
        ({}, RESNET),
        ({"to_stride": 1, "upsample": "bilinear", "norm": "batch"}, DILATED),
        ({"fit": "crop", "padding": "valid", "num_convs": 1}, RESNET),
        ({"upsample": "nearest", "channels": [9, 7, 5]}, POOLED),
    ],
}
WRONG: dict[str, tuple[dict[str, Any], PyramidSpec]] = {
    "context": ({"channels": 4, "stride": 8}, PyramidSpec((8,), (16,))),
    "single": ({"stride": 64}, RESNET),
}


def cases_of(name: str) -> list[tuple[dict[str, Any], PyramidSpec]]:
    return CASES.get(name, [({}, spec) for spec in SPECS])


PARAMETERS = [(name, case) for name in NECKS.names() for case in range(len(cases_of(name)))]
every_neck = pytest.mark.parametrize(("name", "case"), PARAMETERS)


def build(name: str, case: int) -> Neck:
    arguments, spec = cases_of(name)[case]
    return NECKS.find(name)(spec=spec, **arguments)


def pyramid_of(spec: PyramidSpec, size: tuple[int, int], number: int = 1, device: str = "cpu") -> FeaturePyramid:
    """Random maps of ceil(n / stride) cells, with true pooling indices where the spec promises them."""
    generator = torch.Generator().manual_seed(3)
    maps, pools = [], []
    for channels, stride in zip(spec.channels, spec.strides, strict=True):
        cells = [-(-n // stride) for n in size]
        maps.append(torch.randn(number, channels, *cells, generator=generator).to(device))
    if spec.pool_indices:
        # The maximum of a finer map lies where that map has it, for as many channels as the finer map has.
        pools = [max_pool(finer, ceil_mode=True)[1] for finer in maps[:-1]]
    return FeaturePyramid(tuple(maps), spec, size, tuple(pools))


def sizes_of(neck: Neck) -> tuple[tuple[int, int], tuple[int, int]]:
    rule = neck.spec.sizes
    return (rule.next_legal(32), rule.next_legal(64)), (rule.next_legal(49), rule.next_legal(35))


def select(pyramid: FeaturePyramid, image: int) -> FeaturePyramid:
    """One image of a pyramid without pooling indices, whose storage is private."""
    return FeaturePyramid(tuple(m[image : image + 1] for m in pyramid.maps), pyramid.spec, pyramid.image_size)


def maps_of(neck: Neck, pyramid: FeaturePyramid) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return neck(pyramid).maps


def test_there_are_necks() -> None:
    assert {"skip", "fpn", "single"} <= set(NECKS.names())


@every_neck
def test_channels_strides_and_borders_are_true(name: str, case: int) -> None:
    neck = build(name, case).eval()
    for size in sizes_of(neck):
        source = pyramid_of(cases_of(name)[case][1], size)
        with torch.no_grad():
            pyramid = neck(source)
        spec = neck.spec
        assert pyramid.spec == spec
        assert pyramid.image_size == size
        assert tuple(m.shape[1] for m in pyramid.maps) == spec.channels
        for features, stride, border in zip(pyramid.maps, spec.strides, spec.borders, strict=True):
            for cells, pixels in zip(features.shape[-2:], size, strict=True):
                assert abs(cells - (pixels - 2 * border) / stride) < 1, (cells, pixels, stride, border)


@every_neck
def test_gradient_reaches_every_map_that_counts(name: str, case: int) -> None:
    neck = build(name, case).train()
    source = pyramid_of(cases_of(name)[case][1], sizes_of(neck)[0])
    for features in source.maps:
        features.requires_grad_()
    sum(m.square().mean() for m in neck(source).maps).backward()
    reached = [m.grad is not None and bool(m.grad.abs().sum() > 0) for m in source.maps]
    assert any(reached)
    for parameter_name, parameter in neck.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@every_neck
def test_evaluation_repeats_and_images_do_not_see_each_other(name: str, case: int) -> None:
    neck = build(name, case).eval()
    source = pyramid_of(cases_of(name)[case][1], sizes_of(neck)[1], number=2)
    together = maps_of(neck, source)
    assert all(torch.equal(a, b) for a, b in zip(together, maps_of(neck, source), strict=True))
    if source.pools:
        first = pyramid_of(source.spec, source.image_size, number=1)
        both = FeaturePyramid(
            tuple(m.repeat(2, 1, 1, 1) for m in first.maps),
            source.spec,
            source.image_size,
            tuple(max_pool(m.repeat(2, 1, 1, 1), ceil_mode=True)[1] for m in first.maps[:-1]),
        )
        together, alone = maps_of(neck, both), maps_of(neck, first)
    else:
        alone = maps_of(neck, select(source, 1))
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a[1:], b, rtol=1e-4, atol=1e-4 * float(b.abs().max()) + 1e-7)


@every_neck
def test_state_dict_round_trips(name: str, case: int) -> None:
    neck = build(name, case).eval()
    torch.manual_seed(7)
    other = build(name, case).eval()
    other.load_state_dict(neck.state_dict())
    source = pyramid_of(cases_of(name)[case][1], sizes_of(neck)[0])
    assert all(torch.equal(a, b) for a, b in zip(maps_of(neck, source), maps_of(other, source), strict=True))


@every_neck
def test_the_meta_device_gives_the_same_shapes(name: str, case: int) -> None:
    neck = build(name, case).eval()
    with torch.device("meta"):
        ghost = build(name, case).eval()
    assert ghost.spec == neck.spec
    for size in sizes_of(neck):
        spec = cases_of(name)[case][1]
        real = maps_of(neck, pyramid_of(spec, size))
        thought = maps_of(ghost, pyramid_of(spec, size, device="meta"))
        assert [m.shape for m in real] == [m.shape for m in thought]


@pytest.mark.parametrize("name", NECKS.names())
def test_a_pyramid_that_does_not_fit_is_refused_in_words(name: str) -> None:
    arguments, spec = WRONG.get(name, ({}, PyramidSpec((8,), (3,))))
    with pytest.raises(PartsError) as caught:
        NECKS.find(name)(spec=spec, **arguments)
    message = str(caught.value)
    assert name in message
    assert str(spec.strides[0]) in message, "the message must say what the input has"

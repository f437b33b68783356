"""The `skip` neck away from the paper's net: any strides, odd sizes, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from toolkit.contracts import FeaturePyramid, PyramidSpec, SizeRule
from toolkit.errors import PartsError
from toolkit.necks.skip import SkipNeck

RESNET = PyramidSpec((8, 8, 12, 16, 24), (2, 4, 8, 16, 32))


def run(neck: SkipNeck, spec: PyramidSpec, size: tuple[int, int], floor: bool = False) -> torch.Tensor:
    maps = tuple(
        torch.randn(1, c, *((n // s if floor else -(-n // s)) for n in size))
        for c, s in zip(spec.channels, spec.strides, strict=True)
    )
    return neck(FeaturePyramid(maps, spec, size)).maps[0]


def test_the_result_has_the_finest_stride_and_its_width() -> None:
    neck = SkipNeck(RESNET)
    assert (neck.spec.strides, neck.spec.channels, neck.spec.borders) == ((2,), (8,), (0,))
    assert neck.spec.sizes == SizeRule()
    assert run(neck, RESNET, (97, 131)).shape == (1, 8, 49, 66)


@pytest.mark.parametrize("upsample", ["transpose", "bilinear", "nearest"])
@pytest.mark.parametrize(("to_stride", "shape"), [(1, (16, 97, 131)), (4, (8, 25, 33)), (16, (16, 7, 9))])
def test_the_result_may_be_finer_or_coarser(upsample: str, to_stride: int, shape: tuple[int, ...]) -> None:
    neck = SkipNeck(RESNET, to_stride=to_stride, upsample=upsample)
    assert neck.spec.strides == (to_stride,)
    assert tuple(run(neck, RESNET, (97, 131)).shape[1:]) == shape == (neck.spec.channels[0], *shape[1:])


def test_strides_may_be_far_apart() -> None:
    spec = PyramidSpec((8, 16), (4, 16))
    assert run(SkipNeck(spec, to_stride=1), spec, (70, 50)).shape == (1, 16, 70, 50)


def test_maps_rounded_down_are_padded_to_the_skip_map() -> None:
    assert run(SkipNeck(RESNET), RESNET, (67, 97), floor=True).shape == (1, 8, 33, 48)


def test_of_equal_strides_the_deepest_map_is_joined() -> None:
    dilated = PyramidSpec((4, 8, 16, 32), (2, 8, 8, 8))
    neck = SkipNeck(dilated, channels=[5], num_convs=1)
    assert len(neck.steps) == 1
    assert neck.steps[0].up.in_channels == 32
    assert neck.steps[0].convs[0].conv.in_channels == 5 + 4


def test_cropping_restricts_sizes_to_those_that_fit_exactly() -> None:
    neck = SkipNeck(RESNET, fit="crop")
    assert neck.spec.sizes == SizeRule(32, 32, 0)
    assert run(neck, RESNET, (64, 96)).shape == (1, 8, 32, 48)


def test_unpadded_convolutions_state_their_border_and_smallest_size() -> None:
    neck = SkipNeck(RESNET, fit="crop", padding="valid")
    # Each step takes 2 cells of its stride from each edge: 2 * (16 + 8 + 4 + 2) pixels.
    assert neck.spec.borders == (60,)
    size = neck.spec.sizes.minimum
    assert run(neck, RESNET, (size, size)).shape[-1] == (size - 120) // 2
    with pytest.raises(RuntimeError):
        run(neck, RESNET, (size - neck.spec.sizes.multiple,) * 2)


def test_an_unpadded_encoder_may_meet_padded_convolutions() -> None:
    spec = PyramidSpec((4, 8, 16), (1, 2, 4), borders=(2, 6, 14), sizes=SizeRule(32, 4, 0))
    maps = tuple(torch.randn(1, c, (40 - 2 * b) // s, (40 - 2 * b) // s) for c, s, b in zip(*_parts(spec), strict=True))
    neck = SkipNeck(spec, fit="pad")
    result = neck(FeaturePyramid(maps, spec, (40, 40))).maps[0]
    assert neck.spec.borders == (2,)
    assert result.shape[-1] == 36


def _parts(spec: PyramidSpec) -> tuple[tuple[int, ...], ...]:
    return spec.channels, spec.strides, spec.borders


@pytest.mark.parametrize(
    ("spec", "arguments", "words"),
    [
        (PyramidSpec((8,), (4,)), {}, "several strides"),
        (PyramidSpec((8, 8), (2, 3)), {}, "stride 3"),
        (PyramidSpec((8, 8), (2, 4), borders=(6, 2)), {}, "borders must not shrink"),
        (RESNET, {"to_stride": 3}, "stride 3"),
        (RESNET, {"to_stride": 6}, "stride 6"),
        (RESNET, {"to_stride": 64}, "64"),
        (RESNET, {"channels": [8, 8]}, "2 widths for 4 steps (to strides 16, 8, 4, 2)"),
    ],
)
def test_what_cannot_be_joined_is_refused(spec: PyramidSpec, arguments: dict, words: str) -> None:
    with pytest.raises(PartsError, match="neck 'skip'") as caught:
        SkipNeck(spec, **arguments)
    assert words in str(caught.value)

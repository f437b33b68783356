"""The feature pyramid network against torchvision's, and its refusals."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import PartsError
from toolkit.necks.fpn import FPN

ops = pytest.importorskip("torchvision.ops.feature_pyramid_network")

SPEC = PyramidSpec((4, 8, 12, 16, 20), (2, 4, 8, 16, 32))
SIZE = (97, 131)


def pyramid() -> FeaturePyramid:
    maps = [
        torch.randn(2, c, -(-SIZE[0] // s), -(-SIZE[1] // s)) for c, s in zip(SPEC.channels, SPEC.strides, strict=True)
    ]
    return FeaturePyramid(tuple(maps), SPEC, SIZE)


def test_parameters_on_resnet50_are_those_of_faster_rcnn() -> None:
    with torch.device("meta"):
        neck = FPN(PyramidSpec((256, 512, 1024, 2048), (4, 8, 16, 32)))
    assert sum(p.numel() for p in neck.parameters()) == 3_344_384
    assert neck.spec == PyramidSpec((256,) * 5, (4, 8, 16, 32, 64))


@pytest.mark.parametrize("extra", ["none", "max_pool", "p6p7"])
def test_every_map_equals_torchvisions_given_the_same_weights(extra: str) -> None:
    neck = FPN(SPEC, channels=6, extra=extra)  # type: ignore[arg-type]
    blocks = {"none": None, "max_pool": ops.LastLevelMaxPool(), "p6p7": ops.LastLevelP6P7(20, 6)}
    theirs = ops.FeaturePyramidNetwork([8, 12, 16, 20], 6, extra_blocks=blocks[extra])
    convolutions = [*theirs.inner_blocks, *theirs.layer_blocks]
    for ours, other in zip((*neck.laterals, *neck.outputs), convolutions, strict=True):
        ours.load_state_dict(other[0].state_dict())
    if extra == "p6p7":
        for name in ("p6", "p7"):
            getattr(neck, name).load_state_dict(getattr(theirs.extra_blocks, name).state_dict())
    source = pyramid()
    with torch.no_grad():
        found = neck(source)
        wanted = theirs(OrderedDict((str(i), m) for i, m in enumerate(source.maps[1:]))).values()
    assert all(torch.equal(a, b) for a, b in zip(found.maps, wanted, strict=True))
    assert neck.spec.strides == (4, 8, 16, 32, 64, 128)[: len(found.maps)]


def test_convolutions_start_as_torchvisions() -> None:
    neck, theirs = FPN(SPEC, channels=64), ops.FeaturePyramidNetwork([8, 12, 16, 20], 64)
    ours = torch.cat([m.weight.detach().flatten() for m in neck.outputs if isinstance(m, nn.Conv2d)])
    other = torch.cat([m[0].weight.detach().flatten() for m in theirs.layer_blocks])
    assert float(ours.std()) == pytest.approx(float(other.std()), rel=0.02)
    assert float(ours.abs().max()) == pytest.approx(float(other.abs().max()), rel=0.01)


def test_a_missing_stride_and_repeated_strides_are_refused() -> None:
    with pytest.raises(PartsError, match="neck 'fpn': needs a map of stride 64, but its input has strides 2, 4, 8"):
        FPN(SPEC, strides=[32, 64])
    with pytest.raises(PartsError, match="strides names 8 2 times"):
        FPN(SPEC, strides=[8, 8])

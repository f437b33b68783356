"""The decoders of segmentation_models_pytorch: the same numbers as the library's own models, true specs, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import PartsError
from toolkit.necks.smp import SmpDecoder
from toolkit.necks.smp_decoders import RECIPES

FULL = PyramidSpec((4, 8, 12, 16, 24), (2, 4, 8, 16, 32))
NO_TWO = PyramidSpec((8, 12, 16, 24), (4, 8, 16, 32))
VIT = PyramidSpec((24,) * 4, (16,) * 4)


def pyramid(spec: PyramidSpec, size: tuple[int, int], number: int = 1) -> FeaturePyramid:
    maps = [
        torch.randn(number, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(spec.channels, spec.strides, strict=True)
    ]
    return FeaturePyramid(tuple(maps), spec, size)


@pytest.mark.parametrize("spec", [FULL, NO_TWO], ids=["with 2", "without 2"])
@pytest.mark.parametrize("decoder", sorted(RECIPES))
def test_what_the_spec_promises_is_true(decoder: str, spec: PyramidSpec) -> None:
    if decoder == "unetplusplus" and spec is NO_TWO:
        pytest.skip("needs stride 2")
    narrow = None if len(RECIPES[decoder].channels) > 1 else [32]
    neck = SmpDecoder(spec, decoder, channels=narrow).eval()  # type: ignore[arg-type]
    for smallest in (64, 67):
        size = (neck.spec.sizes.next_legal(smallest), neck.spec.sizes.next_legal(smallest + 30))
        with torch.no_grad():
            (found,) = neck(pyramid(spec, size)).maps
        (stride,) = neck.spec.strides
        assert tuple(found.shape[1:]) == (neck.spec.channels[0], *(-(-n // stride) for n in size))


MODELS: list[tuple[str, str, dict[str, Any], list[int]]] = [
    ("unet", "Unet", {}, [2, 4, 8, 16, 32]),
    ("unetplusplus", "UnetPlusPlus", {}, [2, 4, 8, 16, 32]),
    ("manet", "MAnet", {}, [2, 4, 8, 16, 32]),
    ("linknet", "Linknet", {}, [2, 4, 8, 16, 32]),
    ("fpn", "FPN", {}, [4, 8, 16, 32]),
    ("pspnet", "PSPNet", {}, [8]),
    ("deeplabv3", "DeepLabV3", {"encoder_output_stride": 16}, [16]),
    ("deeplabv3plus", "DeepLabV3Plus", {"encoder_output_stride": 16}, [4, 16]),
    ("pan", "PAN", {"encoder_output_stride": 32}, [4, 8, 16, 32]),
    ("upernet", "UPerNet", {}, [4, 8, 16, 32]),
    ("segformer", "Segformer", {}, [2, 4, 8, 16, 32]),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model[0])
def test_results_are_those_of_the_librarys_own_models(model: tuple[str, str, dict[str, Any], list[int]]) -> None:
    decoder, name, arguments, strides = model
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = getattr(smp, name)("resnet18", encoder_weights=None, **arguments).eval()
    images = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        features = theirs.encoder(images)
        wanted = theirs.decoder(list(features))
    spec = PyramidSpec([f.shape[1] for f in features[1:]], [256 // f.shape[-1] for f in features[1:]])  # type: ignore[arg-type]
    neck = SmpDecoder(spec, decoder, strides=strides).eval()  # type: ignore[arg-type]
    neck.decoder.load_state_dict(theirs.decoder.state_dict())
    with torch.no_grad():
        (found,) = neck(FeaturePyramid(tuple(features[1:]), spec, (256, 256))).maps
    assert torch.equal(found, wanted)


def test_dpt_puts_a_vision_transformers_maps_together() -> None:
    neck = SmpDecoder(VIT, "dpt", channels=[16]).eval()
    with torch.no_grad():
        (found,) = neck(pyramid(VIT, (64, 96))).maps
    assert tuple(found.shape) == (1, 16, 32, 48)


def test_a_dilated_backbones_repeated_stride_is_taken_twice() -> None:
    dilated = PyramidSpec((8, 12, 16, 24), (4, 8, 16, 16))
    neck = SmpDecoder(dilated, "pan", strides=[4, 8, 16, 16])
    assert neck.indices == (0, 1, 2, 3)
    assert SmpDecoder(dilated, "deeplabv3plus").indices == (0, 3)


def test_widths_follow_the_argument() -> None:
    neck = SmpDecoder(FULL, "unet", strides=[2, 4, 8], channels=[20, 10, 6])
    assert (neck.spec.channels, neck.spec.strides) == ((6,), (1,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": "unetplusplus"}, "needs maps of stride 2 too, but its input has 8@4, 12@8, 16@16, 24@32"),
        ({"decoder": "manet", "strides": [4, 16]}, "strides must be each twice the one before"),
        ({"decoder": "deeplabv3plus", "strides": [4, 32]}, "4 and 8, or 4 and 16"),
        ({"decoder": "fpn", "strides": [4, 8]}, "four, each twice the one before"),
        ({"decoder": "pan", "strides": [4, 8, 16, 16]}, "needs 2 maps of stride 16"),
        ({"decoder": "fpn", "attention": "scse"}, "has no argument attention; it has dropout"),
        ({"decoder": "unet", "dropout": 0.1, "rates": [1, 2, 3]}, "has no argument dropout and no rates"),
        ({"decoder": "fpn", "channels": [48]}, "channels must be a multiple of 32, but is 48"),
        ({"decoder": "upernet", "channels": [64, 64]}, "channels must have 1 widths, but has 2"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PartsError, match=message):
        SmpDecoder(NO_TWO, **arguments)

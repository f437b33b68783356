"""What each decoder of segmentation_models_pytorch needs, and its construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from toolkit.contracts import PyramidSpec, SizeRule
from toolkit.errors import PartsError, Problem


@dataclass(frozen=True)
class Recipe:
    """How one decoder is fed.

    Args:
        module: module of the library in which its class lies.
        name: name of its class in the library.
        strides: strides of the maps it takes by default; () takes the last map, or the last four for DPT.
        out: stride of its result; 0 is that of the finest map it takes.
        channels: widths it has by default.
        steps: whether it climbs by one doubling a map up to the image, so that `channels` has a width a step.
        absent: entries before the first map in the list it expects: the image, the map of stride 2. It only reads sizes
            there, so they are maps without channels.
        doubles: whether it doubles its maps blindly, so that image sizes must be multiples of the coarsest stride.
        cells: least height and width of its coarsest map.
        options: names of the options it has.
    """

    module: str
    name: str
    strides: tuple[int, ...]
    out: int
    channels: tuple[int, ...]
    steps: bool = False
    absent: int = 1
    doubles: bool = False
    cells: int = 1
    options: tuple[str, ...] = ()


_ALL = (2, 4, 8, 16, 32)
_FOUR = (4, 8, 16, 32)
_WIDTHS = (256, 128, 64, 32, 16)

RECIPES: dict[str, Recipe] = {
    "unet": Recipe("unet", "Unet", _ALL, 1, _WIDTHS, steps=True, options=("attention",)),
    "unetplusplus": Recipe(
        "unetplusplus", "UnetPlusPlus", _ALL, 1, _WIDTHS, steps=True, doubles=True, options=("attention",)
    ),
    "manet": Recipe("manet", "MAnet", _ALL, 1, _WIDTHS, steps=True, doubles=True),
    "linknet": Recipe("linknet", "Linknet", _ALL, 1, (32,), steps=True, doubles=True),
    "fpn": Recipe("fpn", "FPN", _FOUR, 0, (128,), doubles=True, options=("dropout",)),
    "pspnet": Recipe("pspnet", "PSP", (), 0, (512,), absent=0, options=("dropout",)),
    "deeplabv3": Recipe("deeplabv3", "DeepLabV3", (), 0, (256,), absent=0, options=("dropout", "rates")),
    "deeplabv3plus": Recipe(
        "deeplabv3", "DeepLabV3Plus", (4, 16), 4, (256,), absent=2, doubles=True, options=("dropout", "rates")
    ),
    "pan": Recipe("pan", "PAN", _FOUR, 0, (32,), absent=2, cells=8),
    "upernet": Recipe("upernet", "UPerNet", _FOUR, 0, (256,), absent=2),
    "segformer": Recipe("segformer", "Segformer", _FOUR, 4, (256,)),
    "dpt": Recipe("dpt", "DPT", (), 2, (256,), absent=0, doubles=True),
}
"""Widths and strides are the library's own (0.5 and 0.6), but Segformer takes strides 4 to 32 as in its paper (the
library adds a map of stride 2 where there is one) and PAN does not ask for a dilated last stage."""

_DROPOUT = {"fpn": 0.2, "pspnet": 0.2, "deeplabv3": 0.5, "deeplabv3plus": 0.5}
_RATES = (12, 24, 36)


def default_strides(decoder: str, spec: PyramidSpec) -> list[int]:
    """The strides a decoder takes when none are asked for; without 2 where that is missing and not needed."""
    recipe = RECIPES[decoder]
    if decoder == "dpt":
        return list(spec.strides[-4:])
    if not recipe.strides:
        return [spec.strides[-1]]
    if decoder == "deeplabv3plus" and 16 not in spec.strides:
        return [4, 8]
    needs_two = decoder == "unetplusplus" or 2 in spec.strides
    return [stride for stride in recipe.strides if stride != 2 or needs_two]


def verify_strides(decoder: str, strides: Sequence[int], where: str) -> None:
    """Raises PartsError for strides the decoder cannot put together.

    Args:
        decoder: name of the decoder, one of `RECIPES`.
        strides: strides of the maps it would take, finest first.
        where: the part that a message begins with.
    """
    recipe = RECIPES[decoder]
    doubling = all(coarse == 2 * fine for fine, coarse in pairwise(strides))
    first = (2,) if decoder == "unetplusplus" else (2, 4)
    wanted = ""
    if recipe.steps and not (strides and strides[0] in first and doubling):
        wanted = f"each twice the one before, from {' or '.join(map(str, first))}"
    elif decoder == "fpn" and not (len(strides) == 4 and doubling):
        wanted = "four, each twice the one before"
    elif decoder == "deeplabv3plus" and list(strides) not in ([4, 8], [4, 16]):
        wanted = "4 and 8, or 4 and 16 (dilate the backbone's last stages)"
    elif decoder in ("pspnet", "deeplabv3") and len(strides) != 1:
        wanted = "one"
    elif decoder == "pan" and len(strides) not in (2, 3, 4):
        wanted = "two to four"
    elif decoder == "upernet" and len(strides) < 2:
        wanted = "at least two"
    elif decoder == "segformer" and 4 not in strides:
        wanted = "4 among them"
    if wanted:
        raise PartsError(Problem(where, f"strides must be {wanted}, but are {list(strides)}"))


def legal_sizes(decoder: str, coarsest: int) -> SizeRule:
    """Image sizes a decoder can take when its coarsest map has this stride."""
    recipe = RECIPES[decoder]
    least = coarsest * (recipe.cells - 1) + 1 if recipe.cells > 1 else 1
    return SizeRule(least, coarsest, 0) if recipe.doubles else SizeRule(least)


def build_decoder(
    decoder: str,
    widths: list[int],
    strides: list[int],
    out: list[int],
    dropout: float | None,
    attention: str | None,
    rates: Sequence[int] | None,
) -> nn.Module:
    """The library's module, initialised as the library does it.

    Args:
        decoder: name of the decoder, one of `RECIPES`.
        widths: channels of the list it expects, entries without a map being 0.
        strides: strides of the maps it takes, finest first.
        out: widths of its steps, or its single width.
        dropout: probability, 0..1; None is the library's default.
        attention: None, or "scse" for squeeze and excitation.
        rates: three dilations; None is the library's default.
    """
    import importlib

    from segmentation_models_pytorch.base.initialization import initialize_decoder

    recipe, last, depth = RECIPES[decoder], out[-1], len(widths) - 1
    drop = _DROPOUT.get(decoder, 0.0) if dropout is None else dropout
    aspp = {"out_channels": last, "atrous_rates": tuple(rates or _RATES), "aspp_dropout": drop}
    stepwise = {"encoder_channels": widths, "decoder_channels": out, "n_blocks": depth}
    fused = {"encoder_channels": widths, "encoder_depth": max(depth, 3)}
    scale = {"output_stride": strides[-1], "aspp_separable": True}
    transformer = {"encoder_has_prefix_tokens": False, "readout": "ignore", "fusion_channels": last}
    arguments: dict[str, dict[str, Any]] = {
        "unet": {**stepwise, "attention_type": attention},
        "unetplusplus": {**stepwise, "attention_type": attention},
        "manet": stepwise,
        "linknet": {"encoder_channels": widths, "n_blocks": depth, "prefinal_channels": last},
        "fpn": {**fused, "segmentation_channels": last, "dropout": drop},
        "pspnet": {"encoder_channels": widths, "out_channels": last, "dropout": drop},
        "deeplabv3": {"in_channels": widths[-1], "aspp_separable": False, **aspp},
        "deeplabv3plus": {"encoder_channels": widths, "encoder_depth": 5, **scale, **aspp},
        "pan": {**fused, "decoder_channels": last},
        "upernet": {**fused, "decoder_channels": last},
        "segformer": {**fused, "segmentation_channels": last},
        "dpt": {
            "encoder_out_channels": widths,
            "encoder_output_strides": strides,
            "intermediate_channels": [min(256 * 2**i, 1024) for i in range(len(widths))],
            **transformer,
        },
    }
    if decoder == "pan":
        arguments["pan"]["encoder_depth"] = depth
    module = importlib.import_module(f"segmentation_models_pytorch.decoders.{recipe.module}.decoder")
    built: nn.Module = getattr(module, f"{recipe.name}Decoder")(**arguments[decoder])
    initialize_decoder(built)
    return built

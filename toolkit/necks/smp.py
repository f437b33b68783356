"""The decoders of segmentation_models_pytorch, fed by any backbone that has the strides they need."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from torch import Tensor

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.necks.smp_decoders import RECIPES, Recipe, build_decoder, default_strides, legal_sizes, verify_strides
from toolkit.ops.padding import ceil_div

DecoderName = Literal[
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
]


@NECKS.register("smp")
class SmpDecoder(Neck):
    """A decoder of segmentation_models_pytorch between any backbone and the `pixel` head.

    unet, unetplusplus, manet and linknet end at stride 1; deeplabv3plus and segformer at 4; dpt at 2; fpn, pan and
    upernet at the finest stride they take; pspnet and deeplabv3 keep the stride of the map they read. Decoders that
    double their maps blindly need image sizes that are multiples of the coarsest stride; `spec.sizes` says so.
    upernet, pspnet, deeplabv3, deeplabv3plus and pan normalise pooled maps by batch statistics: in training they
    need two images or more.

    Args:
        spec: what the backbone produces, with the strides that are taken.
        decoder: name of the decoder in segmentation_models_pytorch.
        strides: strides of the maps taken, finest first; a stride named twice takes the last two maps of it (a dilated
            backbone's [4, 8, 16, 16]). null: 2 to 32 (unet, unetplusplus, manet, linknet; all but unetplusplus do
            without 2 when the backbone has none), 4 to 32 (fpn, pan, upernet, segformer), 4 and 16 or else 8
            (deeplabv3plus), the last map (pspnet, deeplabv3), the last four (dpt).
        channels: widths: one for each map taken, coarsest first, for unet, unetplusplus and manet (and one more when
            stride 2 is missing), else a single one. None: the library's.
        dropout: probability, 0..1, of the dropout that fpn, pspnet, deeplabv3 and deeplabv3plus have; null: the
            library's.
        attention: `scse` in unet and unetplusplus.
        rates: three dilations of deeplabv3 and deeplabv3plus; None: 12, 24, 36.

    Raises:
        PartsError: a stride the decoder needs is missing; an option it does not have.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        decoder: DecoderName = "unet",
        strides: list[PositiveInt] | None = None,
        channels: list[PositiveInt] | None = None,
        dropout: Probability | None = None,
        attention: Literal["scse"] | None = None,
        rates: list[PositiveInt] | None = None,
    ):
        super().__init__()
        recipe, where = RECIPES[decoder], f"neck 'smp' ({decoder})"
        _refuse_options(where, recipe, {"dropout": dropout, "attention": attention, "rates": rates})
        strides = default_strides(decoder, spec) if strides is None else strides
        self.kind = decoder
        self.indices = _positions(spec, strides, where)
        verify_strides(decoder, strides, where)
        if decoder == "fpn" and channels and channels[-1] % 32:
            raise PartsError(Problem(where, f"channels must be a multiple of 32, but is {channels[-1]}"))
        self.absent = 2 if recipe.steps and strides[0] == 4 else recipe.absent
        widths = [0] * self.absent + [spec.channels[i] for i in self.indices]
        out = _widths(where, recipe, channels, len(widths) - 1)
        self.decoder = build_decoder(decoder, widths, strides, out, dropout, attention, rates)
        self.spec = PyramidSpec(
            (out[-1],),
            (recipe.out or strides[0],),
            borders=(spec.borders[self.indices[0]],),
            sizes=spec.sizes.both(legal_sizes(decoder, strides[-1])),
        )
        self.four = strides.index(4) if decoder == "segformer" else -1

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Maps (N, C_i, H_i, W_i) in, one map (N, C, H, W) out."""
        maps = [pyramid.maps[i] for i in self.indices]
        result: Tensor
        if self.kind == "dpt":
            result = self.decoder(maps, [None] * len(maps))
        else:
            result = self.decoder([*self._absent_maps(pyramid, maps), *maps])
        return FeaturePyramid((result,), self.spec, pyramid.image_size)

    def _absent_maps(self, pyramid: FeaturePyramid, maps: list[Tensor]) -> list[Tensor]:
        """Maps without channels that only tell the sizes of the image and, when it is skipped, of stride 2."""
        height, width = pyramid.image_size
        if self.kind == "segformer":  # its result has a quarter of this size, rounded down: that of the map of stride 4
            height, width = (4 * cells for cells in maps[self.four].shape[-2:])
        sizes = ((height, width), (ceil_div(height, 2), ceil_div(width, 2)))
        return [maps[0].new_empty((maps[0].shape[0], 0, *size)) for size in sizes[: self.absent]]


def _refuse_options(where: str, recipe: Recipe, options: dict[str, Any]) -> None:
    wrong = [name for name, value in options.items() if value is not None and name not in recipe.options]
    if wrong:
        has = " and ".join(recipe.options) or "neither dropout nor attention nor rates"
        raise PartsError(Problem(where, f"this decoder has no argument {' and no '.join(wrong)}; it has {has}"))


def _positions(spec: PyramidSpec, strides: list[int], where: str) -> tuple[int, ...]:
    """Positions of the maps: the last one of each stride, the last n of a stride named n times."""
    positions: list[int] = []
    missing = [stride for stride in dict.fromkeys(strides) if stride not in spec.strides]
    if missing:
        text = f"needs maps of stride {', '.join(map(str, missing))} too, but its input has {spec.describe()}"
        raise PartsError(Problem(where, text, "choose `strides` among them, another decoder or another backbone"))
    for stride, times in sorted(Counter(strides).items()):
        found = [i for i in range(len(spec)) if spec.strides[i] == stride]
        if len(found) < times:
            text = f"needs {times} maps of stride {stride}, but its input has {spec.describe()}"
            raise PartsError(Problem(where, text))
        positions += found[-times:]
    return tuple(positions)


def _widths(where: str, recipe: Recipe, channels: list[int] | None, steps: int) -> list[int]:
    """Widths of the decoder: those asked for, as many as it has, else its default ones, the last for fewer steps."""
    wanted = steps if len(recipe.channels) > 1 else 1
    if channels is None:
        return list(recipe.channels[-wanted:])
    if len(channels) != wanted:
        raise PartsError(Problem(where, f"channels must have {wanted} widths, but has {len(channels)}"))
    return channels

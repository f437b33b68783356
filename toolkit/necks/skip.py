"""The expanding path of the U-Net, for any backbone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.bounds import PositiveInt
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec, SizeRule
from toolkit.errors import PartsError, Problem
from toolkit.layers.conv import ConvNormAct, Norm, Padding
from toolkit.layers.init import he_normal_
from toolkit.layers.row_bands import band_of_rows, in_bands, in_blocks
from toolkit.ops.padding import ceil_div

Upsample = Literal["transpose", "bilinear", "nearest"]
Fit = Literal["crop", "pad"]


class _Plan(NamedTuple):
    """One step up, as known before any tensor exists.

    skip: index of the map that is joined, or None. stride: after the step. factor: how much finer than before.
    offset: cells of the new stride by which the enlarged map starts later than the skip map.
    border: image pixels that the result misses at each edge.
    """

    skip: int | None
    skip_channels: int
    stride: int
    factor: int
    offset: int
    border: int


class _Step(nn.Module):
    """Enlarges a map, joins it with the finer one ([enlarged, skip], in this order) and convolves."""

    def __init__(
        self,
        plan: _Plan,
        in_channels: int,
        out_channels: int,
        upsample: Upsample,
        fit: Fit,
        num_convs: int,
        padding: Padding,
        norm: Norm,
        up_channels: int,
        up_relu: bool,
    ) -> None:
        super().__init__()
        self.plan, self.fit = plan, fit
        self.relu: nn.Module = nn.ReLU(inplace=True) if up_relu else nn.Identity()
        if upsample == "transpose":
            self.up: nn.Module = nn.ConvTranspose2d(in_channels, up_channels, plan.factor, stride=plan.factor)
            in_channels = up_channels
        else:
            corners = False if upsample == "bilinear" else None
            self.up = nn.Upsample(scale_factor=float(plan.factor), mode=upsample, align_corners=corners)
        widths = [in_channels + plan.skip_channels] + [out_channels] * num_convs
        self.convs = nn.Sequential(*(ConvNormAct(a, b, padding=padding, norm=norm) for a, b in pairwise(widths)))

    def forward(self, x: Tensor, skip: Tensor | None, image_size: tuple[int, int]) -> Tensor:
        """x: the coarser map; skip: the finer one, or None."""
        _, _, stride, factor, offset, border = self.plan
        if skip is None:
            height, width = (ceil_div(n - 2 * border, stride) for n in image_size)
            offset = 0
        elif self.fit == "pad":
            height, width = skip.shape[-2:]
        else:
            height, width = (n * factor for n in x.shape[-2:])
            skip, offset = skip[..., offset : offset + height, offset : offset + width], 0
        channels = in_blocks(cast(ConvNormAct, self.convs[0]).conv.in_channels)
        step = band_of_rows(self.convs, height, x.shape[0] * channels * width * x.element_size())
        if step is None:
            enlarged = _resized_canvas(self.relu(self.up(x)), height, width, offset)
            return self.convs(enlarged if skip is None else torch.cat([enlarged, skip], 1))

        def rows(first: int, last: int) -> Tensor:
            enlarged = self._enlarged(x, first - offset, last - offset, width, offset)
            return enlarged if skip is None else torch.cat([enlarged, skip[..., first:last, :]], 1)

        return in_bands(self.convs, rows, height, step)

    def _enlarged(self, x: Tensor, first: int, last: int, width: int, offset: int) -> Tensor:
        """Rows first .. last - 1 of the enlarged map, `offset` cells from the left of `width` cells; zeros beyond it.

        Args:
            x: the coarser map.
            first: row of the enlarged map, which may lie above it.
            last: row behind the last, which may lie below it.
            width: cells of a row of the result.
            offset: cells of a row before the enlarged map.
        """
        factor = self.plan.factor
        top, bottom = max(first, 0), min(last, x.shape[-2] * factor)
        if bottom <= top:
            narrow = self.relu(self.up(x[..., :1, :]))[..., :1, :]
            return narrow.new_zeros((*narrow.shape[:2], last - first, width))
        # A neighbour on either side, which interpolation reads.
        begin, end = max(0, top // factor - 1), min(x.shape[-2], -(-bottom // factor) + 1)
        rows = self.relu(self.up(x[..., begin:end, :]))
        rows = rows[..., top - begin * factor : bottom - begin * factor, :]
        right = width - offset - rows.shape[-1]
        if (top, bottom) == (first, last) and offset == right == 0:
            return rows
        return F.pad(rows, (offset, right, top - first, last - bottom))


def _resized_canvas(x: Tensor, height: int, width: int, offset: int) -> Tensor:
    """The map on a canvas of zeros, `offset` cells from its top and left; what stands out is cut off."""
    bottom, right = height - offset - x.shape[-2], width - offset - x.shape[-1]
    # A program that is written down has no conditions on sizes: what is nothing for the example may be something later.
    if not torch.compiler.is_exporting() and offset == bottom == right == 0:
        return x
    return F.pad(x, (offset, right, offset, bottom))


@NECKS.register("skip")
class SkipNeck(Neck):
    """U-Net's expanding path: upsample, concatenate the backbone's map, convolve; one step a stride.

    Ronneberger, Fischer, Brox 2015, Fig. 1, whose net is the backbone `unet_encoder` with this neck, padding "valid"
    and fit "crop". It joins the deepest map of each stride, whatever strides the backbone has, and gives one map: the
    finest one. (The maps on the way are not part of the result.)

    Raises PartsError for an input whose strides or borders cannot be joined.

    Args:
        spec: what the backbone produces, with its borders.
        to_stride: stride of the result. None: the finest of the backbone. A finer one adds steps without a skip map
            (halving width, at least 16 channels); a coarser one leaves the finer maps unused.
        channels: width after each step, coarse to fine; None: the skip map's.
        upsample: "transpose" is the paper's 2x2 up-convolution; "bilinear" and "nearest" have no weights and leave the
            width to the convolutions.
        num_convs: 3x3 convolutions (each with ReLU) after each joint; the paper has 2.
        padding: padding of the 3x3 convolutions: "valid" (none) as in the paper, or "same".
        fit: how an enlarged map and a skip map of different sizes meet, chosen here and never guessed. "crop" cuts the
            skip map to the enlarged one, which must fit exactly, so images have to be of a size that does
            (`spec.sizes`). "pad" surrounds the enlarged map by zeros, or cuts its last row and column, until it has the
            skip map's size: any size goes.
        norm: normalisation after each 3x3 convolution, or none.
        up_channels: channels that each up-convolution ("transpose") makes, coarse to fine; None: those of its step. The
            released net `phseg_v5` has 512, 256, 128, 128.
        up_relu: whether a ReLU follows each enlargement, as in the released net; the paper shows none.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        to_stride: PositiveInt | None = None,
        channels: list[PositiveInt] | None = None,
        upsample: Upsample = "transpose",
        num_convs: PositiveInt = 2,
        padding: Padding = "same",
        fit: Fit = "pad",
        norm: Norm = "none",
        up_channels: list[PositiveInt] | None = None,
        up_relu: bool = False,
    ) -> None:
        super().__init__()
        loss = num_convs if padding == "valid" else 0
        used = _used_maps(spec, to_stride)
        plans = _plan(spec, used, to_stride, fit, loss)
        widths = _widths(spec.channels[used[0]], plans) if channels is None else channels
        if len(widths) != len(plans):
            strides = ", ".join(str(plan.stride) for plan in plans)
            raise PartsError(
                Problem(
                    "neck 'skip'", f"`channels` has {len(widths)} widths for {len(plans)} steps (to strides {strides})"
                )
            )
        ups = _up_widths(up_channels, widths, upsample)
        self.deepest = used[0]
        before = [spec.channels[used[0]], *widths]
        self.steps = nn.ModuleList(
            _Step(plan, a, b, upsample, fit, num_convs, padding, norm, up, up_relu)
            for plan, a, b, up in zip(plans, before, widths, ups, strict=False)
        )
        exact = fit == "crop" or padding == "valid"
        sizes = _exact_sizes(spec, used, plans, fit, loss) if exact else spec.sizes
        last = plans[-1]
        self.spec = PyramidSpec((widths[-1],), (last.stride,), borders=(last.border,), sizes=sizes)
        he_normal_(self)

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """One map, of stride `to_stride`."""
        x = pyramid.maps[self.deepest]
        for step in self.steps:
            skip = cast(_Step, step).plan.skip
            x = step(x, None if skip is None else pyramid.maps[skip], pyramid.image_size)
        return FeaturePyramid((x,), self.spec, pyramid.image_size)


def _used_maps(spec: PyramidSpec, to_stride: int | None) -> list[int]:
    """Indices of the maps that are joined, coarsest first: the deepest of each stride."""
    strides = sorted({stride for stride in spec.strides if stride >= (to_stride or 1)}, reverse=True)
    wanted = to_stride or spec.strides[0]
    if not strides or (len(strides) == 1 and wanted == strides[0]):
        raise PartsError(
            Problem(
                "neck 'skip'",
                f"has nothing to do between {spec.describe()} and stride {wanted}",
                "give it a backbone with maps of several strides, or a finer `to_stride`",
            )
        )
    if wanted > spec.strides[0] and wanted not in strides:
        spec.index_of(wanted, "neck 'skip'")  # raises, naming the strides that exist
    return [spec.index_of(stride, "neck 'skip'") for stride in strides]


def _plan(spec: PyramidSpec, used: list[int], to_stride: int | None, fit: Fit, loss: int) -> list[_Plan]:
    """The steps. loss: cells that unpadded convolutions take from each edge in each step."""
    stride, border = spec.strides[used[0]], spec.borders[used[0]]
    steps: list[tuple[int, int | None]] = [(spec.strides[index], index) for index in used[1:]]
    finest = spec.strides[used[-1]]
    while to_stride and finest > to_stride:
        finest = finest // 2 if finest % (2 * to_stride) == 0 else to_stride
        steps.append((finest, None))
    plans = []
    for new, index in steps:
        start = border if index is None else spec.borders[index]
        if stride % new or (border - start) % new or border < start:
            raise PartsError(
                Problem(
                    "neck 'skip'",
                    f"cannot join a map of stride {stride} and border {border} with one of stride {new} and border "
                    f"{start} (its input is {spec.describe()})",
                    "each stride must be a multiple of the next finer one, and borders must not shrink with depth; "
                    "choose another backbone, padding or `to_stride`",
                )
            )
        factor, offset = stride // new, (border - start) // new
        stride, border = new, (start if fit == "pad" else border) + loss * new
        plans.append(_Plan(index, 0 if index is None else spec.channels[index], new, factor, offset, border))
    return plans


def _up_widths(asked: Sequence[int] | None, widths: Sequence[int], upsample: Upsample) -> Sequence[int]:
    """Channels that each enlargement makes."""
    if asked is None:
        return widths
    if upsample != "transpose":
        message = f"`up_channels` are of up-convolutions, but upsample is {upsample}"
        raise PartsError(Problem("neck 'skip'", message, "leave them out, or set upsample: transpose"))
    if len(asked) != len(widths):
        raise PartsError(Problem("neck 'skip'", f"`up_channels` has {len(asked)} widths for {len(widths)} steps"))
    return asked


def _widths(coarsest: int, plans: Sequence[_Plan]) -> list[int]:
    widths = [coarsest]
    for plan in plans:
        widths.append(plan.skip_channels or max(16, widths[-1] // 2))
    return widths[1:]


def _exact_sizes(spec: PyramidSpec, used: list[int], plans: Sequence[_Plan], fit: Fit, loss: int) -> SizeRule:
    """Image sizes for which no map has half a cell and no map becomes empty; for the 2015 net 16k + 60 >= 188."""
    rule = spec.sizes
    strides_borders = [(spec.strides[i], spec.borders[i]) for i in used] + [(p.stride, p.border) for p in plans]
    try:
        for stride, border in strides_borders:
            rule = rule.both(SizeRule(1, stride, 2 * border % stride))
    except PartsError as error:
        message = f"no image size fits all maps of {spec.describe()} with borders {spec.borders}"
        raise PartsError(Problem("neck 'skip'", message, 'choose another padding, or fit "pad"')) from error

    def survives(n: int) -> bool:
        cells = {i: (n - 2 * spec.borders[i]) // spec.strides[i] for i in used}
        size = cells[used[0]]
        for plan in plans:
            size *= plan.factor
            if fit == "pad" and plan.skip is not None:
                size = cells[plan.skip]
            size -= 2 * loss
            if size < 1:
                return False
        return min(cells.values()) >= 1

    minimum = rule.next_legal(rule.minimum)
    while not survives(minimum):
        minimum += rule.multiple
    return SizeRule(minimum, rule.multiple, rule.remainder)

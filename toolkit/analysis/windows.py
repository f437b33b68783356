"""What layers with windows see: convolutions, poolings, resizings, paddings, unpooling, boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from torch import Tensor

from toolkit.analysis import spans
from toolkit.analysis.fields import RULES, Field, Known, Rule, rule
from toolkit.analysis.spans import Span, Window


def per_axis(known: Known, output: Tensor, change: Callable[[Span, int, int], Span]) -> Field:
    """The field of a map after a change of its two axes.

    Args:
        known: fields of the tensors that were met before, with that of the input.
        output: the map that came out of the operation.
        change: function from (span, axis, length after the operation) to the new span; axis is -2 or -1.
    """
    tensor, field = known[0]

    def along(span: Span) -> Span:
        if span.dim is None:
            return span
        axis = span.dim - tensor.ndim
        span = spans.unmerged(span, tensor.shape[axis])
        return span if span.dim is None else change(span, axis, output.shape[axis])

    return field.along(along)


def pair(value: Any, axis: int, default: int = 1) -> int:
    """The entry of an argument that may be one number, a list of one a dimension, or empty.

    Args:
        value: the argument as PyTorch hands it on.
        axis: which entry is wanted, from the end: -2 is the height, -1 the width.
        default: what stands for an empty list.
    """
    if isinstance(value, int):
        return value
    values = list(value or [])
    if not values:
        return default
    return int(values[axis] if len(values) >= -axis else values[0])


@rule("convolution", "_convolution")
def _convolution(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    change = spans.spread if transposed else spans.slide

    def window(span: Span, axis: int, size: int) -> Span:
        if axis < 2 - weight.ndim:  # the channels
            return spans.everything(span)
        settings = [pair(value, axis) for value in (stride, padding, dilation)]
        return change(span, Window(weight.shape[axis], *settings), size)

    field = per_axis(known, output, window)
    return replace(field, depth=field.depth + 1)


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d")
def _pooling(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    kernel = args[1]
    stride = (args[2] if len(args) > 2 else None) or kernel
    padding = args[3] if len(args) > 3 else 0
    return per_axis(
        known,
        output,
        lambda span, axis, size: spans.slide(
            span, Window(pair(kernel, axis), pair(stride, axis), pair(padding, axis, 0)), size
        ),
    )


@rule("_adaptive_avg_pool2d", "adaptive_max_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
def _adaptive(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return per_axis(known, output, lambda span, axis, size: spans.adaptive(span, size))


UPSAMPLINGS = {
    "upsample_nearest1d": "nearest",
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest_exact",
    "upsample_linear1d": "bilinear",
    "upsample_bilinear2d": "bilinear",
    "upsample_bicubic2d": "cubic",
}
"""Resizing operations and the mode of `spans.resized` they stand for; "bilinear" is "corners" when aligned."""


def _upsampling(mode: str) -> Rule:
    def apply(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
        axes = output.ndim - 2
        corners = any(value is True for value in args)
        given = [value for value in args[2:] if isinstance(value, float)]
        scales: list[Fraction | None] = [None] * axes
        if len(given) == axes and not corners:
            scales = [1 / Fraction(value).limit_denominator(1000) for value in given]
        kind = "corners" if corners else mode
        return per_axis(known, output, lambda span, axis, size: spans.resized(span, size, kind, scales[axis]))

    return apply


RULES.update({name: _upsampling(mode) for name, mode in UPSAMPLINGS.items()})


@rule("max_unpool2d")
def _unpool(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return unpooled(known[0][0], known[0][1], output)


def unpooled(tensor: Tensor, field: Field, output: Tensor) -> Field:
    """A cell holds the value of its window, or nothing. Windows of one size, one beside the other, are assumed.

    Args:
        tensor: the pooled map whose values are put back.
        field: what the cells of `tensor` see.
        output: the larger map they are put into.
    """

    def change(span: Span, axis: int, size: int) -> Span:
        factor = -(-size // tensor.shape[axis])
        return spans.resized(span, size, "nearest", Fraction(1, factor))

    return replace(per_axis([(tensor, field)], output, change), data_dependent=True)


@rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d", "replication_pad1d", "pad")
def _pad(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    pads = list(args[1])

    def change(span: Span, axis: int, size: int) -> Span:
        place = 2 * (-axis - 1)
        return spans.sliced(span, -pads[place], 1, size) if place < len(pads) else span

    return per_axis(known, output, change)


@rule("unfold")
def _unfold(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    dim, kernel, stride = args[1] % tensor.ndim, args[2], args[3]

    def change(span: Span) -> Span:
        if span.dim != dim:
            return span
        return spans.slide(spans.unmerged(span, tensor.shape[dim]), Window(kernel, stride), output.shape[dim])

    return field.along(change)


@rule("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "grid_sampler_2d", "deform_conv2d")
def _anywhere(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """A box may lie anywhere and be as large as the image."""
    return known[0][1].along(lambda span: spans.whole(span.image))


@rule("pixel_shuffle")
def _pixel_shuffle(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return per_axis(known, output, lambda s, axis, size: spans.resized(s, size, "nearest", Fraction(1, args[1])))


@rule("pixel_unshuffle")
def _pixel_unshuffle(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return per_axis(known, output, lambda s, axis, size: spans.slide(s, Window(args[1], args[1]), size))

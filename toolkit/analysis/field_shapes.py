"""What elements see after their tensor has been reshaped, cut, turned or joined."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from toolkit.analysis import spans
from toolkit.analysis.fields import Field, Known, broadcast, join, rule
from toolkit.analysis.spans import Span


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy")
def _view(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    shape = tuple(known[0][0].shape)
    return known[0][1].along(lambda span: _reshaped(span, shape, tuple(output.shape)))


@rule("as_strided")
def _as_strided(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """The same elements in another order in memory; anything else may be anywhere."""
    tensor, field = known[0]
    return field if tensor.shape == output.shape else field.along(lambda span: spans.everything(span, exact=False))


def _reshaped(span: Span, shape: tuple[int, ...], new: tuple[int, ...]) -> Span:
    """Cells keep their place in memory; they may be merged with other dimensions, and taken apart again."""
    if span.dim is None or shape == new:
        return span
    inner = span.inner * math.prod(shape[span.dim + 1 :])
    for dim in reversed(range(len(new))):
        below = math.prod(new[dim + 1 :])
        if new[dim] > 1 and inner % below == 0 and (below * new[dim]) % (inner * span.size) == 0:
            return replace(span, dim=dim, inner=inner // below)
    if span.size == 1:
        if len(new) == len(shape):
            return span
        return spans.one_cell(span, 0)
    return spans.everything(span, exact=False)


@rule("permute")
def _permute(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    order = [dim % output.ndim for dim in args[1]]
    return known[0][1].along(lambda span: span if span.dim is None else span.at(order.index(span.dim)))


@rule("transpose", "t")
def _transpose(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    one, other = ((args[1], args[2]) if len(args) > 2 else (0, 1)) if output.ndim > 1 else (0, 0)
    swap = {one % output.ndim: other % output.ndim, other % output.ndim: one % output.ndim}
    return known[0][1].along(lambda span: span if span.dim is None else span.at(swap.get(span.dim, span.dim)))


@rule("unsqueeze")
def _unsqueeze(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    new = args[1] % output.ndim
    return known[0][1].along(lambda s: s if s.dim is None or s.dim < new else s.at(s.dim + 1))


@rule("squeeze")
def _squeeze(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    dims = range(tensor.ndim) if len(args) < 2 else [args[1]] if isinstance(args[1], int) else args[1]
    gone = {dim % tensor.ndim for dim in dims if tensor.shape[dim] == 1}

    def change(span: Span) -> Span:
        if span.dim is None:
            return span
        return spans.one_cell(span, 0) if span.dim in gone else span.at(span.dim - sum(d < span.dim for d in gone))

    return field.along(change)


@rule("expand", "repeat")
def _expand(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return broadcast(*known[0], output)


@rule("slice")
def _slice(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    dim = (args[1] if len(args) > 1 else 0) % tensor.ndim
    start, step = (args[2] if len(args) > 2 else 0) or 0, args[4] if len(args) > 4 else 1
    start = start + tensor.shape[dim] if start < 0 else start

    def change(span: Span) -> Span:
        if span.dim != dim or output.shape[dim] == tensor.shape[dim]:
            return span
        span = spans.unmerged(span, tensor.shape[dim])
        return span if span.dim is None else spans.sliced(span, start, step, output.shape[dim])

    return field.along(change)


@rule("select")
def _select(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    dim, index = args[1] % tensor.ndim, args[2]

    def change(span: Span) -> Span:
        if span.dim is None or span.dim < dim:
            return span
        if span.dim > dim:
            return span.at(span.dim - 1)
        span = spans.unmerged(span, tensor.shape[dim])
        return span if span.dim is None else spans.one_cell(span, index % tensor.shape[dim])

    return field.along(change)


@rule("split", "split_with_sizes", "unbind", "chunk", "tensor_split")
def _split(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Pieces of other dimensions keep their field; those of the axis itself are taken to see all of it."""
    tensor, field = known[0]
    dropped = output.ndim < tensor.ndim
    dim = (args[-1] if dropped and len(args) > 1 else args[2] if len(args) > 2 else 0) % tensor.ndim

    def change(span: Span) -> Span:
        if span.dim is None:
            return span
        if span.dim == dim:
            return span if output.shape == tensor.shape else spans.everything(span, exact=False)
        return span.at(span.dim - (dropped and span.dim > dim))

    return field.along(change)


@rule("cat", "stack")
def _cat(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Concatenated channels see together what their parts see; so do pieces of an axis, which have no common order."""
    stacked = output.ndim > known[0][0].ndim
    dim = (args[1] if len(args) > 1 else 0) % output.ndim

    def change(span: Span) -> Span:
        if span.dim is None:
            return span
        if stacked:
            return span.at(span.dim + (span.dim >= dim))
        return spans.everything(span, exact=False) if span.dim == dim else span

    if len(args[0]) == 1:
        return known[0][1]
    return join([field.along(change) for tensor, field in known if tensor.numel()])


@rule("flip")
def _flip(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    dims = {dim % tensor.ndim for dim in args[1]}
    return field.along(lambda span: spans.flipped(span) if span.dim in dims and span.inner == 1 else span)

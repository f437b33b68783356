"""How every tensor operation changes what its elements see of the image: one rule an operation, by its ATen name.

A `Field` is carried along with each tensor that depends on the image. The rules read shapes and arguments only, so
they work on the meta device, and on what PyTorch really computes, after its own functions have been taken apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from toolkit.analysis import spans
from toolkit.analysis.spans import Span


@dataclass(frozen=True)
class Field:
    """What the elements of a tensor see.

    Args:
        y: intervals along the image's height.
        x: intervals along the image's width.
        sources: numbers of the layers it comes from, () for the image.
        depth: convolutions and linear layers that lie before it.
        data_dependent: whether an unpooling lies before it.
    """

    y: Span
    x: Span
    sources: tuple[int, ...] = ()
    depth: int = 0
    data_dependent: bool = False

    def along(self, change: Callable[[Span], Span]) -> Field:
        """The field with both axes changed."""
        y = change(self.y)
        return replace(self, y=y, x=y if self.x is self.y else change(self.x))

    @property
    def exact(self) -> bool:
        """Whether no rule had to guess."""
        return self.y.exact and self.x.exact

    @property
    def answers_whole(self) -> bool:
        """Whether no dimension tells cells of the image apart any more."""
        return self.y.dim is None and self.x.dim is None


Known = Sequence[tuple[Tensor, Field]]
"""The inputs of an operation that depend on the image, in the order of its arguments."""

Rule = Callable[[Known, tuple[Any, ...], dict[str, Any], Tensor], Field]

RULES: dict[str, Rule] = {}
"""By the name of the ATen operation, without overload. Operations with the tag `pointwise` need none."""


ACTIVATIONS = frozenset(
    {
        *("relu", "leaky_relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "elu", "celu", "selu"),
        *("mish", "prelu", "_prelu_kernel", "hardtanh", "softplus", "relu6", "log_sigmoid_forward", "threshold"),
    }
)
"""Operations that are layers by themselves, each element from the one at its place."""

BLANK = frozenset(
    {
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "bernoulli"),
    }
)
"""Operations that take a tensor's shape and none of its values."""


def field_of(name: str, pointwise: bool, known: Known, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Field:
    """The field of one output of an operation.

    Args:
        name: name of the ATen operation, without overload.
        pointwise: whether each element depends on the elements at its own place alone.
        known: fields of the tensors that were met before.
        args: arguments of the operation by position.
        kwargs: arguments of the operation by name.
        output: the tensor that came out of it.
    """
    rule = RULES.get(name) or (_matched if pointwise else _everything_guessed)
    return rule(known, args, kwargs, output)


def join(fields: Sequence[Field], change: Callable[[Sequence[Span]], Span] = spans.union) -> Field:
    """What elements see that are computed from several tensors."""
    if len(fields) == 1 and change is spans.union:
        return fields[0]
    sources = tuple(dict.fromkeys(source for field in fields for source in field.sources))
    depth = max(field.depth for field in fields)
    marked = any(field.data_dependent for field in fields)
    return Field(change([f.y for f in fields]), change([f.x for f in fields]), sources, depth, marked)


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule of these operations."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


# --------------------------------------------------------------------------- element by element


@rule(
    *("copy_", "_to_copy", "clone", "contiguous", "alias", "detach", "lift_fresh", "where", "masked_fill"),
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
    *("_batch_norm_no_update", "_batch_norm_with_update", "native_group_norm", "native_layer_norm", "_fused_rms_norm"),
    *("native_dropout", "rrelu_with_noise"),
    *ACTIVATIONS,  # not all of their in-place forms carry PyTorch's tag
)
def _matched(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Elements of the same place, after broadcasting. Statistics of normalisation layers do not count as seeing."""
    return join([broadcast(tensor, field, output) for tensor, field in known])


def broadcast(tensor: Tensor, field: Field, output: Tensor) -> Field:
    """The field of a tensor as it stands in a result of a possibly larger shape.

    Args:
        tensor: an input of an operation that works element by element.
        field: what the tensor's elements see.
        output: the operation's result, at least as large.
    """
    lead = output.ndim - tensor.ndim
    if lead == 0 and tensor.shape == output.shape:
        return field

    def change(span: Span) -> Span:
        if span.dim is None:
            return span
        if tensor.shape[span.dim] == 1 and output.shape[span.dim + lead] != 1:
            return spans.one_cell(span, 0)
        return span.at(span.dim + lead)

    return field.along(change)


def _everything_guessed(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """An operation without a rule is taken to see everything its inputs see."""
    return join([field.along(lambda span: spans.everything(span, exact=False)) for _, field in known])


@rule("gather", "index", "index_select", "scatter", "scatter_add", "take_along_dim", "topk", "sort", "cumsum",
       "index_put", "index_put_", "index_copy", "index_copy_", "scatter_")  # fmt: skip
def _any_place(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Elements fetched from anywhere."""
    return join([field.along(spans.everything) for _, field in known])


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


@rule("mean", "sum", "amax", "amin", "max", "min", "prod", "var", "std", "var_mean", "std_mean", "norm", "any", "all",
       "linalg_vector_norm", "argmax", "argmin", "logsumexp")  # fmt: skip
def _reduction(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    tensor, field = known[0]
    if output.numel() == 1:
        return field.along(spans.everything)
    dims = next((value for value in args[1:] if isinstance(value, (int, list, tuple)) and value is not True), [])
    gone = {dim % tensor.ndim for dim in ([dims] if isinstance(dims, int) else dims)}
    kept = output.ndim == tensor.ndim

    def change(span: Span) -> Span:
        if span.dim is None or span.dim in gone:
            return spans.everything(span)
        return span if kept else span.at(span.dim - sum(dim < span.dim for dim in gone))

    return field.along(change)


def _summed(field: Field, dim: int) -> Field:
    """The field where a dimension is summed over."""
    return field.along(lambda span: spans.everything(span) if span.dim == dim else span)


@rule("_softmax", "_log_softmax", "_safe_softmax")
def _softmax(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    return _summed(known[0][1], args[1] % output.ndim)


@rule("mm", "bmm", "addmm", "baddbmm", "matmul", "dot", "mv", "linear")
def _matmul(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Rows of the first factor stay rows, columns of the second columns; what is summed over is seen as a whole."""
    first, second = (value for value in [value for value in args if isinstance(value, Tensor)][-2:])
    fields = []
    for tensor, field in known:
        role = 0 if tensor is first else 1 if tensor is second else 2
        seen = _summed(field, {0: tensor.ndim - 1, 1: tensor.ndim - 2, 2: -1}[role])
        fields.append(broadcast(tensor, seen, output) if role == 2 else seen)
    field = join(fields)
    return replace(field, depth=field.depth + 1) if len(known) == 1 else field


@rule(
    *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
    *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math"),
    *("_scaled_dot_product_fused_attention_overrideable", "scaled_dot_product_attention"),
)
def _attention(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Every query sees all keys and values."""
    return join([field if tensor is args[0] else _summed(field, tensor.ndim - 2) for tensor, field in known])

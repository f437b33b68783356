"""How every tensor operation changes what its elements see of the image: one rule an operation, by its ATen name.

A `Field` is carried along with each tensor that depends on the image. The rules read shapes and arguments only, so
they work on the meta device, and on what PyTorch really computes, after its own functions have been taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from toolkit.analysis import spans
from toolkit.analysis.spans import Span


@dataclass(frozen=True)
class Field:
    """What the elements of a tensor see. y, x: along the image's height and width.

    sources: numbers of the layers it comes from, () for the image. depth: convolutions and linear layers before it.
    data_dependent: an unpooling lies before.
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


BLANK = frozenset(
    {
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "bernoulli"),
    }
)
"""Operations that take a tensor's shape and none of its values."""


def field_of(name: str, pointwise: bool, known: Known, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Field:
    """The field of one output of an operation."""
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
    *("native_dropout", "prelu", "_prelu_kernel", "rrelu_with_noise", "log_sigmoid_forward"),
)
def _matched(known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Field:
    """Elements of the same place, after broadcasting. Statistics of normalisation layers do not count as seeing."""
    return join([broadcast(tensor, field, output) for tensor, field in known])


def broadcast(tensor: Tensor, field: Field, output: Tensor) -> Field:
    """The field of a tensor as it stands in a result of a possibly larger shape."""
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

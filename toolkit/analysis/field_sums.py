"""What elements see that are sums over a dimension: means, matrix products, attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from toolkit.analysis import spans
from toolkit.analysis.fields import Field, Known, broadcast, join, rule
from toolkit.analysis.spans import Span


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

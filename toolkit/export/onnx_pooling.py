"""Max pooling with indices, as PyTorch's exporter is told to write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


def pooling_translations() -> dict[Any, Callable[..., Any]]:
    """For `torch.onnx.export(custom_translation_table=)`.

    ONNX counts places through the whole tensor and PyTorch through each map of it. The exporter's own translation pools a
    second time, windows of one cell, to know where each map begins; here that is computed.
    """
    from onnxscript import opset18

    op: Any = opset18  # whose types know tensors alone, no Python numbers

    def max_pool(
        x: Any,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
        ceil_mode: bool = False,
    ) -> Any:
        two = [list(one) * (3 - len(one)) for one in (kernel_size, stride or kernel_size, padding, dilation)]
        kernel, steps, around, apart = two
        pooled, places = op.MaxPool(
            x, kernel_shape=kernel, strides=steps, pads=around * 2, dilations=apart, ceil_mode=int(ceil_mode)
        )
        maps, cells = op.Shape(x, start=0, end=2), op.ReduceProd(op.Shape(x, start=2), keepdims=0)
        zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
        numbers = op.Range(zero, op.ReduceProd(maps, keepdims=0), one)
        shape = op.Concat(maps, op.Constant(value_ints=[1, 1]), axis=0)
        return pooled, op.Sub(places, op.Reshape(op.Mul(numbers, cells), shape))

    return {torch.ops.aten.max_pool2d_with_indices.default: max_pool}

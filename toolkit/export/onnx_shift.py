"""Shifts to the right of signed numbers, as PyTorch's exporter is told to write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def shift_translations() -> dict[Any, Callable[..., Any]]:
    """For `torch.onnx.export(custom_translation_table=)`.

    ONNX shifts unsigned numbers only, and the exporter's way around that goes wrong in OpenVINO, whose CPU has none: a negative
    number becomes another one. Here the bits that fall out are cleared, so that what is left can be divided without a rest;
    floats hold that exactly, too, if no more than 24 bits of an int32 are left.
    """
    from onnxscript import opset18

    op: Any = opset18  # whose types know tensors alone, no Python numbers

    def right_shift(x: Any, by: int) -> Any:
        step = 1 << by
        left = op.BitwiseAnd(x, op.CastLike(op.Constant(value_int=-step), x))
        return op.Div(left, op.CastLike(op.Constant(value_int=step), x))

    return {
        torch.ops.aten.__rshift__.Scalar: right_shift,
        torch.ops.aten.bitwise_right_shift.Tensor_Scalar: right_shift,
    }

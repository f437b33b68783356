"""Counting without memory: multiply-adds of one forward pass, and learnable numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def multiply_adds(module: nn.Module, run: Callable[[], Any]) -> int:
    """Those of convolutions and linear layers while `run()` calls them, for a batch of one.

    A convolution costs a weight an output cell, a transposed one a weight an input cell; biases, normalisation,
    activations and poolings are not counted.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        cells = {nn.Conv2d: output, nn.ConvTranspose2d: inputs[0]}.get(type(layer))
        total += layer.weight.numel() * (1 if cells is None else cells[0, 0].numel())

    handles = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, _COUNTED)]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return total


def learnable(module: nn.Module) -> int:
    """Numbers that training changes: running statistics and frozen kernels are not among them."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)

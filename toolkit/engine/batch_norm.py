"""Batch normalisation beyond the training step: layers that stay as they are, and exact statistics at the end.

SegNet-Tutorial, Scripts/compute_bn_statistics.py: the official SegNets have no running averages; after training, the
means and variances of all mini-batches of the training set are averaged, with dropout off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.engine.parameters import check_prefixes, has_prefix
from toolkit.errors import DataError, Problem
from toolkit.samples import Batch


def freeze_batch_norms(model: nn.Module, prefixes: Sequence[str]) -> int:
    """Keeps the batch normalisations whose names have one of the prefixes as they are; returns how many.

    They normalise by their running statistics in training too, as in evaluation, whatever mode the model is put in
    later; neither those nor scale and shift change. Raises ConfigError for a prefix that no batch normalisation has.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    check_prefixes("train.frozen_bn", prefixes, list(layers), "batch normalisation")
    chosen = [layer for name, layer in layers.items() if any(has_prefix(name, start) for start in prefixes)]
    for layer in chosen:
        layer.eval()
        layer.requires_grad_(False)
        layer.train = partial(_stay, layer)  # type: ignore[method-assign,assignment]
    return len(chosen)


def _stay(layer: nn.Module, mode: bool = True) -> nn.Module:
    """In place of `train` and of `eval`, which calls it: evaluation is the only mode."""
    return layer


@torch.no_grad()
def recompute_bn(model: nn.Module, batches: Iterable[Batch], bessel: bool = False) -> int:
    """Replaces the running mean and variance of every trainable batch normalisation by averages over `batches`.

    Each batch counts the same; within it a layer is normalised by the batch's own statistics, as in training, and dropout
    is off.

    Returns the number of batches. Raises DataError when there are none; after any error the old statistics stand.

    Args:
        model: the model whose statistics are replaced.
        batches: batches as training sees them, on any device.
        bessel: variances times n / (n - 1), as PyTorch's running averages have them; false as the official script
            (which means to, but divides integers). Sums are float64. Layers that the model keeps in evaluation mode
            while training (frozen stages) stay as they are; so does every mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]
    momenta = [layer.momentum for layer in layers]
    before = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]  # type: ignore[union-attr]
    sums = {layer: _Sums() for layer in layers}
    handles = [layer.register_forward_hook(_collector(sums[layer], bessel)) for layer in layers]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval()
    number = 0
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0  # the running statistics are then the last batch's own
        for batch in batches:
            model(batch.images.to(device))
            number += 1
    finally:
        for handle in handles:
            handle.remove()
        for layer, momentum, (mean, variance) in zip(layers, momenta, before, strict=True):
            layer.momentum = momentum
            layer.running_mean.copy_(mean)  # type: ignore[union-attr]
            layer.running_var.copy_(variance)  # type: ignore[union-attr]
        for module, mode in modes:
            module.training = mode
    if number == 0:
        raise DataError(Problem("batch statistics", "there is no batch to compute them from"))
    for layer in layers:
        sums[layer].write(layer)
    return number


class _Sums:
    """Sums over calls of one layer: a layer that is used several times in a pass counts each."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.variance: Tensor | float = 0.0

    def write(self, layer: _BatchNorm) -> None:
        """Averages into the layer; one that was never used is left alone."""
        if self.count and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.copy_(torch.as_tensor(self.mean / self.count))
            layer.running_var.copy_(torch.as_tensor(self.variance / self.count))


def _collector(sums: _Sums, bessel: bool) -> Callable[..., None]:
    def collect(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        x = inputs[0]
        values = x.numel() // x.shape[1]
        sums.count += 1
        sums.mean = sums.mean + layer.running_mean.double()  # type: ignore[operator,union-attr]
        share = 1.0 if bessel else (values - 1) / values  # PyTorch stores the corrected variance
        sums.variance = sums.variance + layer.running_var.double() * share  # type: ignore[operator,union-attr]

    return collect

"""Batch normalisations that keep their statistics and their scale and shift while the rest is trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.engine.beginnings import begins, check_beginnings


def freeze_batch_norms(model: nn.Module, beginnings: Sequence[str]) -> int:
    """Keeps the batch normalisations whose names have one of the beginnings as they are; returns how many.

    They normalise by their running statistics in training too, as in evaluation, whatever mode the model is put in
    later; neither those nor scale and shift change. Raises ConfigError for a beginning that no batch normalisation has.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    check_beginnings("train.frozen_bn", beginnings, list(layers), "batch normalisation")
    chosen = [layer for name, layer in layers.items() if any(begins(name, start) for start in beginnings)]
    for layer in chosen:
        layer.eval()
        layer.requires_grad_(False)
        layer.train = partial(_stay, layer)  # type: ignore[method-assign,assignment]
    return len(chosen)


def _stay(layer: nn.Module, mode: bool = True) -> nn.Module:
    """In place of `train` and of `eval`, which calls it: evaluation is the only mode."""
    return layer

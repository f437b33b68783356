"""Settings of batch normalisation that a recipe fixes for a whole net."""

from __future__ import annotations

from torch import nn


def set_batch_norm(module: nn.Module, eps: float, shift: float) -> None:
    """Gives every batch normalisation inside `module` this eps, scale 1 and this shift (beta), in place.

    SegNet's official values are eps 1e-9 and shift 0.001 (caffe-segnet `bn_layer.cpp`, Models/segnet_train.prototxt).

    Args:
        module: the net whose `BatchNorm2d` layers are changed.
        eps: number added to each variance before its root is taken.
        shift: first value of the learnt shift of every channel.
    """
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps
            if layer.affine:
                nn.init.ones_(layer.weight)
                nn.init.constant_(layer.bias, shift)

"""First values of weights."""

from __future__ import annotations

from typing import Literal

from torch import nn


def he_normal_(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Fills every convolution and linear layer inside `module` with N(0, sqrt(2 / N)), in place; biases become 0.

    He et al., "Delving deep into rectifiers", 2015 ("MSRA" filler). The U-Net paper (Ronneberger et al. 2015, §3)
    takes N = number of incoming nodes, e.g. 3 x 3 x 64 = 576: mode "fan_in". torchvision's ResNets use "fan_out".
    For a transposed convolution torch counts out_channels x kernel area as fan_in, which is also what the Caffe filler
    of the released U-Net counts (4 x out_channels for its 2x2 up-convolutions).
    Batch normalisation becomes the identity: weight 1, bias 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)

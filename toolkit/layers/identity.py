"""The identity initialisation of dilated context networks (Yu & Koltun 2016, arXiv 1511.07122, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def identity_(weight: Tensor, groups: int, noise: float = 0.0) -> Tensor:
    """Fills a kernel, in place, so that the convolution passes its input on.

    Channels are thought of as `groups` equal runs (one a class). The centre tap from input a to output b is
    groups / outputs where both belong to the same group, floor(a * groups / inputs) == floor(b * groups / outputs);
    for as many inputs as outputs as groups this is the identity matrix, for other widths every layer spreads a class
    over its run and the next one collects it. This is the paper's equation for both the basic and the large module.

    Args:
        weight: (outputs, inputs, k_h, k_w), odd kernel sizes; changed in place and returned.
        groups: number of classes; divides inputs and outputs.
        noise: deviation of the normal numbers in all other taps; 0 is the paper's basic module, 0.01 is what the
            authors' released filler draws (for the basic module too).

    Raises:
        ValueError: groups does not divide inputs and outputs.

    >>> identity_(torch.empty(4, 2, 1, 1), groups=2)[:, :, 0, 0]
    tensor([[0.5000, 0.0000],
            [0.5000, 0.0000],
            [0.0000, 0.5000],
            [0.0000, 0.5000]])
    """
    outputs, inputs, height, width = weight.shape
    if outputs % groups or inputs % groups:
        raise ValueError(f"{groups} groups must divide {inputs} inputs and {outputs} outputs")
    weight.normal_(0.0, noise) if noise else weight.zero_()
    of_input = torch.arange(inputs, device=weight.device) * groups // inputs
    of_output = torch.arange(outputs, device=weight.device) * groups // outputs
    centre = weight[:, :, height // 2, width // 2]
    centre[of_output[:, None] == of_input[None, :]] = groups / outputs
    return weight

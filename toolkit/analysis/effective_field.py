"""The effective receptive field: how much each input pixel really moves the centre cell of an output.

The theoretical field says which pixels can matter; most of them hardly do. The gradient of one output cell with respect
to the input, averaged in absolute value over random inputs, shows which do.
Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (2016),
section 2: there, too, the gradient is that of the sum over the output's channels, from random inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import Problem, UserError
from toolkit.progress import tracked

Outputs = Callable[[Tensor], Mapping[str, Tensor]]
"""(1, C, H, W) float images -> maps (1, K, h, w) by name, finest first."""


@dataclass(frozen=True)
class EffectiveField:
    """What one cell of an output sees.

    Args:
        name: name of the output that was measured.
        cell: (row, column) of the measured cell in its map.
        cells: (height, width) of the map the cell stands in.
        gradient: (H, W) float32, mean absolute gradient over samples and input channels, divided by its maximum, so
            0..1.
        samples: how many random inputs it is averaged over.
    """

    name: str
    cell: tuple[int, int]
    cells: tuple[int, int]
    gradient: np.ndarray
    samples: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        return self.gradient.shape[0], self.gradient.shape[1]

    @property
    def center(self) -> tuple[float, float]:
        """Centre of mass, (y, x) in pixels; the middle of the first pixel is (0, 0)."""
        mass = self.gradient.astype(np.float64)
        rows, columns = mass.sum(1), mass.sum(0)
        total = mass.sum()
        y = float(rows @ np.arange(len(rows)) / total)
        x = float(columns @ np.arange(len(columns)) / total)
        return y, x

    def radius(self, share: float = 0.95) -> float:
        """Pixels from the centre of mass within which `share` (0..1) of the mass lies, by Euclid's distance."""
        y, x = self._offsets()
        return self._within(np.hypot(y, x), share)

    def side(self, share: float = 0.95) -> float:
        """Side, in pixels, of the square around the centre of mass that holds `share` of the mass.

        This is the number to hold against the theoretical field, which is the side of a square too.
        """
        y, x = self._offsets()
        return 2 * self._within(np.maximum(np.abs(y), np.abs(x)), share) + 1

    def extent(self) -> tuple[int, int, int, int] | None:
        """Rows and columns of the pixels that matter at all: (top, left, bottom, right), the last two exclusive."""
        rows, columns = np.flatnonzero(self.gradient.any(1)), np.flatnonzero(self.gradient.any(0))
        if not len(rows):
            return None
        return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1

    def _offsets(self) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.size
        y, x = self.center
        return np.arange(height)[:, None] - y, np.arange(width)[None, :] - x

    def _within(self, distance: np.ndarray, share: float) -> float:
        order = np.argsort(distance, axis=None)
        mass = np.cumsum(self.gradient.astype(np.float64).ravel()[order])
        place = min(int(np.searchsorted(mass, share * mass[-1])), mass.size - 1)
        return float(distance.ravel()[order[place]])


def effective_fields(
    net: nn.Module, outputs: Outputs, channels: int, size: tuple[int, int], samples: int = 8, seed: int = 0
) -> list[EffectiveField]:
    """The field of the centre cell of each output, from inputs drawn from N(0, 1), the scale of normalised images.

    The result is a function of the weights and `seed`.
    Raises UserError when no gradient arrives at the input, or only numbers that are not finite.

    Args:
        net: holds every module that `outputs` runs; it is measured in eval mode and left as it was.
        outputs: function from (1, C, H, W) float images to maps (1, K, h, w) by name.
        channels: number of channels of the net's input.
        size: (height, width) of the net's input in pixels.
        samples: number of random inputs the gradients are averaged over.
        seed: seed of the random inputs; input i is drawn from seed + i.
    """
    sums: dict[str, Tensor] = {}
    cells: dict[str, tuple[int, int]] = {}
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    with _measuring(net), torch.enable_grad():
        for number in tracked(range(samples), "effective field", samples, "img"):
            noise = torch.randn((1, channels, *size), generator=torch.Generator().manual_seed(seed + number))
            images = noise.to(device).requires_grad_()
            maps = outputs(images)
            for position, (name, output) in enumerate(maps.items()):
                cells[name] = output.shape[-2], output.shape[-1]
                last = position == len(maps) - 1
                sums[name] = sums.get(name, torch.zeros(())) + _gradient(output, images, last)
    return [_field(name, cells[name], total, samples) for name, total in sums.items()]


def _gradient(output: Tensor, images: Tensor, last: bool) -> Tensor:
    """(H, W) float64 on the CPU: |d centre cell / d image|, the mean over input channels."""
    row, column = output.shape[-2] // 2, output.shape[-1] // 2
    value = output[0, :, row, column].float().sum()
    if not value.requires_grad:
        return torch.zeros(images.shape[-2:], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(value, images, retain_graph=not last, allow_unused=True)
    if gradient is None:
        return torch.zeros(images.shape[-2:], dtype=torch.float64)
    return gradient[0].double().abs().mean(0).cpu()


def _field(name: str, cells: tuple[int, int], total: Tensor, samples: int) -> EffectiveField:
    largest = float(total.max())
    if not np.isfinite(largest) or largest == 0:
        what = "no gradient reaches the input" if largest == 0 else "the gradient at the input is not finite"
        advice = "a net with random weights may do that; give trained weights"
        raise UserError(Problem(name, f"{what}, so there is no effective field to show", advice))
    gradient = (total / largest).numpy().astype(np.float32)
    return EffectiveField(name, (cells[0] // 2, cells[1] // 2), cells, gradient, samples)


@contextmanager
def _measuring(net: nn.Module) -> Iterator[None]:
    """Eval mode, and no gradients of parameters, which nobody asks for; afterwards everything is as before."""
    modes = {module: module.training for module in net.modules()}
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    net.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode in modes.items():
            module.training = mode

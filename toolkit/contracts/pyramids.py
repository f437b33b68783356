"""What a part will produce and what it did: `PyramidSpec` sizes the next part, `FeaturePyramid` holds the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from toolkit.errors import PartsError, Problem


class SizeRule(NamedTuple):
    """Which image heights and widths a part can take: n >= minimum and n % multiple == remainder.

    The 2015 U-Net takes 16k + 60 (SizeRule(188, 16, 12)); most nets take everything.

    Args:
        minimum: smallest legal height and width in pixels.
        multiple: pixels from one legal size to the next, 1 or more.
        remainder: pixels that are left when a legal size is divided by `multiple`.
    """

    minimum: int = 1
    multiple: int = 1
    remainder: int = 0

    def allows(self, n: int) -> bool:
        """Whether a height or width of n pixels is legal."""
        return n >= self.minimum and n % self.multiple == self.remainder % self.multiple

    def next_legal(self, n: int) -> int:
        """The smallest legal size that is not smaller than n.

        >>> SizeRule(188, 16, 12).next_legal(573)
        588
        """
        n = max(n, self.minimum)
        return n + (self.remainder - n) % self.multiple

    def previous_legal(self, n: int) -> int | None:
        """The largest legal size that is not larger than n, or None when there is none."""
        n -= (n - self.remainder) % self.multiple
        return n if n >= self.minimum else None

    def both(self, other: SizeRule) -> SizeRule:
        """A rule whose sizes satisfy both. Raises PartsError when no size does."""
        step = int(np.lcm(self.multiple, other.multiple))
        start = max(self.minimum, other.minimum)
        for n in range(start, start + step):
            if self.allows(n) and other.allows(n):
                return SizeRule(n if start > 1 else 1, step, n % step)
        raise PartsError(Problem("", f"no image size satisfies both {self} and {other}"))


ANY_SIZE = SizeRule()
"""No restriction."""


@dataclass(frozen=True)
class PyramidSpec:
    """The maps a part will produce, finest first.

    Args:
        channels: number of channels of each map.
        strides: input pixels per cell, never decreasing; equal strides are legal (a dilated VGG gives 1, 2, 4, 8, 8,
            8), and so is any subset.
        pool_indices: whether `FeaturePyramid.pools` is filled: one entry for each step from a map to the next coarser
            one.
        borders: for each map, how many image pixels at each of the four edges it does not cover (unpadded convolutions:
            92 for the 2015 U-Net's output); () means 0 everywhere. Cell i of a map with stride s and border b starts at
            pixel b + s * i of the image.
        sizes: which image sizes may enter the first part.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pool_indices: bool = False
    borders: tuple[int, ...] = ()
    sizes: SizeRule = ANY_SIZE

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "strides", tuple(self.strides))
        object.__setattr__(self, "borders", tuple(self.borders) or (0,) * len(self.strides))
        if not self.strides or not len(self.channels) == len(self.strides) == len(self.borders):
            raise ValueError(f"channels, strides and borders must be as many, and not none: {self}")
        if list(self.strides) != sorted(self.strides):
            raise ValueError(f"strides must not decrease (finest first): {self.strides}")

    def __len__(self) -> int:
        return len(self.strides)

    def index_of(self, stride: int, part: str = "") -> int:
        """Position of the deepest map of a stride. Raises PartsError, naming the strides that exist."""
        for index in reversed(range(len(self))):
            if self.strides[index] == stride:
                return index
        has = ", ".join(str(s) for s in self.strides)
        raise PartsError(Problem(part, f"needs a map of stride {stride}, but its input has strides {has}"))

    def describe(self) -> str:
        """The spec in a few characters for messages: `64@1, 128@2 with pooling indices`."""
        maps = ", ".join(f"{c}@{s}" for c, s in zip(self.channels, self.strides, strict=True))
        return maps + (" with pooling indices" if self.pool_indices else "")


class PixelStats(NamedTuple):
    """What a backbone's weights expect: (x - mean) / std on images scaled to 0..1, one number a channel.

    Args:
        mean: mean of each channel, of values 0..1.
        std: standard deviation of each channel, of values 0..1.
        bgr: whether the channels are turned round first (Caffe's weights); mean and std are then in BGR order too.
            Images of another channel count than len(mean) are an error, not a guess.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    bgr: bool = False


IMAGENET_STATS = PixelStats()
"""Mean and deviation of ImageNet on RGB 0..1, as torchvision's weights expect them."""


class PoolIndices(NamedTuple):
    """Where each maximum of a pooling stood, and the size before pooling, which makes unpooling exact at odd sizes.

    Args:
        codes: its storage is private to `ops/pooling.py` (int64, a byte or 2 bits a window).
        size: (height, width) before pooling, in cells.
        pooled: (height, width) after pooling, in cells.
    """

    codes: Tensor
    size: tuple[int, int]
    pooled: tuple[int, int]


@dataclass(frozen=True)
class FeaturePyramid:
    """Maps (N, C_i, H_i, W_i), finest first, with the spec that promised them.

    Args:
        maps: (N, C_i, H_i, W_i) float each, finest first.
        spec: what was promised of the maps.
        image_size: (height, width) of the images they came from.
        pools: one entry per step to the next coarser map when `spec.pool_indices`, else ().
    """

    maps: tuple[Tensor, ...]
    spec: PyramidSpec
    image_size: tuple[int, int]
    pools: tuple[PoolIndices, ...] = ()

    def at(self, stride: int) -> Tensor:
        """The deepest map of a stride."""
        return self.maps[self.spec.index_of(stride)]

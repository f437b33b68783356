"""What the parts promise one another: an image becomes a pyramid, the pyramid a better pyramid, the pyramid an answer.

Two kinds of truth. What a part *will* produce is known when it is constructed and sizes the next part: `PyramidSpec`.
What it *did* produce are tensors: `FeaturePyramid`. Neither knows which net is running.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import PartsError, Problem
from toolkit.registry import Registry
from toolkit.samples import Batch, Prediction, Sample, Truth

# --------------------------------------------------------------------------- what a part will produce


class SizeRule(NamedTuple):
    """Which image heights and widths a part can take: n >= minimum and n % multiple == remainder.

    The 2015 U-Net takes 16k + 60 (SizeRule(188, 16, 12)); most nets take everything.
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

    channels: width of each map. strides: input pixels per cell, never decreasing; equal strides are legal (a dilated
    VGG gives 1, 2, 4, 8, 8, 8), and so is any subset. pool_indices: whether `FeaturePyramid.pools` is filled: one
    entry for each step from a map to the next coarser one.
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

    bgr: whether the channels are turned round first (Caffe's weights); mean and std are then in BGR order too.
    Images of another channel count than len(mean) are an error, not a guess.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    bgr: bool = False


IMAGENET_STATS = PixelStats()
"""Mean and deviation of ImageNet on RGB 0..1, as torchvision's weights expect them."""


# --------------------------------------------------------------------------- what a part did produce


class PoolIndices(NamedTuple):
    """Where each maximum of a pooling stood, and the size before pooling, which makes unpooling exact at odd sizes.

    codes: its storage is private to `ops/pooling.py` (int64, a byte or 2 bits a window). size: (height, width)
    before pooling. pooled: (height, width) after it.
    """

    codes: Tensor
    size: tuple[int, int]
    pooled: tuple[int, int]


@dataclass(frozen=True)
class FeaturePyramid:
    """Maps (N, C_i, H_i, W_i), finest first, with the spec that promised them.

    image_size: (height, width) of the images they came from. pools: one entry per step to the next coarser map when
    `spec.pool_indices`, else ().
    """

    maps: tuple[Tensor, ...]
    spec: PyramidSpec
    image_size: tuple[int, int]
    pools: tuple[PoolIndices, ...] = ()

    def at(self, stride: int) -> Tensor:
        """The deepest map of a stride."""
        return self.maps[self.spec.index_of(stride)]


# --------------------------------------------------------------------------- parts


class Backbone(nn.Module, ABC):
    """(images N x C x H x W float, normalised) -> FeaturePyramid. Knows no task.

    A subclass sets `self.spec` and, unless ImageNet's fit, `self.pixel_stats` in its constructor.
    """

    spec: PyramidSpec
    pixel_stats: PixelStats = IMAGENET_STATS

    @property
    def in_channels(self) -> int:
        """Channels of the images it takes."""
        return len(self.pixel_stats.mean)

    @abstractmethod
    def forward(self, images: Tensor) -> FeaturePyramid:
        """The pyramid promised by `self.spec`."""


class Neck(nn.Module, ABC):
    """(FeaturePyramid) -> FeaturePyramid. The first constructor parameter is `spec`, that of its input.

    A subclass sets `self.spec`, that of its output, and raises PartsError in its constructor when its input lacks
    something, saying what to change.
    """

    spec: PyramidSpec

    @abstractmethod
    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """The pyramid promised by `self.spec`."""


class Head(nn.Module, ABC):
    """(FeaturePyramid) -> raw outputs. The first constructor parameters are `spec` and `num_classes`."""

    border: int = 0
    """Image pixels at each edge that the map it reads does not cover; a prediction mirrors as many around the image.

    A dense head sets it to its map's `spec.borders[i]`; one that answers for the whole image leaves it.
    """

    @abstractmethod
    def forward(self, pyramid: FeaturePyramid) -> Any:
        """Raw outputs (logits ...): tensors only, so that a model can be exported. Never depends on `training`."""

    @abstractmethod
    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """Named scalars; the engine sums them and logs each under its name."""

    @abstractmethod
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels (`batch.original_sizes`), on the CPU."""

    def amounts(self, batch: Batch) -> dict[str, Tensor]:
        """What the mean in a term of `loss` is taken over (labelled pixels, say), a scalar, by the term's name.

        For terms whose batches count unequally beside the others of a step; a step of several batches or processes
        is then the step of all their pixels together. batch: its annotations padded as the images will be.
        """
        return {}


class PixelLoss(nn.Module, ABC):
    """(logits N x C x H x W float, labels N x H x W int64) -> scalar float32. Knows its ignore index.

    weight_map: (N, H, W) float32, multiplies each pixel's term; a loss without a term a pixel raises ValueError
    when it is given. Everything ignored gives 0 with zero gradients, not NaN.
    """

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """The loss, averaged as the subclass says."""

    def amount(self, labels: Tensor) -> Tensor | None:
        """What the loss divides by, a scalar, where the labels alone tell; None for a loss that is no such mean."""
        return None


class Dataset(ABC):
    """Samples on disk, in a fixed order. Random access, safe in several processes; nothing is written.

    A subclass sets in its constructor, which reads file lists only and raises DataError with every problem it can
    see without opening images: classes (names of labels 0..K-1) and palette ((r, g, b) a class, or ()).
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Reads one sample. Raises DataError naming the file that is missing, unreadable or wrong."""

    def image_sizes(self) -> np.ndarray | None:
        """(N, 2) height and width of each image, 0 where unknown; None when nothing is known without opening them."""
        return None

    def files(self, index: int) -> tuple[Path, ...]:
        """The files a sample is read from, its image first, then its annotation; () when the data set does not say.

        By them a check names faults, finds an image in two splits and remembers what it has read already.
        """
        return ()


class Transform(ABC):
    """(Sample, seed) -> Sample. Randomness is a pure function of the seed, so workers and resume change nothing."""

    random: bool = False
    """Whether the result depends on the seed. Evaluation refuses random transforms."""
    moves: bool = False
    """Whether pixels change place otherwise than by scaling the whole image (crops, flips, padding). Evaluation refuses
    it, because predictions are scaled back to the original picture."""

    @abstractmethod
    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The changed sample; image, label map and boxes together. The input is left as it was."""


class Evaluator(ABC):
    """Accumulates predictions against truths; never sees logits or the model. Constructor parameter `classes` first.

    One batch equals many, order changes nothing, and merged states of several processes equal one evaluator's.
    """

    metric: ClassVar[str]
    """The number that decides what "best" is ("mIoU", "AP"); larger is better."""

    @abstractmethod
    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError when a truth has not what this evaluator needs."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything accumulated, as plain arrays, to be sent to another process."""

    @abstractmethod
    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's state."""

    @abstractmethod
    def compute(self) -> dict[str, float | None]:
        """Numbers by name, fractions 0..1; None where undefined."""

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, header, rows) tables in the field's familiar form, percentages with two decimals."""
        return []


class OptimizerRule(ABC):
    """Builds a torch optimizer over parameter groups. A subclass has the learning rate `lr` as an argument."""

    lr: float

    @abstractmethod
    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """groups: dicts with "params" and, where they differ from the rule, "lr" and "weight_decay"."""


class Schedule(ABC):
    """The learning rate as a factor of its base value: a pure function of the step, so it needs no state."""

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """Factor for the update numbered `step` (0-based) of `steps`."""


BACKBONES: Registry[Backbone] = Registry("backbone", Backbone)
NECKS: Registry[Neck] = Registry("neck", Neck, injected=("spec",))
HEADS: Registry[Head] = Registry("head", Head, injected=("spec", "num_classes"))
LOSSES: Registry[PixelLoss] = Registry("loss", PixelLoss, injected=("num_classes",))
DATASETS: Registry[Dataset] = Registry("dataset", Dataset, injected=("classes",))
TRANSFORMS: Registry[Transform] = Registry("transform", Transform, injected=("class_names",))
EVALUATORS: Registry[Evaluator] = Registry("evaluator", Evaluator, injected=("classes",))
OPTIMIZERS: Registry[OptimizerRule] = Registry("optimizer", OptimizerRule)
SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)

REGISTRIES: dict[str, Registry[Any]] = {
    "backbones": BACKBONES,
    "necks": NECKS,
    "heads": HEADS,
    "losses": LOSSES,
    "datasets": DATASETS,
    "transforms": TRANSFORMS,
    "evaluators": EVALUATORS,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
}

"""What the parts promise one another: an image becomes a pyramid, the pyramid a better pyramid, the pyramid an answer.

Two kinds of truth. What a part *will* produce is known when it is constructed and sizes the next part: `PyramidSpec`.
What it *did* produce are tensors: `FeaturePyramid`. Neither knows which net is running.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError, PartsError, Problem
from toolkit.registry import Registry
from toolkit.samples import Batch, Boxes, Prediction, Sample, Truth

# --------------------------------------------------------------------------- what a part will produce


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


# --------------------------------------------------------------------------- what a part did produce


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


# --------------------------------------------------------------------------- what is known of parts beyond their maps


class ClassRows(NamedTuple):
    """Where a layer's output has places of classes: `before` places of no class (background), then `each` a class."""

    before: int = 0
    each: int = 1


AnchorStyle = Literal["stride", "torchvision", "torchvision_unpadded", "detectron2", "caffe"]
"""How anchors are rounded and how far apart they stand; see `ops/anchors.py`."""

AnchorUnit = Literal["strides", "pixels"]
"""What the scales of anchors are counted in."""


class AnchorLayout(NamedTuple):
    """The fixed boxes a detector starts from, for whoever compares them with the boxes of a data set.

    Args:
        scales: sides in strides of their map, or in pixels.
        ratios: height divided by width of the anchors; 1 is a square.
        style: whose rounding and order the anchors follow (`ops/anchors.py`).
        strides: strides of the maps they stand on, in pixels.
        positive_iou: overlap from which an anchor is an object's.
        inside_only: whether training uses only anchors that lie wholly in the image.
        key: where a config sets them, below the head ("rpn.anchors").
        unit: what the scales are counted in.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    style: AnchorStyle
    strides: tuple[int, ...]
    positive_iou: float
    inside_only: bool
    key: str
    unit: AnchorUnit = "strides"


class DetectionTensors(NamedTuple):
    """Detections of a batch in tensors of one shape, as a program gives them that is exported; best first.

    Args:
        boxes: (N, D, 4) float32 xyxy pixels, x2 and y2 exclusive; 0 behind the last detection of an image.
        scores: (N, D) float32 probability of the class, 0..1, falling; 0 behind the last.
        labels: (N, D) int64 class of each box, 0..K-1; -1 behind the last.
        counts: (N,) int64 number of detections of each image.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


class DetectionLimits(NamedTuple):
    """What cuts the detections of an image.

    Args:
        score: least probability of a detection, 0..1.
        most: the most detections of an image.
        nms_iou: overlap, 0..1, above which the worse of two boxes of a class goes.
    """

    score: float
    most: int
    nms_iou: float


Suppress = Callable[[Tensor, Tensor, float, int], Tensor]
"""Non-maximum suppression of groups of boxes, as `ops/surviving.py` has it; an exported program may do it otherwise."""


# --------------------------------------------------------------------------- parts


class Backbone(nn.Module, ABC):
    """(images N x C x H x W float, normalised) -> FeaturePyramid. Knows no task.

    Three promises that every part keeps, so that a model can be exported, batched and padded:

    * images are N x C x H x W, for any N >= 1, and for any H and W that `spec.sizes` allows;
    * in `forward` sizes come from the tensors and from `pyramid.image_size`, and never become Python constants
      (no `int(x.shape[-1])` that is kept, no table by size): an exported model takes other sizes than its example's;
    * images of different sizes are padded at the right and bottom, with zeros *after* normalisation.
      `batch.sizes` says what is image. What filled the padding before never matters.

    A subclass sets `self.spec` and, unless ImageNet's fit, `self.pixel_stats` in its constructor, and `self.origin`,
    where its first weights come from and under which licence, when they are not random.
    """

    spec: PyramidSpec
    pixel_stats: PixelStats = IMAGENET_STATS
    origin: str = ""

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
    something, saying what to change. Sizes in `forward` are never Python constants (see `Backbone`).
    """

    spec: PyramidSpec

    @abstractmethod
    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """The pyramid promised by `self.spec`."""

    def check_classes(self, names: Sequence[str]) -> list[Problem]:
        """What of it does not suit these classes, as warnings; `where` is the parameter ("channels"). Asked by a check."""
        return []


class Head(nn.Module, ABC):
    """(FeaturePyramid) -> raw outputs. The first constructor parameters are `spec` and `num_classes`.

    What the rest of the package asks of a head is a method here, with an answer that suits a head that says nothing;
    nobody asks for its class. Maps are those of the padded batch: `batch.sizes` (N, 2) says which part of them is
    image, and neither losses nor predictions may depend on the rest.
    """

    gives: ClassVar[type[Prediction] | None] = None
    """The prediction `predict` makes ("LabelMap"); an evaluator `takes` it. None: not said, nothing is compared."""

    border: int = 0
    """Image pixels at each edge that the map it reads does not cover; a prediction mirrors as many around the image.

    A dense head sets it to its map's `spec.borders[i]`; one that answers for the whole image leaves it.
    """

    former_settings: ClassVar[Mapping[str, Mapping[str | None, str]]] = {}
    """Settings that once meant something else: {key below the head: {value (None: left out): what it is called now}}.

    Weights note the value they were trained with; for those of a file without the note the second value holds.
    """

    with_scores: bool = False
    """Whether the predictions of a dense head carry the probability of the class they choose; detections always do."""

    with_probabilities: bool = False
    """Whether label maps carry the probabilities of all classes."""

    with_entropy: bool = False
    """Whether label maps carry the entropy of the probabilities, and of Monte-Carlo samples their mutual information."""

    pad_multiple: int = 1
    """Images get zeros (after normalisation) at the bottom and right up to a multiple of it; 1 asks for none."""

    @abstractmethod
    def forward(self, pyramid: FeaturePyramid) -> Any:
        """Raw outputs (logits ...): tensors only, so that a model can be exported. Never depends on `training`.

        No size becomes a Python constant here; see `Backbone`.
        """

    @abstractmethod
    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """Named scalars; the engine sums them and logs each under its name."""

    @abstractmethod
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels (`batch.original_sizes`), on the CPU."""

    def exported(
        self, raw: Any, pyramid: FeaturePyramid, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """What a program of another engine answers for pictures of one size, by name, in their pixels.

        Plain operators only, and no condition on a size: in a program that is written down sizes are symbols. Raises
        PartsError for a head that says nothing of it (the default).

        Args:
            raw: what `forward` gives for the pyramid.
            pyramid: what the head read; cell (0, 0) of its maps begins at pixel (0, 0) of the pictures.
            size: (height, width) of the pictures that entered the net, in pixels, without what was mirrored around them.
            original_size: (height, width) of the pictures as they were given; `size` itself where nothing resized them.
        """
        advice = "give the head a method `exported`, or export with --raw"
        raise PartsError(Problem("head", f"'{HEADS.name_of(type(self))}' does not say what an export answers", advice))

    def detection_tensors(
        self, pyramid: FeaturePyramid, sizes: Tensor, original_sizes: Tensor, suppress: Suppress
    ) -> DetectionTensors:
        """What `predict` of a detector answers, in tensors alone, so that it can be exported for any size and batch.

        Raises PartsError for a head that detects nothing.

        Args:
            pyramid: the maps of the padded batch.
            sizes: (N, 2) int64 height and width of each image within the padding, in pixels.
            original_sizes: (N, 2) int64 height and width of each image on disk, in pixels.
            suppress: non-maximum suppression of groups of boxes, called as `ops.surviving.surviving` is.
        """
        raise PartsError(Problem("head", f"{type(self).__name__} gives no boxes"))

    def near_limits(self, pyramid: FeaturePyramid, batch: Batch, within: float) -> Iterator[Prediction]:
        """What `predict` of a detector might answer for an image if whatever decides were rounded otherwise.

        Each answer has all scores and overlaps moved by up to `within`, so that decisions near a limit (a score, an
        overlap, a rank) fall otherwise in some of them. None for a head that decides nothing (the default).

        Args:
            pyramid: the maps of the padded batch, of one image.
            batch: the image alone, with its size and that of its file.
            within: how far scores and overlaps are moved, 0..1.
        """
        return iter(())

    def loss_denominators(self, batch: Batch) -> dict[str, Tensor]:
        """{term of `loss`: what its mean divides by (labelled pixels, say), a scalar}.

        For terms whose batches count unequally beside the others of a step; a step of several batches or processes
        is then the step of all their pixels together. A term whose denominator is 0 is undefined, not 0.
        batch: its annotations padded as the images will be.
        """
        return {}

    def has_targets(self, batch: Batch) -> list[bool]:
        """For each image whether its annotation holds anything to compare with; where not, its loss is undefined."""
        return [True] * batch.count

    def training_pass(self, pyramid: FeaturePyramid) -> Any:
        """Tensors that hold the graph a training step's losses would, for maps without numbers (the meta device).

        What a loss keeps for backward does not depend on labels, but the losses themselves look at them (are they
        classes? how many boxes match?). This does the same work on the same shapes. Default: the raw outputs.
        """
        return self(pyramid)

    def class_layers(self) -> dict[nn.Module, ClassRows]:
        """Layers whose weight and bias have rows of classes; another model's rows are matched by class name there."""
        return {}

    def shown_maps(self, pyramid: FeaturePyramid) -> dict[str, Tensor]:
        """Maps (N, C, h, w), by name, whose centre stands for what the head sees of an image. Default: all it is given."""
        pairs = zip(pyramid.spec.strides, pyramid.maps, strict=True)
        return {f"map {place}, stride {stride}": found for place, (stride, found) in enumerate(pairs, start=1)}

    def setting(self, key: str) -> str:
        """The value of one of `former_settings`."""
        raise KeyError(key)

    def change_setting(self, key: str, value: str) -> None:
        """Changes one of `former_settings` of a head that is built, because weights ask for it."""
        raise PartsError(Problem("head", f"has no setting {key}, which these weights ask for"))

    @property
    def max_detections(self) -> int | None:
        """The most detections of an image that `predict` gives; None for a head without such a limit."""
        return None

    @property
    def detection_limits(self) -> DetectionLimits | None:
        """What cuts the detections that `predict` gives; None for a head that makes none, or does not say."""
        return None

    def limit_detections(
        self, score: float | None = None, count: int | None = None, nms_iou: float | None = None
    ) -> None:
        """Changes which boxes `predict` lets through; None leaves a setting as it is. Raises PartsError for a head without.

        Args:
            score: detections down to this probability, 0..1, are let through; it lowers the head's own limit only.
            count: the most detections of an image, best first.
            nms_iou: overlap, 0..1, above which the worse of two boxes of a class goes.
        """
        raise PartsError(Problem("head", "makes no detections, so it has no score to cut them by, and no limit"))

    def merged(self, found: Sequence[Any]) -> Any:
        """One image's detections made of those of several looks at it, all in its pixels: overlaps of a class become one.

        Raises PartsError for a head that makes none.
        """
        raise PartsError(Problem("head", "makes no detections, so it has none to merge"))

    def anchor_layout(self) -> AnchorLayout | None:
        """The anchors of a detector that has any."""
        return None


class Part(NamedTuple):
    """A rectangle of a picture's pixels that is answered for, and the piece of a dense head's output it is read in.

    Args:
        cells: (h, w) of the whole output.
        size: (height, width) of the image that enters the net, in pixels.
        original_size: (height, width) of the image on disk, in pixels.
        start: (row, column) of the rectangle's first pixel on disk.
        stop: (row, column) behind its last.
        piece: (row, column) of the cell of the whole output with which the piece begins.
    """

    cells: tuple[int, int]
    size: tuple[int, int]
    original_size: tuple[int, int]
    start: tuple[int, int]
    stop: tuple[int, int]
    piece: tuple[int, int]

    @staticmethod
    def whole(cells: tuple[int, int], size: tuple[int, int], original_size: tuple[int, int]) -> Part:
        """All of a picture, read in its whole output.

        Args:
            cells: (h, w) of the output.
            size: (height, width) of the image that enters the net, in pixels.
            original_size: (height, width) of the image on disk, in pixels.
        """
        return Part(cells, size, original_size, (0, 0), original_size, (0, 0))


class DenseHead(Head):
    """A head that answers for every pixel: `forward` gives one tensor (N, K, h, w) at `stride`.

    Tiling and Monte-Carlo sampling work for every such head: they cut and average raw outputs, and leave to the head
    what they mean. Cell (i, j) of the output starts at pixel border + stride * (i, j) of the image; in a prediction,
    where the border was mirrored around the image, at stride * (i, j).
    """

    stride: int
    """Pixels of the image a cell of the output stands for."""
    grid: Literal["half_pixel", "corner", "ends"] = "half_pixel"
    """Where in the image the value of a cell stands (`ops/resize.py`)."""

    @abstractmethod
    def predict_part(self, raw: Tensor, part: Part) -> Prediction:
        """The prediction for a rectangle of the picture's own pixels, as maps of its size, on the CPU.

        How a picture is cut into rectangles must change nothing.

        Args:
            raw: (K, r, w), what `forward` gives for an image, or a piece of it.
            part: the rectangle, and where in the whole output the piece lies.
        """

    @abstractmethod
    def sampled(self, raw: Tensor) -> Tensor:
        """What the mean over Monte-Carlo samples is taken of, (N, K, h, w) float32: probabilities, or values."""

    @abstractmethod
    def predict_samples(self, mean: Tensor, variance: Tensor, part: Part) -> Prediction:
        """The prediction for a rectangle with its uncertainty, as `predict_part` gives one.

        Args:
            mean: (K, r, w) float32, of `sampled` over the samples, for an image or a piece of it.
            variance: (K, r, w) float32, of `sampled` over the samples.
            part: the rectangle, and where in the whole output the piece lies.
        """

    def exported_samples(
        self, mean: Tensor, variance: Tensor, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """What a program that samples answers, as `exported` does for one pass. Raises PartsError by default.

        Args:
            mean: (N, K, h, w) float32, of `sampled` over the samples.
            variance: (N, K, h, w) float32, of `sampled` over the samples.
            size: (height, width) of the pictures that entered the net, in pixels, without what was mirrored around them.
            original_size: (height, width) of the pictures as they were given; `size` itself where nothing resized them.
        """
        name = HEADS.name_of(type(self))
        message = f"'{name}' does not say what an export of samples answers"
        raise PartsError(Problem("head", message, "toolkit export --samples-mc 1"))

    @torch.no_grad()
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """`predict_part` of each image, in one piece."""
        raw = self(pyramid)
        sizes = zip(batch.sizes.tolist(), batch.original_sizes.tolist(), strict=True)
        return [
            self.predict_part(raw[i], Part.whole((raw.shape[2], raw.shape[3]), (h, w), (big_h, big_w)))
            for i, ((h, w), (big_h, big_w)) in enumerate(sizes)
        ]

    def shown_maps(self, pyramid: FeaturePyramid) -> dict[str, Tensor]:
        """The head's raw output (N, K, h, w), whose centre cell stands for what it sees of an image."""
        return {"output": self(pyramid)}

    def covered(self, maps: Tensor) -> Tensor:
        """The pixels of full-size maps (N, H, W) that the output stands for: without the border."""
        edge = self.border
        return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


class PixelLoss(nn.Module, ABC):
    """(logits N x C x H x W float, labels N x H x W int64) -> scalar float32. Knows its ignore index.

    weight_map: (N, H, W) float32, multiplies each pixel's term; a loss without a term a pixel raises ValueError
    when it is given. Everything ignored gives 0 with zero gradients, not NaN. A loss that is the mean of a term a
    pixel derives from `losses/mean.py`, which does all but the term.
    """

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """The loss, averaged as the subclass says.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """

    def denominator(self, labels: Tensor) -> Tensor | None:
        """What the loss divides by, a scalar, where the labels alone tell; None for a loss that is no such mean."""
        return None

    def total(self, sums: Tensor) -> Tensor:
        """Sums over pixels, added up over the processes that share a step, for a loss that is no mean over pixels.

        A loss that divides such sums hands them through here first; so it is that of one process with all pixels.
        The engine sets `sum_over_processes`; without it nothing is added.
        """
        return sums if self.sum_over_processes is None else self.sum_over_processes(sums)

    divides: Literal["anywhere", "processes", "nowhere"] = "nowhere"
    """How a batch may be divided without another loss: anywhere, for a mean of terms a pixel with a `denominator`; among
    processes only, whose sums `total` adds up, and not among the batches of `train.accumulate`; or nowhere."""

    sum_over_processes: Callable[[Tensor], Tensor] | None = None
    """Adds a tensor over processes, with its gradient."""

    @property
    def term_name(self) -> str:
        """What it is logged by: the registered name ("cross_entropy"), else the class's own."""
        name = LOSSES.name_of(type(self))
        return type(self).__name__ if ":" in name else name

    def terms(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
        """The loss by the names it is logged under: one, or those of its parts, whose sum is the loss.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        return {self.term_name: self(logits, labels, weight_map)}

    def denominators(self, labels: Tensor) -> dict[str, Tensor | None]:
        """`denominator` of each of `terms`."""
        return {self.term_name: self.denominator(labels)}


class Skip(NamedTuple):
    """A sample that is left out of a data set. name: of its image, relative to the root. reason: what is wrong with it."""

    name: str
    reason: str


class Dataset(ABC):
    """Samples on disk, in a fixed order. Random access, safe in several processes; nothing is written.

    A subclass reads file lists and annotation files in its constructor, no images, and raises DataError with every
    problem it can see. It sets there

    - classes: names of labels 0..K-1, and palette: an (r, g, b) a class, or ();
    - root: the folder that names of samples are relative to, where nothing is ever written;
    - channels: of its images, 3 (RGB), 1 (gray) or another number of bands;
    - category_ids: the numbers its files use for the labels 0..K-1, for results in the same format; () for none.

    What others need to know of a data set they ask by these and the methods below, never by its class: `PairedDataset`
    (an image and a mask file each) and `BoxDataset` (images with boxes) answer them for most formats.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    root: Path = Path()
    channels: int = 3
    value_range: Sequence[float] | Sequence[Sequence[float]] | None = None
    """The stored numbers that become 0 and 255, of all bands or a pair for each (`data.value_range`); None: bytes."""
    category_ids: tuple[int, ...] = ()
    skips: tuple[Skip, ...] = ()
    """Samples that are left out of it, because something is wrong with them (`data.on_bad: skip`)."""
    notes: tuple[str, ...] = ()
    """Sentences about what was read otherwise than it stands, or not read at all; told by `check` and `train`."""
    repeats: np.ndarray | None = None
    """(N,) times an epoch that each sample is drawn in training, at least 1; None: once."""
    annotated: bool = True
    """False for images whose files hold no annotations at all (COCO's image_info): they cannot be measured."""
    own_classes: tuple[str, ...] = ()
    """Names that its files know, where `classes` were chosen from them; () where they are `classes`."""
    absent_classes: tuple[str, ...] = ()
    """Classes that were asked for and that its files do not know; an error where no split's files do."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Reads one sample. Raises DataError naming the file that is missing, unreadable or wrong.

        Raises IndexError from `len(self)` on, so that iteration ends.
        """

    def describe(self) -> str:
        """What was found, in a line or a small table, for the person who starts a training."""
        return f"{len(self)} samples in {self.root}, {len(self.classes)} classes"

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples at some indices, in that order; `Sample.position` counts them anew, all else stays as it is."""
        return Subset(self, indices)

    def image_sizes(self) -> np.ndarray | None:
        """(N, 2) height and width of each image, 0 where unknown; None when nothing is known without opening them."""
        return None

    def boxes_of(self, index: int) -> Boxes | None:
        """The boxes of a sample, without its image where the annotation alone tells them. Default: reads the sample."""
        return self[index].boxes

    def files(self, index: int) -> tuple[Path, ...]:
        """The files a sample is read from, its image first, then its annotation; () when the data set does not say.

        By them a check names faults, finds an image in two splits and remembers what it has read already.
        """
        return ()

    def image_files(self) -> list[str]:
        """The image file of every sample as text; [] when the data set does not say all. Override it to be quicker."""
        found = [self.files(index)[:1] for index in range(len(self))]
        return [str(files[0]) for files in found] if all(found) else []

    def annotation_of(self, index: int) -> bytes:
        """What the annotation says of a sample, as bytes that change with it, where several samples share a file; else b""."""
        return b""

    def hands_images_on(self) -> bool:
        """Whether images of its samples are those that `read_image` gives, and nothing is computed from their pixels.

        Then a loader may decode them later, and smaller. A class says so by `looks_at_no_pixel = True` beside its own
        `__getitem__`; for a subclass with another `__getitem__` it does not hold until that class says it too.
        """
        owner = next(cls for cls in type(self).__mro__ if "__getitem__" in vars(cls))
        return bool(vars(owner).get("looks_at_no_pixel", False))

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says how all its images are read: with so many channels (None: as it is), and from which range of numbers."""
        self.channels = channels or self.channels
        self.value_range = value_range

    def with_classes(self, names: Sequence[str], labels: np.ndarray) -> Dataset | None:
        """The same samples with other classes; None: there is no way but to change each sample that is read.

        names: of the new labels 0..K-1. labels: (number of its classes,) int64: the new label of each of its own;
        `IGNORE_INDEX`: its pixels and boxes do not count; `LEFT_OUT`: its boxes are none.
        """
        return None


LEFT_OUT = -1
"""What `Dataset.with_classes` is told of a class whose boxes are none: background. Pixels have no such thing."""


class Subset(Dataset):
    """Some samples of any data set: what `Dataset.subset` gives where a data set has no better way.

    Args:
        whole: the data set that is asked for each sample when it is wanted.
        indices: positions in it, in the order in which they are to come.
    """

    def __init__(self, whole: Dataset, indices: Sequence[int]) -> None:
        self.whole = whole
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        self.classes, self.palette = tuple(whole.classes), tuple(whole.palette)
        self.root, self.channels, self.value_range = whole.root, whole.channels, whole.value_range
        self.category_ids, self.absent_classes = whole.category_ids, whole.absent_classes
        self.own_classes = whole.own_classes
        self.skips, self.notes, self.annotated = whole.skips, whole.notes, whole.annotated
        self.repeats = None if whole.repeats is None else whole.repeats[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.indices):
            raise IndexError(index)
        return self.whole[int(self.indices[index])]._replace(position=index)

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says it of the whole data set."""
        self.whole.set_reading(channels, value_range)
        super().set_reading(channels, value_range)

    def describe(self) -> str:
        """The whole data set's words, and how many of its samples these are."""
        return f"{self.whole.describe()}\n{len(self)} of its {len(self.whole)} samples"

    def image_sizes(self) -> np.ndarray | None:
        """Those of the samples that are here."""
        sizes = self.whole.image_sizes()
        return None if sizes is None else sizes[self.indices]

    def files(self, index: int) -> tuple[Path, ...]:
        """Those of the sample in the whole data set."""
        return self.whole.files(int(self.indices[index]))

    def image_files(self) -> list[str]:
        """Those of the samples that are here."""
        whole = self.whole.image_files()
        return [whole[index] for index in self.indices.tolist()] if whole else []

    def annotation_of(self, index: int) -> bytes:
        """What the whole data set says of the sample's annotation."""
        return self.whole.annotation_of(int(self.indices[index]))

    def hands_images_on(self) -> bool:
        """Whether the whole data set does."""
        return self.whole.hands_images_on()


class Transform(ABC):
    """(Sample, seed) -> Sample. Randomness is a pure function of the seed, so workers and resume change nothing."""

    random: bool = False
    """Whether the result depends on the seed. Evaluation refuses random transforms."""
    moves: bool = False
    """Whether pixels change place otherwise than by scaling the whole image (crops, flips, padding). Evaluation refuses
    it, because predictions are scaled back to the original picture."""
    geometric: bool = True
    """Whether it may change the size or place of anything. A check of sizes leaves out what only changes colours."""

    @abstractmethod
    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The changed sample; image, label map and boxes together. The input is left as it was."""

    def exported(self, images: Tensor) -> Tensor:
        """The same for (N, C, H, W) uint8 pictures in plain operators, for programs of other engines.

        Sizes may be symbols. Raises PartsError for a transform that has no such form (the default).
        """
        advice = "leave it out of data.val.transforms, or export with --raw and do it before"
        name = TRANSFORMS.name_of(type(self))
        raise PartsError(Problem("data.val.transforms", f"'{name}' cannot be part of an exported program", advice))

    def halvings(self, size: tuple[int, int], seed: int) -> int:
        """Times (0 to 3) that a decoder may halve an image of `size` (height, width) that this seed shrinks as much anyway.

        Only the first transform is asked; the sample that it then gets says by `Sample.halvings` what was done.
        """
        return 0


Draw = Callable[[int], Sample]
"""Another sample of the data set for a number, as the transforms before this one leave it; the same for the same number."""


class MixingTransform(Transform):
    """A transform that makes one sample of several. Called without others, it takes the sample itself in their place."""

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        return self.mixed(sample, seed, lambda number: sample)

    @abstractmethod
    def mixed(self, sample: Sample, seed: int, draw: Draw) -> Sample:
        """The changed sample.

        Args:
            sample: the sample itself, which is left as it was.
            seed: that everything random follows from, the numbers for `draw` too.
            draw: gives another sample for a number.
        """


class Evaluator(ABC):
    """Accumulates predictions against truths; never sees logits or the model. Constructor parameter `classes` first.

    One batch equals many, order changes nothing, and merged states of several processes equal one evaluator's.
    """

    metric: ClassVar[str]
    """The number that decides what "best" is ("mIoU", "AP", "RMSE")."""

    larger_is_better: ClassVar[bool] = True
    """Which of two values of `metric` is the better one; false for errors."""

    percent: ClassVar[bool] = True
    """Whether `metric` is a fraction 0..1 that people read in per cent; false for a number with a unit (RMSE)."""

    takes: ClassVar[type[Prediction] | None] = None
    """The prediction it compares ("LabelMap"): what the head `gives`. None: not said, nothing is compared."""

    wants_scores: bool = False
    """Whether label maps must carry the probability of each pixel's class, which costs time and else is left out."""

    class_means: ClassVar[bool] = False
    """Whether it has means over `self.classes`, from which `excluded` ones are left out."""

    classes: tuple[str, ...] = ()
    """Names of labels 0..K-1."""

    excluded: tuple[str, ...] = ()
    """Classes that are in no mean over classes, and so do not decide what is best; see `exclude`."""

    def exclude(self, names: Sequence[str]) -> None:
        """Leaves classes out of every mean over classes; their own numbers stay.

        Raises ConfigError for names that are no classes, for all classes at once, and for an evaluator without such means.
        """
        unknown = [name for name in names if name not in self.classes]
        if not self.class_means:
            message = f"'{EVALUATORS.name_of(type(self))}' has no mean over classes to leave any out of"
            raise ConfigError(Problem("evaluate.exclude", message, "remove the one or the other"))
        if unknown:
            message = f"names {', '.join(unknown)}, but the classes are {', '.join(self.classes)}"
            raise ConfigError(Problem("evaluate.exclude", message))
        if set(names) >= set(self.classes):
            raise ConfigError(Problem("evaluate.exclude", "leaves out every class, so that no mean is left"))
        self.excluded = tuple(name for name in self.classes if name in names)

    @property
    def averaged(self) -> list[int]:
        """Labels of the classes that are in the means."""
        return [label for label, name in enumerate(self.classes) if name not in self.excluded]

    @abstractmethod
    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError when a truth has not what this evaluator needs."""

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images as `update` does, and gives for each what was counted: arrays by name, for a record.

        Joined along the first axis over any images they make a state that `merge` takes, so that numbers of some of
        the images come from them. An array `NAME_counts` (1,) says how many rows of each other `NAME_...` the image
        has; without one an array has one row. Two evaluators that give an array of one name mean the same by it.
        Default: {} for each image, whose record then has no arrays.
        """
        self.update(predictions, truths)
        return [{} for _ in truths]

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything accumulated, as plain arrays, to be sent to another process."""

    @abstractmethod
    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's state."""

    @abstractmethod
    def compute(self) -> dict[str, float | None]:
        """Numbers by name, fractions 0..1 (where `percent` says so); None where undefined."""

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray] | None:
        """`compute` of R data sets in which image i stands weights[r, i] times, for the joined `rows` of N images.

        Numbers by name, each (R,) float64 with nan where undefined, for weights (R, N) int64; resampling asks for
        thousands. Default: None, there is no quicker way than to evaluate each.
        """
        return None

    def by_image(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, float | None]] | None:
        """`compute` of each image alone, for the joined `rows` of many; None where nothing is quicker than one by one."""
        return None

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, header, rows) tables in the field's familiar form. Default: every number of `compute`, as `shown`."""
        name = EVALUATORS.name_of(type(self))
        rows = [[number, self.shown(value)] for number, value in self.compute().items()]
        return [(type(self).__name__ if ":" in name else name, ["metric", "value"], rows)] if rows else []

    def constant_answer(self) -> tuple[str, float] | None:
        """The best that one answer for everything would have had in `metric` on the truths seen, as ("sky everywhere", 0.2).

        A training whose best is no better has learnt nothing. Default: None, nobody knows.
        """
        return None

    def never_right(self) -> list[str]:
        """Classes that the truths hold and that no prediction got right. Default: none."""
        return []

    @classmethod
    def shown(cls, value: float | None) -> str:
        """A number for people: in per cent with two decimals, or as it is; `-` for None."""
        if value is None:
            return "-"
        return f"{100 * value:.2f}" if cls.percent else f"{value:.4g}"

    def better(self, value: float, best: float) -> bool:
        """Whether a value of `metric` beats the best so far."""
        return value > best if self.larger_is_better else value < best


class OptimizerRule(ABC):
    """Builds a torch optimizer over parameter groups. A subclass has the learning rate `lr` as an argument."""

    lr: float
    weight_decay: float = 0.0

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
DATASETS: Registry[Dataset] = Registry("dataset", Dataset, injected=("classes",), settable=("classes",))
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

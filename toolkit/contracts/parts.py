"""Backbone, neck and head: an image becomes a pyramid, the pyramid a better pyramid, the pyramid an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from toolkit.contracts.pyramids import IMAGENET_STATS, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.registry import Registry
from toolkit.samples import Batch, Prediction


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


BACKBONES: Registry[Backbone] = Registry("backbone", Backbone)
NECKS: Registry[Neck] = Registry("neck", Neck, injected=("spec",))
HEADS: Registry[Head] = Registry("head", Head, injected=("spec", "num_classes"))

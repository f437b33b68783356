"""The one composition: normalise -> backbone -> neck -> head."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.bounds import PositiveInt
from toolkit.contracts import Backbone, FeaturePyramid, Head, Neck, PixelStats, PyramidSpec, Transform
from toolkit.data.images.bands import ValueRange
from toolkit.data.images.picture import Picture, sample_of
from toolkit.data.images.pictures import Sources, find_pictures, refuse_range
from toolkit.data.object_sizes import ObjectSizes
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import DataError, PartsError, Problem
from toolkit.labels import ClassTable
from toolkit.models.modes import evaluating
from toolkit.models.monte_carlo import refuse_without_dropout, seeded_monte_carlo
from toolkit.ops.padding import (
    Pad,
    check_size,
    inside,
    legal_size,
    mirror,
    mirror_each,
    mirror_positions,
    next_multiple,
    pad_targets,
)
from toolkit.samples import Batch, Prediction, collate

IllegalSizes = Literal["refuse", "pad"]
_TRAINING_MATTERS = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


class VisionModel(nn.Module):
    """A backbone, a neck or None, and a head, with the names of its classes.

    Images enter as (N, C, H, W) RGB (or gray) uint8 0..255, or float 0..1, and are normalised here by
    `backbone.pixel_stats`, so that weights and pixels cannot drift apart. What a method returns never depends on
    `training`.

    Raises PartsError for more than 1 without dropout and a dense head.

    Sizes. `spec.sizes` says which heights and widths the parts can take. For any other size, illegal_sizes="refuse"
    raises ImageSizeError with the nearest legal sizes; "pad" mirrors the images at the bottom and right up to the next
    legal size, where labels do not count. Nets of unpadded convolutions miss `border` pixels at each edge:

    * `forward` and `loss` take the images as they are; the head compares its output with the labels it covers.
      In a batch of several sizes the padding is 0 after normalisation, whatever filled it before: `batch.sizes` says
      what is image.
    * `predict` first mirrors `border` pixels around each image (without repeating the edge, as the 2015 U-Net's
      authors do), and then up to a legal size, whatever `illegal_sizes` says: only so does the output cover
      the whole image. Cell (0, 0) of the map the head reads then begins at pixel (0, 0) of the image. Every image is
      mirrored from its own content (`batch.sizes`) to its own legal size, and what the batch adds beyond is 0. A net
      sees the padding of others all the same: give it images of one size where the answer must not depend on the batch.

    A head may ask for more zeros at the bottom and right (`Head.pad_multiple`).

    Args:
        backbone: net from images to maps; its `pixel_stats` normalise the images.
        neck: net from maps to maps, or None for none.
        head: what makes the answer of the maps, and its loss.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, 0..255, or () for default colours.
        illegal_sizes: what is done with sizes that the parts cannot take: "pad" or "refuse", see above.
        samples: forward passes of a prediction; above 1 dropout stays active, see `predict`.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck | None,
        head: Head,
        classes: Sequence[str],
        palette: Sequence[tuple[int, int, int]] = (),
        illegal_sizes: IllegalSizes = "pad",
        samples: PositiveInt = 1,
    ) -> None:
        super().__init__()
        if palette and len(palette) != len(classes):
            raise PartsError(Problem("palette", f"{len(palette)} colours for {len(classes)} classes"))
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.classes = tuple(classes)
        self.palette = tuple((red, green, blue) for red, green, blue in palette)
        self.illegal_sizes = illegal_sizes
        self.samples = samples
        if samples > 1:
            refuse_without_dropout(self)
        self.transforms: tuple[Transform, ...] = ()
        """What evaluation does to a picture before the model sees it (a resize, say); set when a model is restored."""
        self.category_ids: tuple[int, ...] = ()
        """Ids of the classes in the training data's files, for COCO results; set when a model is restored."""
        self.object_sizes: ObjectSizes | None = None
        """How large the objects of a detector's training were; set when it is trained or restored."""
        self.value_range: ValueRange | None = None
        """The numbers in files that become 0 and 255 (`data.value_range`), set when a model is built of a config."""
        stats = backbone.pixel_stats
        mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (stats.mean, stats.std))
        # Part of the code's configuration, not of the weights: a state dict cannot bring other statistics.
        self.register_buffer("pixel_scale", torch.tensor(1 / std), persistent=False)
        self.register_buffer("pixel_shift", torch.tensor(-mean / std), persistent=False)

    @property
    def spec(self) -> PyramidSpec:
        """What the head reads: the neck's spec, or the backbone's."""
        return self.backbone.spec if self.neck is None else self.neck.spec

    @property
    def num_classes(self) -> int:
        """Number of classes K, background included where it is one."""
        return len(self.classes)

    @property
    def class_table(self) -> ClassTable:
        """Names, colours and ids of the classes, as predictions carry them."""
        return ClassTable(self.classes, self.palette, self.category_ids)

    @property
    def in_channels(self) -> int:
        """Channels of the images: 3 for RGB, 1 for gray."""
        return self.backbone.in_channels

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) that pictures must have, None for any: a model is for any, an exported file may be for one."""
        return None

    @property
    def pixel_stats(self) -> PixelStats:
        """How images are normalised."""
        return self.backbone.pixel_stats

    @property
    def border(self) -> int:
        """Image pixels that a dense output misses at each edge, 0 for padded convolutions."""
        return self.head.border

    def forward(self, images: Tensor) -> Any:
        """The head's raw outputs for (N, C, H, W) images, after padding at the bottom and right if their size asks it.

        Tensors in, tensors out, so that the model can be exported and compiled. Raises DataError for another number of
        channels and for floats that are not 0..1, ImageSizeError for an illegal size when `illegal_sizes` is "refuse".
        """
        _refuse_other_range(images)
        return self.head(self.pyramid(images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars, of which the training loss is the sum. Raises as `forward`."""
        return self.head.loss(*self.for_loss(batch))

    def for_loss(self, batch: Batch) -> tuple[FeaturePyramid, Batch]:
        """What the head's loss looks at: the pyramid, and the batch's annotations at its size. Raises as `forward`."""
        if not isinstance(batch, Batch):
            message = f"wanted a Batch, found {type(batch).__name__}"
            raise DataError(Problem("batch", message, "toolkit.collate([Sample(...), ...]) makes one"))
        _refuse_other_range(batch.images)
        return self.pyramid(self._as_weights_lie(batch.images), batch.sizes), self.legal(batch)

    def _as_weights_lie(self, images: Tensor) -> Tensor:
        """The images, channels before rows unless the weights are channels last too, as `collate` gives all images.

        On a CPU the gradient of a convolution's weights takes five times as long when its input is channels last
        (oneDNN with AVX2, 256 channels 3x3 at 120x160).
        """
        kernel = next((one for one in self.backbone.parameters() if one.ndim == 4), None)
        return images.contiguous() if kernel is not None and kernel.is_contiguous() else images

    def legal(self, batch: Batch) -> Batch:
        """The batch with annotations of a size the parts can take, padded with labels that do not count."""
        size = (batch.images.shape[-2], batch.images.shape[-1])
        return pad_targets(batch, legal_size(size, self.spec.sizes))

    @torch.inference_mode()
    def predict(self, pictures: Batch | Sources) -> list[Prediction]:
        """One prediction a picture, in original pixels, on the CPU, in order.

        Pictures (a path, an array, a PIL image, a tensor, a list of them: `find_pictures`) are read, pass the
        transforms the model was evaluated with, and are predicted one by one in eval mode; `toolkit.predict` does the
        same for many, in batches, with the pictures beside the answers. A `Batch` goes through the net as it is and in
        the mode the model is in: call `eval()` first, unless dropout or batch statistics are meant to be active.
        With `samples` above 1 the answer is the mean of so many passes with dropout (`models/monte_carlo.py`); the same
        images always give the same, because the draws have a seed of their own. Raises DataError for what is no
        picture or cannot be read, and as `forward`.
        """
        if not isinstance(pictures, Batch):
            with evaluating(self):
                return [found for batch in self._batches(find_pictures(pictures)) for found in self.predict(batch)]
        _refuse_other_range(pictures.images)
        table = self.class_table
        if self.samples > 1:
            found = seeded_monte_carlo(self, pictures, self.samples)
        else:
            self._warn_of_training()
            found = self.head.predict(self.pyramid(self.prepared(pictures), self.prepared_sizes(pictures)), pictures)
        return [prediction.of_classes(table) for prediction in found]

    def _batches(self, pictures: Sequence[Picture]) -> Iterator[Batch]:
        """Each picture as a batch of one, on the model's device."""
        pipeline = Pipeline(self.transforms)
        for position, picture in enumerate(pictures):
            image = picture.read(self.in_channels, self.value_range)
            batch = collate([pipeline(sample_of(picture, image, position), 0)])
            yield batch._replace(images=batch.images.to(self.pixel_scale.device))

    def _warn_of_training(self) -> None:
        if self.training and any(isinstance(module, _TRAINING_MATTERS) for module in self.modules()):
            message = (
                "predicting in training mode: dropout draws, and batch normalisation counts this batch; model.eval()"
            )
            warnings.warn(f"{message} first gives the model's own answer", stacklevel=4)

    def prepared(self, batch: Batch) -> Tensor:
        """The images of a batch as `predict` shows them to the net: the border mirrored around them, a legal size.

        Raises ImageSizeError for a picture of an illegal size when `illegal_sizes` is "refuse" and there is no border.
        """
        self._check_channels(batch.images)
        rule = self.spec.sizes
        if self.border == 0 and rule.minimum <= 1 and rule.multiple == 1:
            return batch.images
        sizes = [(int(height), int(width)) for height, width in batch.sizes.tolist()]
        if self.border == 0 and self.illegal_sizes == "refuse":
            for size in dict.fromkeys(sizes):
                check_size(size, rule)
        own = [legal_size((height + 2 * self.border, width + 2 * self.border), rule) for height, width in sizes]
        whole = (max(height for height, _ in own), max(width for _, width in own))
        if whole == tuple(batch.images.shape[-2:]) and all(size == whole for size in sizes):
            return batch.images
        return mirror_each(batch.images, sizes, self.border, own, whole)

    def prepared_lines(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Which row, and which column, of an image (height, width) stands at each of those in `prepared`, int64.

        Raises ImageSizeError as `prepared` does.
        """
        rule, around = self.spec.sizes, self.border
        if around == 0 and self.illegal_sizes == "refuse":
            check_size(size, rule)
        whole = legal_size((size[0] + 2 * around, size[1] + 2 * around), rule)
        rows, columns = (mirror_positions(n, around, to - n - around) for n, to in zip(size, whole, strict=True))
        return rows, columns

    def prepared_sizes(self, batch: Batch) -> Tensor:
        """(N, 2) int64 height and width of each image in `prepared`: with its mirrored pixels, without padding."""
        rule, around = self.spec.sizes, batch.sizes + 2 * self.border
        at_least = around.clamp_min(rule.minimum)
        return at_least + (rule.remainder - at_least) % rule.multiple

    def pyramid(self, images: Tensor, sizes: Tensor | None = None) -> FeaturePyramid:
        """What the head reads, for (N, C, H, W) images.

        sizes: (N, 2) int64 height and width of the part that is image, the rest being set to 0 once normalised; None
        where all of it is. Images of an illegal size are mirrored at the bottom and right, or refused (ImageSizeError).
        """
        pixels = self.entering(images, sizes)
        pyramid: FeaturePyramid = self.backbone(self.padded(pixels))
        pyramid = pyramid if self.neck is None else self.neck(pyramid)
        if self.head.pad_multiple == 1:
            return pyramid
        return replace(pyramid, image_size=(pixels.shape[-2], pixels.shape[-1]))

    def entering(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """What `pyramid` takes, normalised and of a legal size."""
        pixels = self.normalise(images)
        return self._legal(pixels if sizes is None else inside(pixels, sizes))

    def padded(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) with zeros at the bottom and right, up to the multiple that the head asks for."""
        height, width, more = pixels.shape[-2], pixels.shape[-1], self.head.pad_multiple
        if more == 1:
            return pixels
        return F.pad(pixels, (0, next_multiple(width, more) - width, 0, next_multiple(height, more) - height))

    def normalise(self, images: Tensor) -> Tensor:
        """(x - mean) / std of uint8 0..255 or float 0..1 images; float, channels in the backbone's order."""
        self._check_channels(images)
        if self.pixel_stats.bgr:
            images = images.flip(1)
        if images.is_floating_point():
            return images.to(self.pixel_scale.dtype) * self.pixel_scale + self.pixel_shift
        return images.to(self.pixel_scale.dtype) * (self.pixel_scale / 255) + self.pixel_shift

    def example_input(self, size: tuple[int, int] = (64, 64)) -> Tensor:
        """One mid-gray float image (1, C, H, W) of the next legal size, on the model's device, for tracing."""
        height, width = legal_size(size, self.spec.sizes)
        return torch.full((1, self.in_channels, height, width), 0.5, device=self.pixel_scale.device)

    def _legal(self, images: Tensor) -> Tensor:
        """Images of a legal size, padded at the bottom and right if need be, or refused."""
        rule = self.spec.sizes
        if rule.minimum <= 1 and rule.multiple == 1:
            return images
        size = (images.shape[-2], images.shape[-1])
        if self.illegal_sizes == "refuse":
            check_size(size, rule)
        height, width = legal_size(size, rule)
        return mirror(images, Pad(0, height - size[0], 0, width - size[1]))

    def _check_channels(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise DataError(
                Problem(
                    "images",
                    f"the backbone takes (N, {self.in_channels}, H, W) images, found {tuple(images.shape)}",
                    "read the data as gray (1) or RGB (3), or change the backbone's `in_channels`",
                )
            )


def _refuse_other_range(images: Tensor) -> None:
    """Raises DataError for float images that are not 0..1. A look that tracing and tensors without numbers do without."""
    if not images.is_floating_point() or images.is_meta or not images.numel() or torch.compiler.is_compiling():
        return
    if torch._C._get_tracing_state() is not None or type(images) is not Tensor:
        return
    low, high = (float(value) for value in images.detach().aminmax())
    refuse_range(low, high, "images")

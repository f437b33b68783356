"""The head that gives every pixel a class."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import HEADS, ClassRows, DenseHead, FeaturePyramid, Part, PixelLoss, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.layers.bilinear import bilinear_upsampling
from toolkit.layers.identity import identity_
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.labels import LabelError
from toolkit.ops.class_measures import entropy_bits, measures_of_part
from toolkit.ops.map_parts import Line, labels_of_part, lines_of_part, read_part
from toolkit.ops.resize import in_pixels, resampled, upsample
from toolkit.samples import IGNORE_INDEX, Batch, LabelMap, Prediction

Init = Literal["default", "he", "small", "identity", "noisy_identity"]
Upsampling = Literal["half_pixel", "corner", "ends", "deconvolution"]


@HEADS.register("pixel")
class PixelHead(DenseHead):
    """One convolution from a map to the logits of K classes, (N, K, h, w) at the map's stride; K from 2 to 255.

    A map with a border (unpadded convolutions) is compared with the labels it covers: the rest is cropped.

    Args:
        spec: what the backbone or neck produces.
        num_classes: number of classes K, 2 to 255.
        stride: stride of the map that is read, in pixels; null takes the finest.
        kernel_size: side of the kernel: 1, or 3 with padding 1 (SegNet).
        loss: what training lowers; null takes the cross-entropy.
        dropout: probability, 0..1, that a value of the map is dropped before the convolution.
        upsample: how cells lie in the image (`ops/resize.py`), or `deconvolution`: the logits leave the head at stride
            1, through a fixed bilinear kernel a class that fades at the edges (`layers/bilinear.py`), as in dilation's
            Cityscapes net; its K * (2 * stride)^2 numbers are not trained.
        label_sampling: how logits meet labels: `full` compares logits upsampled to pixels with every label; `corner`
            compares each cell with the label of the pixel it starts at, border + stride * i, and upsamples nothing (Yu
            and Koltun 2016, the official dilation code).
        interpolate: what a prediction upsamples: `logits`, or `probabilities` (that code again, on VOC, CamVid and
            KITTI).
        init: first values of the convolution: `default` is PyTorch's, `he` N(0, sqrt(2 / fan_in)) (SegNet's `msra`),
            `small` N(0, 0.001) (dilation's `final` layer), `identity` and `noisy_identity` (with N(0, 0.01), as
            released) the last layer of Yu and Koltun's context net (`layers/identity.py`). Biases start at 0 except in
            `default`.
    """

    gives: ClassVar[type[Prediction] | None] = LabelMap

    def __init__(
        self,
        spec: PyramidSpec,
        num_classes: int,
        stride: PositiveInt | None = None,
        kernel_size: Literal[1, 3] = 1,
        loss: PixelLoss | None = None,
        dropout: Probability = 0.0,
        upsample: Upsampling = "half_pixel",
        label_sampling: Literal["full", "corner"] = "full",
        interpolate: Literal["logits", "probabilities"] = "logits",
        init: Init = "default",
    ) -> None:
        super().__init__()
        _verify_classes(num_classes)
        self.index = 0 if stride is None else spec.index_of(stride, "head 'pixel'")
        self.stride, self.border = spec.strides[self.index], spec.borders[self.index]
        self.loss_function = CrossEntropy() if loss is None else loss
        self.grid = "half_pixel" if upsample == "deconvolution" else upsample
        self.label_sampling = label_sampling
        self.interpolate = interpolate
        self.dropout = nn.Dropout(dropout)
        if init in ("identity", "noisy_identity"):
            _verify_identity(spec.channels[self.index], num_classes, init)
        self.classifier = nn.Conv2d(spec.channels[self.index], num_classes, kernel_size, padding=kernel_size // 2)
        _initialise(self.classifier, init)
        self.upsampling: nn.Module = nn.Identity()
        if upsample == "deconvolution" and self.stride > 1:
            self.upsampling = bilinear_upsampling(num_classes, self.stride)
            self.stride = 1  # of what leaves the head

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """Logits (N, K, h, w) at the map's stride, or with `deconvolution` at stride 1."""
        return self.upsampling(self.classifier(self.dropout(pyramid.maps[self.index])))

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """The loss under its name, a weighted sum as its parts. Raises LabelError naming images with impossible labels.

        The label maps are those of the whole images, `pyramid.image_size`; with a border its pixels are cropped here.
        """
        if batch.label_maps is None:
            raise PartsError(Problem("head 'pixel'", "needs label maps, but the data set gives none"))
        logits = self(pyramid)
        labels = self._matched(batch.label_maps, logits)
        weights = None if batch.weight_maps is None else self._matched(batch.weight_maps, logits)
        if self.label_sampling == "full":
            logits = upsample(logits, self.stride, (labels.shape[1], labels.shape[2]), self.grid)
        try:
            return self.loss_function.terms(logits, labels.long(), weights)
        except LabelError as error:
            raise error.named(batch.names) from None

    def loss_denominators(self, batch: Batch) -> dict[str, Tensor]:
        """Of the losses that are means over labelled pixels."""
        if batch.label_maps is None:
            return {}
        found = self.loss_function.denominators(self._sampled(batch.label_maps).long())
        return {name: divisor for name, divisor in found.items() if divisor is not None}

    def has_targets(self, batch: Batch) -> list[bool]:
        """Whether any pixel that is compared has a label."""
        if batch.label_maps is None:
            return [True] * batch.count
        found: list[bool] = (self._sampled(batch.label_maps) != IGNORE_INDEX).flatten(1).any(1).tolist()
        return found

    def training_pass(self, pyramid: FeaturePyramid) -> Any:
        """One cross-entropy over the logits, upsampled as they are in training."""
        logits = self(pyramid)
        if self.label_sampling == "full":
            height, width = (n - 2 * self.border for n in pyramid.image_size)
            logits = upsample(logits, self.stride, (height, width), self.grid)
        labels = torch.zeros((logits.shape[0], *logits.shape[2:]), dtype=torch.int64, device=logits.device)
        return F.cross_entropy(logits.float(), labels)

    def class_layers(self) -> dict[nn.Module, ClassRows]:
        """The convolution: a row a class."""
        return {self.classifier: ClassRows()}

    @torch.no_grad()
    def predict_part(self, raw: Tensor, part: Part) -> LabelMap:
        """Labels, and scores when asked for: logits (or probabilities) are resized to pixels, and only then compared.

        Args:
            raw: (K, r, w) logits of an image, or of a piece of it.
            part: the rectangle that is answered for, and where the piece lies.
        """
        as_logits = self.interpolate == "logits"
        maps = raw.float() if as_logits else raw.float().softmax(0)
        lines = lines_of_part(part, self.stride, self.grid)
        labels, scores = labels_of_part(maps, *lines, logits=as_logits, with_scores=self.with_scores)
        probabilities, entropy = self._measures(maps, *lines, logits=as_logits)
        return LabelMap(labels, scores, probabilities=probabilities, entropy=entropy)

    def exported(
        self, raw: Any, pyramid: FeaturePyramid, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """labels (N, H, W) uint8, scores (N, H, W) float32: the probability of each pixel's class.

        Args:
            raw: (N, K, h, w) float logits, as `forward` gives them.
            pyramid: not used: `raw` has all of the answer.
            size: (height, width) in pixels of the pictures that entered the net, without padding.
            original_size: (height, width) in pixels of the answer; `size` itself where nothing resized the pictures.
        """
        as_logits = self.interpolate == "logits"
        maps = in_pixels(raw if as_logits else raw.softmax(1), self.stride, size, self.grid)
        maps = maps if original_size is size else resampled(maps, original_size)
        scores, labels = (maps.softmax(1) if as_logits else maps).max(1)
        return {"labels": maps.argmax(1).to(torch.uint8) if as_logits else labels.to(torch.uint8), "scores": scores}

    def exported_samples(
        self, mean: Tensor, variance: Tensor, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """labels (N, H, W) uint8, scores (N, H, W) float32, and uncertainty (N, H, W) float32, as `predict_samples`.

        Args:
            mean: (N, K, h, w) float32 mean of the samples' probabilities.
            variance: (N, K, h, w) float32 variance of the samples' probabilities.
            size: (height, width) in pixels of the pictures that entered the net, without padding.
            original_size: (height, width) in pixels of the answer; `size` itself where nothing resized the pictures.
        """

        def read(maps: Tensor) -> Tensor:
            maps = in_pixels(maps, self.stride, size, self.grid)
            return maps if original_size is size else resampled(maps, original_size)

        scores, labels = read(mean).max(1)
        unsure = read(variance.mean(1, keepdim=True))[:, 0]
        return {"labels": labels.to(torch.uint8), "scores": scores, "uncertainty": unsure}

    def sampled(self, raw: Tensor) -> Tensor:
        """Probabilities: the softmaxes are averaged, not the logits. Then, when it is asked for, their entropy in bits."""
        probabilities = raw.float().softmax(1)
        if not self.with_entropy:
            return probabilities
        return torch.cat([probabilities, entropy_bits(probabilities.transpose(0, 1))[:, None]], 1)

    @torch.no_grad()
    def predict_samples(self, mean: Tensor, variance: Tensor, part: Part) -> LabelMap:
        """Labels of the samples' mean; scores are its probabilities, uncertainty the classes' mean variance, 0 to 0.25.

        Args:
            mean: (K, r, w) float32 mean of the samples' probabilities; (K + 1, r, w) with that of their entropies.
            variance: (K, r, w) float32 variance of the samples' probabilities.
            part: the rectangle that is answered for, and where these pieces lie.
        """
        count = self.classifier.out_channels
        lines = lines_of_part(part, self.stride, self.grid)
        unsure = read_part(variance[:count].mean(0, keepdim=True), *lines)[0].cpu()
        labels, scores = labels_of_part(mean[:count], *lines, logits=False, with_scores=True)
        probabilities, entropy = self._measures(mean[:count], *lines, logits=False)
        information = None
        if entropy is not None:
            information = (entropy - read_part(mean[count:], *lines)[0].cpu()).clamp_(min=0)
        return LabelMap(labels, scores, unsure, probabilities, entropy, information)

    def _measures(
        self, maps: Tensor, rows: Line, columns: Line, *, logits: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Probabilities and entropy, where they are asked for."""
        wanted = {"probabilities": self.with_probabilities, "entropy": self.with_entropy}
        return measures_of_part(maps, rows, columns, logits=logits, **wanted)

    def _matched(self, maps: Tensor, logits: Tensor) -> Tensor:
        """The pixels (N, ...) of full-size maps that are compared with the logits: covered by them, then sampled."""
        sampled = self._sampled(maps)
        return sampled if self.label_sampling == "full" else sampled[:, : logits.shape[2], : logits.shape[3]]

    def _sampled(self, maps: Tensor) -> Tensor:
        maps = self.covered(maps)
        return maps if self.label_sampling == "full" else maps[:, :: self.stride, :: self.stride]


def _verify_classes(num_classes: int) -> None:
    if not 2 <= num_classes <= IGNORE_INDEX:
        problem = f"needs 2 to {IGNORE_INDEX} classes, found {num_classes}"
        advice = "for one class against the rest, give the rest a name too: [background, road]"
        raise PartsError(Problem("head 'pixel'", problem, advice if num_classes < 2 else ""))


def _verify_identity(channels: int, num_classes: int, init: str) -> None:
    """An identity maps each class's channels to that class."""
    if channels % num_classes:
        message = f"init '{init}' needs as many channels as there are classes, {num_classes} or a multiple: the map has {channels}"
        raise PartsError(
            Problem("head 'pixel'", message, f"set the neck's channels to {num_classes}, or init: default")
        )


@torch.no_grad()
def _initialise(convolution: nn.Conv2d, init: Init) -> None:
    """Starting values of the classifier; see `PixelHead`."""
    if init == "default":
        return
    weight, bias = convolution.weight, convolution.bias
    if bias is not None:
        nn.init.zeros_(bias)
    if init == "he":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        return
    if init == "small":
        nn.init.normal_(weight, std=0.001)
    else:
        identity_(weight, weight.shape[0], noise=0.01 if init == "noisy_identity" else 0.0)

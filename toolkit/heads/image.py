"""The head that gives a whole image a class."""

from __future__ import annotations

import logging
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import HEADS, ClassRows, FeaturePyramid, Head, PyramidSpec
from toolkit.errors import CheckpointError, DataError, PartsError, Problem
from toolkit.heads.auxiliary import AuxiliaryClassifiers
from toolkit.layers.fully_connected import Activation, FullyConnected, GlobalPool, cells_of_image
from toolkit.samples import Batch, ImageScores, Prediction
from toolkit.weights.read import read_weights

log = logging.getLogger(__name__)

AUXILIARY_WEIGHT = 0.3
"""Factor of the auxiliary classifiers' losses: "Going deeper with convolutions" (1409.4842), section 5."""


@HEADS.register("image")
class ImageHead(Head):
    """Pools the last map, then fully connected layers to the logits of K classes, (N, K).

    AlexNet: `grid: 6, hidden: [4096, 4096], dropout: [0.5, 0.5, 0]`; VGG: `grid: 7, hidden: [4096, 4096],
    dropout: [0, 0.5, 0.5]`; GoogLeNet: `dropout: [0.2]`; ResNet and DenseNet: the defaults; LeNet-5:
    `pool: none, grid: 5, hidden: [120, 84]`. Padding at the right and bottom of an image in a batch is not pooled.

    Args:
        spec: what the backbone or neck produces; the last map is read.
        num_classes: number of classes K, at least 2.
        pool: `average`, `max`, or `none` for a map of exactly grid x grid cells.
        grid: cells along each side of the map after pooling.
        hidden: widths of the fully connected layers before the last; null is none.
        dropout: probability, 0..1, before each fully connected layer, the last included; null is none.
        activation: function between the fully connected layers, none behind the last.
        label_smoothing: share of the target, 0 to below 1, that is spread over all classes.
        class_weights: one factor a class in the cross-entropy, above 0, which is divided by their sum over the batch.
        auxiliary: a second classifier on every map that is not the last of its stride (GoogLeNet with `auxiliary: true`
            gives 4a and 4d), whose loss counts 0.3; `norm` with batch norm as torchvision has it, `bias` as in the
            paper. They change the training only.
        weights: a file or torchvision's full name (`AlexNet_Weights.IMAGENET1K_V1`) whose classifier is loaded. The
            last layer stays random when it was made for another number of classes.

    Raises:
        PartsError: fewer than 2 classes; lists of the wrong length; auxiliary classifiers without maps for them.
        CheckpointError: the weights do not fit.
    """

    gives: ClassVar[type[Prediction] | None] = ImageScores

    def __init__(
        self,
        spec: PyramidSpec,
        num_classes: int,
        pool: GlobalPool = "average",
        grid: PositiveInt = 1,
        hidden: list[PositiveInt] | None = None,
        dropout: list[Probability] | None = None,
        activation: Activation = "relu",
        label_smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
        class_weights: list[PositiveFloat] | None = None,
        auxiliary: Literal["none", "norm", "bias"] = "none",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        _check(num_classes, class_weights)
        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self.layers = FullyConnected(
            spec.channels[-1], num_classes, pool, grid, hidden or (), dropout or (), activation, "head 'image'"
        )
        self.auxiliary = None if auxiliary == "none" else AuxiliaryClassifiers(spec, num_classes, auxiliary == "norm")
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", torch.tensor(class_weights) if class_weights else None, persistent=False)
        if weights is not None:
            self._load(weights)

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """The logits (N, K) of each image's classes; padding in the batch is pooled too."""
        return self.layers(pyramid.maps[-1])

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, and with auxiliary classifiers 0.3 times theirs. Raises DataError without image labels."""
        if batch.image_labels is None:
            raise DataError(Problem("head 'image'", "needs a class for each image, but the data set gives none"))
        labels = batch.image_labels.to(pyramid.maps[-1].device)
        losses = {"classification": self._cross_entropy(self._logits(pyramid, batch), labels, batch)}
        if self.auxiliary is not None:
            for number, logits in enumerate(self.auxiliary(pyramid), start=1):
                losses[f"auxiliary{number}"] = AUXILIARY_WEIGHT * self._cross_entropy(logits, labels, batch)
        return losses

    def training_pass(self, pyramid: FeaturePyramid) -> Any:
        """A cross-entropy of the logits and of each auxiliary classifier's."""
        logits = [self(pyramid), *(self.auxiliary(pyramid) if self.auxiliary is not None else [])]
        labels = torch.zeros(len(logits[0]), dtype=torch.int64, device=logits[0].device)
        return [F.cross_entropy(each.float(), labels) for each in logits]

    def class_layers(self) -> dict[nn.Module, ClassRows]:
        """The last fully connected layer: a row a class."""
        return {self.layers.linears[-1]: ClassRows()}

    def shown_maps(self, pyramid: FeaturePyramid) -> dict[str, Tensor]:
        """The map (N, C, h, w) that is pooled: the last of the pyramid."""
        return last_map(super().shown_maps(pyramid))

    def exported(
        self, raw: Any, pyramid: FeaturePyramid, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """scores (N, K) float32, probabilities; labels (N,) int64, the most probable class.

        Args:
            raw: (N, K) float logits, as `forward` gives them.
            pyramid: not used: `raw` has all of the answer.
            size: not used: an image has one answer.
            original_size: not used: an image has one answer.
        """
        return {"labels": raw.argmax(1), "scores": raw.softmax(1)}

    @torch.no_grad()
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """Probabilities (K,) of each image."""
        scores = self._logits(pyramid, batch).float().softmax(1).cpu()
        return [ImageScores(row) for row in scores]

    def _logits(self, pyramid: FeaturePyramid, batch: Batch) -> Tensor:
        return of_images(self.layers, pyramid, batch)

    def _cross_entropy(self, logits: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        # Elsewhere looking would make every step wait for the device.
        legal = labels.device.type != "cpu" or bool(((labels >= 0) & (labels < self.num_classes)).all())
        if not legal:
            wrong = ((labels < 0) | (labels >= self.num_classes)).nonzero().flatten().tolist()
            found = ", ".join(f"{batch.names[i]} ({int(labels[i])})" for i in wrong)
            raise DataError(Problem("head 'image'", f"labels are not within 0..{self.num_classes - 1}: {found}"))
        return F.cross_entropy(logits.float(), labels, self.class_weights, label_smoothing=self.label_smoothing)

    def _load(self, weights: str) -> None:
        state = read_weights(weights)
        pairs = _linear_layers(state, ("classifier.", "fc."))
        if len(pairs) != len(self.layers.linears):
            message = f"{weights} has {len(pairs)} fully connected layers, this head {len(self.layers.linears)}"
            raise CheckpointError(Problem("head 'image'", message, "set `hidden` as in the net the weights are of"))
        last = self.layers.linears[-1]
        for linear, (name, weight, bias) in zip(self.layers.linears, pairs, strict=True):
            wanted = linear.state_dict()["weight"].shape
            fits = weight.shape == wanted
            if linear is last and not fits and weight.shape[1] == wanted[1]:
                log.info("%s is for %d classes, not %d: it starts random", name, weight.shape[0], self.num_classes)
            elif not fits:
                message = f"{name} is {tuple(weight.shape)}, wanted {tuple(wanted)}"
                raise CheckpointError(Problem("head 'image'", message, "set `hidden` and `grid` as in that net"))
            else:
                linear.load_state_dict({"weight": weight, "bias": bias})
        if self.auxiliary is not None:
            self.auxiliary.load(state, weights)


def last_map(maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """The last of several maps by name: what a head that pools an image reads."""
    return dict(list(maps.items())[-1:])


def of_images(layers: FullyConnected, pyramid: FeaturePyramid, batch: Batch) -> Tensor:
    """`layers` on the last map of each image, without the padding that made the images of a batch one size.

    Args:
        layers: the head's layers, from a map to a vector.
        pyramid: maps of the images, of which the last is read.
        batch: the batch, which says how much of each image is padding.
    """
    features, spec, padded = pyramid.maps[-1], pyramid.spec, pyramid.image_size
    sizes = [(int(h), int(w)) for h, w in batch.sizes.tolist()]
    if all(size == padded for size in sizes):
        return layers(features)
    stride, border = spec.strides[-1], spec.borders[-1]
    own = [cells_of_image(features[i : i + 1], stride, border, padded, size) for i, size in enumerate(sizes)]
    return torch.cat([layers(cells) for cells in own])


def _check(num_classes: int, class_weights: list[float] | None) -> None:
    if num_classes < 2:
        message = f"needs at least 2 classes, found {num_classes}"
        raise PartsError(Problem("head 'image'", message, "for one class against the rest, name the rest too"))
    if class_weights is not None and len(class_weights) != num_classes:
        message = f"class_weights has {len(class_weights)} numbers for {num_classes} classes"
        raise PartsError(Problem("head 'image'", message))


def _linear_layers(state: dict[str, Tensor], prefixes: tuple[str, ...]) -> list[tuple[str, Tensor, Tensor]]:
    """(name, weight, bias) of a classifier's linear layers, in the order of their numbers."""
    names = [
        key.removesuffix(".weight") for key, value in state.items() if key.startswith(prefixes) and value.ndim == 2
    ]
    names.sort(key=lambda name: [int(part) if part.isdigit() else 0 for part in name.split(".")])
    return [(name, state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]

"""What a model answers for one image, and how the answer draws, converts and explains itself.

The classes here are tuples of tensors on the CPU, in the original image's pixels. What their labels mean (`classes`)
is no element of the tuple: the model that predicts adds it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from toolkit import coco_results, drawing
from toolkit.errors import Problem, UserError
from toolkit.labels import IGNORE_INDEX, NO_CLASSES, ClassTable

P = TypeVar("P", bound="Named")
_NAMED = 5
"""Classes whose lowest score is said below a drawing."""


class Named:
    """A prediction whose labels, or values, have names."""

    classes: ClassTable = NO_CLASSES

    def of_classes(self: P, classes: ClassTable) -> P:
        """The same prediction, knowing what its labels (or values) are called."""
        named = copy.copy(self)
        named.classes = classes
        return named

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Entries of COCO's results format. Raises UserError: it holds boxes and masks, and this is neither."""
        found = type(self).__name__
        message = f"COCO's results format holds boxes and masks, and {found} is neither"
        raise UserError(Problem("to_coco", message, "its numbers are in .numpy()"))


class _LabelMap(NamedTuple):
    labels: Tensor
    scores: Tensor | None = None
    uncertainty: Tensor | None = None
    probabilities: Tensor | None = None
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None


class LabelMap(_LabelMap, Named):
    """Prediction of a `pixel` head for one image, original size, on the CPU.

    Args:
        labels: (H, W) uint8 class of each pixel, 0..K-1.
        scores: (H, W) float32 probability of that class, or None.
        uncertainty: (H, W) float32, class-averaged variance over Monte-Carlo samples, or None.
        probabilities: (K, H, W) float16 of all classes, 0..1, when they were asked for (`Head.with_probabilities`).
        entropy: (H, W) float32 of the probabilities in bits, 0..log2 K, when it was asked for (`Head.with_entropy`).
        mutual_information: (H, W) float32 of class and Monte-Carlo sample in bits, with the entropy; None of one pass.
    """

    def numpy(self) -> np.ndarray:
        """The labels, (H, W) uint8."""
        return self.labels.numpy()

    def at_least(self, thresholds: Sequence[float], fallback: int = IGNORE_INDEX) -> LabelMap:
        """The map whose pixels below their class' threshold are something else. Raises UserError for a map without scores.

        thresholds: lowest score, 0..1, of each of the K classes. fallback: class of the other pixels, or `IGNORE_INDEX` for none.
        """
        if self.scores is None:
            message = "has no scores to compare with thresholds"
            raise UserError(Problem("at_least", message, "set model.head.with_scores = True before predicting"))
        lowest = torch.zeros(IGNORE_INDEX + 1)
        lowest[: len(thresholds)] = torch.tensor(thresholds, dtype=torch.float32)
        labels = torch.where(self.scores >= lowest[self.labels.long()], self.labels, fallback)
        return self.labelled(labels.to(torch.uint8))

    def labelled(self, labels: Tensor) -> LabelMap:
        """The map with other labels, (H, W) uint8; all else is as the model answered."""
        return self._replace(labels=labels).of_classes(self.classes)

    def draw(self, image: np.ndarray, opacity: float = 0.5) -> np.ndarray:
        """The image with the classes in colour, above a legend: (h, w, 3) RGB uint8, small images enlarged.

        image: (H, W, 3), (H, W, 1) or (H, W) uint8 of the label map's size; else UserError. opacity: of the colours.
        """
        pixels = _image(image, (self.labels.shape[0], self.labels.shape[1]))
        return drawing.draw_label_map(pixels, self.numpy(), self.classes, opacity)

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Entries of COCO's results format, one a class that is present, with its pixels as run lengths (RLE).

        image_id: of the image in the annotation file. Category ids are the training data's; where it has none, they
        count from 1.
        """
        scores = None if self.scores is None else self.scores.numpy()
        return coco_results.mask_entries(self.numpy(), scores, image_id, self.classes)


class DetectionArrays(NamedTuple):
    """`Detections` as numpy arrays.

    Args:
        boxes: (N, 4) float32 xyxy pixels, x2 and y2 exclusive.
        scores: (N,) float32 probability of the class, 0..1, falling.
        labels: (N,) int64 class of each box, 0..K-1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class _Detections(NamedTuple):
    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Detections(_Detections, Named):
    """Prediction of a detector for one image, best first, original pixels, on the CPU.

    Args:
        boxes: (N, 4) float32 xyxy pixels, x2 and y2 exclusive.
        scores: (N,) float32 probability of the class, 0..1, falling.
        labels: (N,) int64 class of each box, 0..K-1.
    """

    def numpy(self) -> DetectionArrays:
        """Boxes, scores and labels as arrays."""
        return DetectionArrays(self.boxes.numpy(), self.scores.numpy(), self.labels.numpy())

    def at_least(self, score: float | Sequence[float]) -> Detections:
        """Those whose score is at least `score`, 0..1, one number or one a class, in the same order."""
        lowest = torch.as_tensor(score, dtype=self.scores.dtype)
        keep = self.scores >= (lowest[self.labels] if lowest.ndim else lowest)
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep]).of_classes(self.classes)

    def draw(self, image: np.ndarray, min_score: float | Sequence[float] = 0.5) -> np.ndarray:
        """The image with boxes, names and scores above a legend that says the score: (h, w, 3) RGB uint8.

        image: (H, W, 3), (H, W, 1) or (H, W) uint8, the one that was predicted on; a small one is enlarged.
        min_score: 0..1, one number or one a class; boxes below it are not drawn.
        """
        shown = self.at_least(min_score).numpy()
        if isinstance(min_score, (int, float)):
            lowest = f"{min_score:.2g}"
        else:
            own = sorted(set(shown.labels.tolist()))
            named = ", ".join(f"{self.classes.name_of(label)} {min_score[label]:.2g}" for label in own[:_NAMED])
            lowest = named + (" ..." if len(own) > _NAMED else "") if named else "of their class"
        note = f"{len(shown.scores)} of {len(self.scores)} boxes: score {lowest} and above"
        return drawing.draw_detections(_image(image), shown.boxes, shown.scores, shown.labels, self.classes, note)

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Entries of COCO's results format, one a box: image_id, category_id, bbox (x, y, width, height), score.

        image_id: of the image in the annotation file. Category ids are the training data's; where it has none, they
        count from 1.
        """
        return coco_results.box_entries(*self.numpy(), image_id=image_id, classes=self.classes)


class _ImageScores(NamedTuple):
    scores: Tensor


class ImageScores(_ImageScores, Named):
    """Prediction of an `image` head that classifies: (K,) float32 probabilities, on the CPU."""

    @property
    def label(self) -> int:
        """The most probable class, 0..K-1."""
        return int(self.scores.argmax())

    def numpy(self) -> np.ndarray:
        """The probabilities, (K,) float32."""
        return self.scores.numpy()

    def draw(self, image: np.ndarray, top: int = 3) -> np.ndarray:
        """The image above the names and probabilities of the `top` most probable classes: (h, w, 3) RGB uint8."""
        order = self.scores.argsort(descending=True, stable=True)[:top].tolist()
        lines = [f"{self.classes.name_of(label)} {float(self.scores[label]):.3f}" for label in order]
        return drawing.draw_caption(_image(image), lines)


class _ImageValues(NamedTuple):
    values: Tensor


class ImageValues(_ImageValues, Named):
    """Prediction of an `image` head that regresses: (K,) float32 numbers, on the CPU."""

    def numpy(self) -> np.ndarray:
        """The numbers, (K,) float32."""
        return self.values.numpy()

    def draw(self, image: np.ndarray) -> np.ndarray:
        """The image above the names of the values and their numbers: (h, w, 3) RGB uint8."""
        lines = [f"{self.classes.name_of(place)} {value:.4g}" for place, value in enumerate(self.values.tolist())]
        return drawing.draw_caption(_image(image), lines)


class _ValueMap(NamedTuple):
    values: Tensor
    uncertainty: Tensor | None = None


class ValueMap(_ValueMap, Named):
    """Prediction of dense regression: (H, W) float32, original size, on the CPU.

    uncertainty: (H, W) float32, variance over Monte-Carlo samples in squared units of the values, or None.
    """

    def numpy(self) -> np.ndarray:
        """The values, (H, W) float32."""
        return self.values.numpy()

    def draw(self, image: np.ndarray) -> np.ndarray:
        """The values in colour, dark to bright, beside the image, above a scale: (h, w, 3) RGB uint8.

        image: (H, W, 3), (H, W, 1) or (H, W) uint8 of the map's size; else UserError.
        """
        return drawing.draw_values(_image(image, (self.values.shape[0], self.values.shape[1])), self.numpy())


Prediction = LabelMap | Detections | ImageScores | ImageValues | ValueMap

PREDICTION_NAMES: dict[type[Any], str] = {
    LabelMap: "label maps",
    Detections: "detections",
    ImageScores: "scores of images",
    ImageValues: "values of images",
    ValueMap: "value maps",
}
"""What people call each kind of prediction, in the plural."""


def _image(image: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, C) uint8 of what is drawn on; of many bands the first three are shown.

    Raises UserError for anything else, or another size than (height, width).
    """
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not _is_picture(pixels, size) or pixels.dtype != np.uint8:
        message = f"draws on a uint8 image (H, W, 3) or (H, W), found {pixels.dtype} {np.shape(image)}"
        raise UserError(Problem("draw", message, "give it result.image"))
    if size is not None and pixels.shape[:2] != size:
        found = f"{pixels.shape[0]}x{pixels.shape[1]}"
        message = f"this prediction is of an image of {size[0]}x{size[1]} (height x width), found one of {found}"
        raise UserError(Problem("draw", message, "give it the image that was predicted on, result.image"))
    return pixels


def _is_picture(pixels: np.ndarray, size: tuple[int, int] | None) -> bool:
    """Whether the channels come last, as far as can be told: many are believed where the sides are right."""
    return pixels.shape[2] in (1, 3, 4) or pixels.shape[:2] == size

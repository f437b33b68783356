"""The usual augmentation in one go: scale, shape, rotation, crop and mirror in one resampling, colours in one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

import cv2
import numpy as np

from toolkit.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.augment import largest_share
from toolkit.data.transforms.box_geometry import cut_boxes
from toolkit.data.transforms.warp_plan import ColorChange, Plan, color_matrix, halvings_for, span
from toolkit.errors import ConfigError, Problem
from toolkit.samples import IGNORE_INDEX, Boxes, Sample

_PARTS = 10
"""Parts that are looked at for one with several classes."""


@TRANSFORMS.register("warp")
class Warp(Transform):
    """A part of the picture scaled, turned and mirrored to (height, width), and its colours changed, each pixel touched once.

    What `random_scale`, `random_crop`, `flip`, a rotation and `color_jitter` do in a row, in one resampling (linear; label
    maps nearest) and one matrix. A picture that shrinks below a half is halved first, by the JPEG decoder itself where
    it can. A smaller picture is padded at the right and bottom. Where there is no picture nothing counts.

    Args:
        height: pixels from top to bottom after the transform.
        width: pixels from left to right after the transform.
        scale: smallest and largest factor of the picture's size, drawn evenly.
        scale_of: what a factor of 1 is: the pixels of the "picture" as they are, the largest scale at which all of it can
            "fit" into the new size, or the smallest at which it can "fill" it.
        stretch: largest change of shape: width by height is multiplied by 1/s to s, evenly on a logarithmic scale.
        rotation: degrees of the largest turn to either side, about the middle of what is shown.
        flip: probability, 0..1, that left and right change places.
        brightness: factors from max(0, 1 - b) to 1 + b.
        contrast: the same for the distance from the mean gray value of the part that is shown.
        saturation: the same for the distance from gray of each pixel; pictures of three channels only.
        hue: turns of the circle of colours, from -h to h, at most 0.5; pictures of three channels only.
        color_p: probability, 0..1, that the colours of a sample are changed.
        max_share: show another part, up to ten in all, while one class covers more than this share of its labelled pixels
            (before a turn); 1.0 takes the first, as boxes do.
    """

    random = True
    moves = True

    def __init__(
        self,
        height: PositiveInt,
        width: PositiveInt,
        scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0),
        scale_of: Literal["picture", "fit", "fill"] = "picture",
        stretch: PositiveFloat = 1.0,
        rotation: NonNegativeFloat = 0.0,
        flip: Probability = 0.5,
        brightness: NonNegativeFloat = 0.0,
        contrast: NonNegativeFloat = 0.0,
        saturation: NonNegativeFloat = 0.0,
        hue: NonNegativeFloat = 0.0,
        color_p: Probability = 1.0,
        max_share: Probability = 1.0,
    ) -> None:
        problems = []
        if scale[0] > scale[1]:
            problems.append(Problem("scale", f"wanted the smaller of two first, found {scale[0]}, {scale[1]}"))
        if stretch < 1:
            problems.append(Problem("stretch", f"wanted 1 (none) or more, found {stretch}"))
        if rotation > 180:
            problems.append(Problem("rotation", f"wanted 0 to 180 degrees, found {rotation}"))
        if hue > 0.5:
            problems.append(Problem("hue", f"wanted 0 to 0.5 of a turn, found {hue}"))
        if problems:
            raise ConfigError(problems)
        self.size, self.scale, self.scale_of = (height, width), scale, scale_of
        self.stretch, self.rotation, self.flip = stretch, rotation, flip
        self.amounts, self.hue, self.color_p = (brightness, contrast, saturation), hue, color_p
        self.max_share = max_share

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        plan = self.plan(size_of(sample), seed)
        if self.max_share < 1 and sample.label_map is not None:
            plan = self._of_several_classes(plan, sample.label_map, seed)
        return warped(sample, plan)

    def halvings(self, size: tuple[int, int], seed: int) -> int:
        """See `Transform`."""
        return self.plan(size, seed).halvings

    def most_halvings(self, size: tuple[int, int]) -> int:
        """The most that `halvings` can be for a picture of (height, width)."""
        return min(halvings_for(self._unit(size) * self.scale[0]), min(size).bit_length() - 1)

    def plan(self, size: tuple[int, int], seed: int) -> Plan:
        """What happens to a picture of (height, width) pixels with this seed. Geometry does not depend on the colours."""
        draw = Random(seed).random
        factor = self._unit(size) * _between(*self.scale, draw())
        shape = self.stretch ** _between(-0.5, 0.5, draw())
        degrees = _between(-self.rotation, self.rotation, draw())
        mirrored = draw() < self.flip
        down, across = factor / shape, factor * shape
        halvings = min(halvings_for(max(down, across)), min(size).bit_length() - 1)
        rows, columns = (
            span(side >> halvings, scale * 2**halvings, wanted, draw())
            for side, scale, wanted in zip(size, (down, across), self.size, strict=True)
        )
        return Plan(halvings, rows, columns, mirrored, degrees, self.size, self._color(draw))

    def _of_several_classes(self, plan: Plan, labels: np.ndarray, seed: int) -> Plan:
        """The plan with another part. Its scale stays, by which a decoder has halved the picture before labels were known."""
        draw = Random(f"{seed} parts").random
        height, width = (side >> plan.halvings for side in labels.shape)
        for _ in range(_PARTS - 1):
            part = labels[plan.rows.part(plan.halvings), plan.columns.part(plan.halvings)]
            if largest_share(part) <= self.max_share:
                break
            plan = plan._replace(rows=plan.rows.moved(height, draw()), columns=plan.columns.moved(width, draw()))
        return plan

    def _unit(self, size: tuple[int, int]) -> float:
        """The scale that a factor of 1 means."""
        if self.scale_of == "picture":
            return 1.0
        factors = (self.size[0] / size[0], self.size[1] / size[1])
        return min(factors) if self.scale_of == "fit" else max(factors)

    def _color(self, draw: Callable[[], float]) -> ColorChange:
        changed, *shares = (draw() for _ in range(5))
        if changed >= self.color_p:
            return ColorChange()
        brightness, contrast, saturation = (
            _between(max(0.0, 1 - amount), 1 + amount, share)
            for amount, share in zip(self.amounts, shares, strict=False)
        )
        return ColorChange(brightness, contrast, saturation, _between(-self.hue, self.hue, shares[3]))


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def size_of(sample: Sample) -> tuple[int, int]:
    """(height, width) of the annotations of a sample: that of its image before a decoder halved it."""
    return sample.original_size if sample.halvings else (sample.image.shape[0], sample.image.shape[1])


def warped(sample: Sample, plan: Plan) -> Sample:
    """The sample as planned. Its image may have been halved by the decoder already, as often as the plan says."""
    size = size_of(sample)
    outside = _outside(plan, size) if plan.degrees else None
    image = sample.image[: size[0] >> sample.halvings, : size[1] >> sample.halvings]

    def moved(array: np.ndarray | None, fill: float) -> np.ndarray | None:
        return None if array is None else _nearest(array, plan, fill)

    return sample._replace(
        image=_image(image, plan._replace(halvings=plan.halvings - sample.halvings), outside),
        label_map=moved(sample.label_map, IGNORE_INDEX),
        value_map=moved(sample.value_map, float("nan")),
        weight_map=moved(sample.weight_map, 0.0),
        boxes=sample.boxes and boxes_as_planned(sample.boxes, plan),
        halvings=0,
    )


def _image(image: np.ndarray, plan: Plan, outside: np.ndarray | None) -> np.ndarray:
    """plan: with the halvings that are still to be done."""
    if plan.degrees:
        whole = halved(image, plan.halvings)
        shown = whole[plan.rows.part(), plan.columns.part()]
        result = recolored(_turned(whole, plan), plan.color, _mean(shown, plan.color))
        if outside is not None:
            result[outside] = 0
        return result
    part = halved(image[plan.rows.part(plan.halvings), plan.columns.part(plan.halvings)], plan.halvings)
    made = cv2.resize(part, (plan.columns.made, plan.rows.made), interpolation=cv2.INTER_LINEAR)
    made = recolored(made.reshape(*made.shape[:2], -1), plan.color, _mean(part, plan.color))
    return _finished(made, plan, 0)


def _nearest(array: np.ndarray, plan: Plan, fill: float) -> np.ndarray:
    """A map of the picture as it was, whatever was halved, with the pixel that each centre of the result lies in."""
    if plan.degrees:
        whole = _cut(array, plan.halvings)
        how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(whole, plan.from_result(), plan.size[::-1], None, how, cv2.BORDER_CONSTANT, fill)
    part = array[plan.rows.part(plan.halvings), plan.columns.part(plan.halvings)]
    made = cv2.resize(part, (plan.columns.made, plan.rows.made), interpolation=cv2.INTER_NEAREST_EXACT)
    return _finished(made, plan, fill)


def _outside(plan: Plan, size: tuple[int, int]) -> np.ndarray | None:
    """(height, width) bool of the result: where there is no picture; None where there is picture everywhere."""
    height, width = plan.size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    x, y = plan.from_result() @ corners.T
    cut = [side >> plan.halvings << plan.halvings for side in size]
    if min(x.min(), y.min()) >= 1 and x.max() <= cut[1] - 1 and y.max() <= cut[0] - 1:
        return None
    inside: np.ndarray = _nearest(np.ones(size, np.uint8), plan, 0)
    return inside == 0


def _turned(image: np.ndarray, plan: Plan) -> np.ndarray:
    matrix = plan._replace(halvings=0).from_result()
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = image.shape[2] in (1, 3, 4)  # OpenCV rounds places to 1/32 of a pixel for two channels, and takes no five
    bands = [image] if whole else cv2.split(image)
    made = [cv2.warpAffine(band, matrix, plan.size[::-1], None, how, cv2.BORDER_REPLICATE) for band in bands]
    return made[0].reshape(*plan.size, -1) if whole else np.stack(made, axis=2)


def _cut(array: np.ndarray, halvings: int) -> np.ndarray:
    """Without the rows and columns at the end that fill no pixel of the halved picture."""
    height, width = (side >> halvings << halvings for side in array.shape[:2])
    return array[:height, :width]


def halved(image: np.ndarray, times: int) -> np.ndarray:
    """Means of squares of 2^times pixels."""
    if not times:
        return image
    image = _cut(image, times)
    size = (image.shape[1] >> times, image.shape[0] >> times)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)


def _finished(array: np.ndarray, plan: Plan, fill: float) -> np.ndarray:
    """Mirrored, and padded at the right and bottom to the planned size."""
    if plan.mirrored:
        array = cv2.flip(array, 1).reshape(array.shape)
    if array.shape[:2] == plan.size:
        return array
    whole = np.full((*plan.size, *array.shape[2:]), fill, array.dtype)
    whole[: array.shape[0], : array.shape[1]] = array
    return whole


def boxes_as_planned(boxes: Boxes, plan: Plan) -> Boxes:
    """Around the four moved corners of each, cut to the picture."""
    matrix = plan.to_result()
    corners = boxes.xyxy.astype(np.float64)[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    area = (boxes.area * abs(np.linalg.det(matrix[:, :2]))).astype(np.float32)
    size = plan.size if plan.degrees else (plan.rows.made, plan.columns.made)
    return cut_boxes(boxes._replace(area=area), np.hstack([moved.min(1), moved.max(1)]), size)


def _mean(image: np.ndarray, change: ColorChange) -> list[float]:
    """The mean of r, g and b; of all bands together where there are not three; anything where nothing asks for it."""
    if change.contrast == 1:
        return [0.0] * 3
    return list(cv2.mean(image)[:3]) if image.shape[2] == 3 else [float(image.mean())] * 3


def recolored(image: np.ndarray, change: ColorChange, mean: Sequence[float]) -> np.ndarray:
    """(H, W, C) uint8 with changed colours, to the nearest level; without three channels brightness and contrast only.

    Args:
        image: (H, W, C) uint8, which is left as it was.
        change: factors and turn of its colours.
        mean: r, g, b that contrast moves away from, 0..255.
    """
    if image.shape[2] != 3:
        change = change._replace(saturation=1.0, hue=0.0)
    if change == ColorChange():
        return image
    if image.shape[2] == 3:
        return cv2.transform(image, color_matrix(change, mean))
    levels = change.contrast * np.arange(256) + (1 - change.contrast) * mean[0]
    table = np.rint(np.clip(change.brightness * levels, 0, 255)).astype(np.uint8)
    return cv2.LUT(image, table).reshape(image.shape)

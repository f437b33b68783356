"""Smooth random deformations, as the 2015 U-Net was trained with."""

from __future__ import annotations

from random import Random
from typing import Annotated, Literal

import cv2
import numpy as np
from annotated_types import Interval

from toolkit.bounds import NonNegativeFloat, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.box_geometry import MIN_VISIBLE
from toolkit.errors import DataError, Problem
from toolkit.samples import IGNORE_INDEX, Boxes, Sample

_LARGEST = 32766
"""Pixels a side that OpenCV's remap can address."""


@TRANSFORMS.register("elastic")
class Elastic(Transform):
    """Moves every pixel by a smooth random displacement.

    Ronneberger, Fischer, Brox 2015, section 3.1: displacement vectors on a coarse 3x3 grid over the picture, each
    component drawn from a normal distribution of 10 pixels, bicubic interpolation between them. Pixel (x, y) of the
    result is read at (x, y) + displacement.

    Raises DataError for a picture of more than 32766 pixels a side.

    Args:
        sigma: deviation of a component, in pixels of the image as it arrives here.
        grid: vectors along each side, the outermost at the corners.
        p: probability that anything is done.
        interpolation: how the image is read between pixels; label, value and weight maps always take the nearest pixel.
        outside: what stands where a pixel is read beyond the picture. The image is mirrored there without repeating the
            edge, as the paper's tiles are; `mirror` does the same with the maps, `ignore` lets those pixels not count
            (label 255, weight 0, value NaN). A box becomes the smallest box around all that was inside it, mirrored
            parts included with `mirror`; objects of which less than a tenth remains are dropped.
    """

    random = True
    moves = True

    def __init__(
        self,
        sigma: NonNegativeFloat = 10.0,
        grid: Annotated[int, Interval(ge=2, le=32)] = 3,
        p: Probability = 1.0,
        interpolation: Literal["linear", "cubic"] = "linear",
        outside: Literal["mirror", "ignore"] = "mirror",
    ) -> None:
        self.sigma = sigma
        self.grid = grid
        self.p = p
        self.interpolation = cv2.INTER_LINEAR if interpolation == "linear" else cv2.INTER_CUBIC
        self.outside = outside

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        height, width = sample.image.shape[:2]
        if max(height, width) > _LARGEST:
            raise DataError(
                Problem(sample.name, f"is {height}x{width}; 'elastic' takes up to {_LARGEST} pixels a side")
            )
        generator = Random(seed)
        if generator.random() >= self.p:
            return sample
        x, y = self.source_positions((height, width), generator)
        beyond = np.zeros((height, width), bool)
        if self.outside == "ignore":
            beyond = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)

        def moved(array: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
            return cv2.remap(array, x, y, interpolation, borderMode=cv2.BORDER_REFLECT_101)

        def moved_map(array: np.ndarray | None, fill: float) -> np.ndarray | None:
            if array is None:
                return None
            result = moved(array)
            result[beyond] = fill
            return result

        boxes = sample.boxes
        return sample._replace(
            image=moved(sample.image, self.interpolation).reshape(sample.image.shape),
            label_map=moved_map(sample.label_map, IGNORE_INDEX),
            value_map=moved_map(sample.value_map, float("nan")),
            weight_map=moved_map(sample.weight_map, 0.0),
            boxes=None if boxes is None else _moved_boxes(boxes, _folded(x, width), _folded(y, height), beyond),
        )

    def source_positions(self, size: tuple[int, int], generator: Random) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel of the result is read: x and y, (H, W) float32."""
        vectors = np.array([generator.gauss(0.0, self.sigma) for _ in range(2 * self.grid**2)])
        vectors = vectors.reshape(2, self.grid, self.grid)
        rows, columns = bicubic_weights(size[0], self.grid), bicubic_weights(size[1], self.grid)
        x, y = (rows @ component @ columns.T for component in vectors)
        return (x + np.arange(size[1])).astype(np.float32), (y + np.arange(size[0])[:, None]).astype(np.float32)


def bicubic_weights(pixels: int, points: int) -> np.ndarray:
    """(pixels, points) float64: how much each of evenly spaced points says at each pixel; rows sum to 1.

    The first point stands at the first pixel, the last at the last. Cubic convolution with a = -1/2 (Keys, "Cubic
    Convolution Interpolation for Digital Image Processing", 1981), whose boundary condition adds a point at each end:
    c(-1) = 3 c(0) - 3 c(1) + c(2), or 2 c(0) - c(1) for two points. Parabolas are met exactly.

    >>> weights = bicubic_weights(pixels=5, points=3)
    >>> weights.sum(1).round(6).tolist(), weights[2].round(6).tolist()  # the middle pixel stands at the middle point
    ([1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0])
    """
    place = np.linspace(0, points - 1, pixels) if pixels > 1 else np.array([(points - 1) / 2])
    first = np.minimum(place.astype(int), points - 2)
    t = place - first
    taps = np.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    )
    padded = np.zeros((pixels, points + 2))
    for offset, weight in enumerate(taps):
        padded[np.arange(pixels), first + offset] = weight
    end = (3, -3, 1) if points > 2 else (2, -1)
    for step, factor in enumerate(end, 1):
        padded[:, step] += factor * padded[:, 0]
        padded[:, -1 - step] += factor * padded[:, -1]
    return padded[:, 1:-1]


def _folded(positions: np.ndarray, length: int) -> np.ndarray:
    """Positions beyond a line of pixels 0..length-1, mirrored back into it without repeating the edge."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.mod(positions, 2 * (length - 1))
    return np.minimum(folded, 2 * (length - 1) - folded)


def _moved_boxes(boxes: Boxes, x: np.ndarray, y: np.ndarray, beyond: np.ndarray) -> Boxes:
    """The box around all pixels whose source (x, y) lies in a box; `beyond` marks those without a source."""
    xyxy, share = np.zeros((boxes.count, 4), np.float32), np.zeros(boxes.count, np.float32)
    for number, (x1, y1, x2, y2) in enumerate(boxes.xyxy.tolist()):
        # Pixel i covers i..i+1, so its middle, where it is read, lies half a pixel on.
        inside = (x >= x1 - 0.5) & (x < x2 - 0.5) & (y >= y1 - 0.5) & (y < y2 - 0.5) & ~beyond
        columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
        if len(rows):
            xyxy[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            share[number] = inside.sum() / max((x2 - x1) * (y2 - y1), 1e-9)
    return boxes._replace(xyxy=xyxy, area=boxes.area * share).take(share >= MIN_VISIBLE)

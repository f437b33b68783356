"""The weight map of the 2015 U-Net: background between cells that nearly touch counts most."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import cv2
import numpy as np

from toolkit.bounds import NonNegativeFloat, PositiveFloat
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.samples import IGNORE_INDEX, Sample

_NEGLIGIBLE = 1e-8
"""A share of w0 that float32 does not show beside a weight."""


@TRANSFORMS.register("unet_weight_map")
class UNetWeightMap(Transform):
    """Fills in w(x) = w_c(x) + w0 * exp(-(d1 + d2)^2 / (2 sigma^2)), the weight of each pixel in the loss.

    Ronneberger, Fischer, Brox 2015, section 3, equation 2, with its w0 = 10 and sigma = 5 pixels. d1 and d2 are the
    Euclidean distances from the middle of a pixel to that of the nearest pixel of the nearest and of the second
    nearest cell. The second term is for the background, whose narrow borders between cells the net shall learn; pixels
    inside a cell get w_c alone, and so does a picture with fewer than two cells. Ignored pixels are neither
    background nor cell; they get 0.

    A cell is a connected component of one class. The paper draws a border of background between cells that touch,
    before anything else; label maps have to come with it. Where the transform stands in the list decides at what size
    distances are measured: after a resize or a warp, in what the net sees. A weight map the sample had is replaced.

    Raises DataError for a sample without a label map, ConfigError when `class_weights` has too few numbers.

    Args:
        w0: weight that is added between two cells that touch nearly; 0 adds nothing.
        sigma: pixels of distance over which the added weight falls.
        cells: classes whose components are cells; None: all but class 0, the background.
        class_weights: w_c, one number a class; `inverse_frequency` takes from each label map the weights that give its
            classes equal sums and an average of 1; None is 1 everywhere. The paper computes w_c from the whole training
            set: give numbers for that.
        connectivity: whether pixels of a cell touch at sides (4) or also at corners (8). With 4 a border one pixel wide
            that runs diagonally still separates.
    """

    geometric = False
    """Whether sizes or boxes change: such transforms are what a check of sizes goes through."""

    def __init__(
        self,
        w0: NonNegativeFloat = 10.0,
        sigma: PositiveFloat = 5.0,
        cells: list[int] | None = None,
        class_weights: list[float] | Literal["inverse_frequency"] | None = None,
        connectivity: Literal[4, 8] = 4,
    ) -> None:
        if cells is not None and not cells:
            raise ConfigError(Problem("cells", "names no class", "leave it out to take all but class 0"))
        if isinstance(class_weights, list) and min(class_weights, default=-1.0) < 0:
            raise ConfigError(Problem("class_weights", f"must be numbers from 0 up, one a class, got {class_weights}"))
        self.w0 = w0
        self.sigma = sigma
        self.cells = cells
        self.class_weights = class_weights
        self.connectivity = connectivity

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        labels = sample.label_map
        if labels is None:
            raise DataError(Problem(sample.name, "has no label map, which 'unet_weight_map' needs"))
        weights = balance(labels, self.class_weights)
        present = [label for label in np.unique(labels).tolist() if label != IGNORE_INDEX]
        cells = [label for label in present if (label != 0 if self.cells is None else label in self.cells)]
        background = np.isin(labels, [label for label in present if label not in cells])
        masks = separate_cells(labels, cells, self.connectivity)
        if len(masks) > 1 and self.w0 > 0:
            # Farther from the second nearest cell than this, nothing is added that float32 can hold.
            reach = math.ceil(self.sigma * math.sqrt(2 * math.log(1 / _NEGLIGIBLE)))
            nearest, second = two_distances(labels.shape, masks, reach)
            near = background & np.isfinite(second)
            total = nearest[near] + second[near]
            weights[near] += self.w0 * np.exp(-np.square(total) / (2 * self.sigma**2))
        return sample._replace(weight_map=weights)


def balance(labels: np.ndarray, class_weights: list[float] | Literal["inverse_frequency"] | None) -> np.ndarray:
    """w_c of an (H, W) uint8 label map: (H, W) float32, 0 where labels are ignored; see `UNetWeightMap`.

    >>> balance(np.array([[0, 0, 0, 1, 255]], np.uint8), "inverse_frequency").round(3)
    array([[0.667, 0.667, 0.667, 2.   , 0.   ]], dtype=float32)
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORE_INDEX]
    table = np.zeros(256, np.float32)
    if class_weights is None:
        table[:IGNORE_INDEX] = 1
    elif isinstance(class_weights, list):
        if counts[len(class_weights) :].any():
            highest = int(np.flatnonzero(counts)[-1])
            message = f"has {len(class_weights)} numbers, but the label map holds class {highest}"
            raise ConfigError(Problem("class_weights", message, "give one number a class, class 0 first"))
        table[: len(class_weights)] = class_weights
    else:
        present = np.flatnonzero(counts)
        table[present] = counts.sum() / (max(1, len(present)) * counts[present])
    return table[labels]


class Cell(NamedTuple):
    """One cell.

    Args:
        rows: rows of its bounding box in the picture.
        columns: columns of its bounding box in the picture.
        mask: uint8 in that box, 1 inside the cell.
    """

    rows: slice
    columns: slice
    mask: np.ndarray


def separate_cells(labels: np.ndarray, classes: list[int], connectivity: int) -> list[Cell]:
    """The connected components of each class, each in its own bounding box.

    Args:
        labels: (H, W) uint8 label map.
        classes: labels whose connected components are cells.
        connectivity: 4 or 8 neighbours by which pixels belong together.

    >>> labels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    >>> len(separate_cells(labels, [1], connectivity=4)), len(separate_cells(labels, [1], connectivity=8))
    (3, 1)
    """
    cells = []
    for label in classes:
        mask = (labels == label).astype(np.uint8)
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
        for number in range(1, count):
            left, top, width, height = boxes[number, :4].tolist()
            rows, columns = slice(top, top + height), slice(left, left + width)
            cells.append(Cell(rows, columns, (numbers[rows, columns] == number).astype(np.uint8)))
    return cells


def two_distances(size: tuple[int, ...], cells: list[Cell], reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and to the second nearest cell, (H, W) float32 each, 0 inside a cell.

    Exact where the distance is at most `reach` pixels; farther off it may be infinite. Each cell is looked at in a
    window around it, so that many cells cost no more than the pixels near them.

    Args:
        size: (height, width) of the picture in pixels.
        cells: the cells, each with its bounding box.
        reach: pixels up to which distances are exact.

    >>> cells = separate_cells(np.array([[1, 0, 0, 0, 1]], np.uint8), [1], connectivity=4)
    >>> [distance.tolist() for distance in two_distances((1, 5), cells, reach=5)]
    [[[0.0, 1.0, 2.0, 1.0, 0.0]], [[4.0, 3.0, 2.0, 3.0, 4.0]]]
    """
    nearest = np.full(size, np.inf, np.float32)
    second = nearest.copy()
    for rows, columns, mask in cells:
        top, left = max(0, rows.start - reach), max(0, columns.start - reach)
        bottom, right = min(size[0], rows.stop + reach), min(size[1], columns.stop + reach)
        outside = cv2.copyMakeBorder(
            1 - mask, rows.start - top, bottom - rows.stop, columns.start - left, right - columns.stop,
            cv2.BORDER_CONSTANT, value=1,
        )  # fmt: skip
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        window = (slice(top, bottom), slice(left, right))
        np.minimum(second[window], np.maximum(nearest[window], distance), out=second[window])
        np.minimum(nearest[window], distance, out=nearest[window])
    return nearest, second

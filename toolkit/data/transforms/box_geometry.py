"""Boxes of a sample through a change of its picture: scaled, moved, mirrored, cut off at the edges."""

from __future__ import annotations

from typing import Literal

import numpy as np

from toolkit.samples import Boxes

MIN_VISIBLE = 0.1
"""A box of which a smaller share than this lies inside the picture after a crop is dropped: what is left of the object
says too little. albumentations' own examples use 0.1."""

_MIN_SIDE = 1.0
"""Pixels; a thinner box is a sliver of rounding."""


def moved_boxes(boxes: Boxes, scale_y: float, scale_x: float, up: float, left: float, size: tuple[int, int]) -> Boxes:
    """Boxes after scaling the picture and then cutting a window of `size` (height, width) whose corner is (up, left).

    Clipped to the window; dropped where less than `MIN_VISIBLE` remains. `area` shrinks with the box.

    Args:
        boxes: boxes in pixels of the picture as it was.
        scale_y: factor of the picture's height.
        scale_x: factor of the picture's width.
        up: rows cut off above the window, after scaling.
        left: columns cut off left of the window, after scaling.
        size: (height, width) of the window in pixels.

    >>> boxes = Boxes.of([[10, 10, 20, 20], [0, 0, 4, 4]], [0, 1])
    >>> moved = moved_boxes(boxes, scale_y=2, scale_x=2, up=20, left=30, size=(40, 40))  # the second is cut away
    >>> moved.xyxy.tolist(), moved.area.tolist()
    ([[0.0, 0.0, 10.0, 20.0]], [200.0])
    """
    factors = np.array([scale_x, scale_y, scale_x, scale_y], np.float64)
    xyxy = boxes.xyxy * factors - np.array([left, up, left, up])
    return cut_boxes(boxes._replace(area=boxes.area * np.float32(scale_x * scale_y)), xyxy, size)


def mirrored_boxes(boxes: Boxes, length: int, axis: Literal["x", "y"] = "x") -> Boxes:
    """Boxes of the picture seen in a mirror.

    Args:
        boxes: those of the picture before, of any number.
        length: the picture's pixels along the axis, its width or height.
        axis: "x" changes left and right, "y" top and bottom.

    >>> mirrored_boxes(Boxes.of([[1, 0, 4, 8]], [0]), length=10).xyxy.tolist()
    [[6.0, 0.0, 9.0, 8.0]]
    """
    first, xyxy = "xy".index(axis), boxes.xyxy.copy()
    xyxy[:, first], xyxy[:, first + 2] = length - boxes.xyxy[:, first + 2], length - boxes.xyxy[:, first]
    return boxes._replace(xyxy=xyxy)


def cut_boxes(boxes: Boxes, xyxy: np.ndarray, size: tuple[int, int]) -> Boxes:
    """`boxes` with new corners `xyxy`, clipped to a picture of `size` (height, width); see `moved_boxes`.

    Args:
        boxes: boxes whose flags, labels and areas are kept.
        xyxy: (N, 4) new corners in pixels, possibly outside.
        size: (height, width) of the picture in pixels.

    >>> boxes = Boxes.of([[0, 0, 10, 10], [0, 0, 10, 10]], [0, 1])
    >>> cut_boxes(boxes, np.array([[5.0, 0, 15, 10], [9.5, 0, 19.5, 10]]), (10, 10)).xyxy.tolist()
    [[5.0, 0.0, 10.0, 10.0]]
    """
    height, width = size
    clipped = np.clip(xyxy, 0, np.array([width, height, width, height]))
    before = _areas(xyxy)
    visible = _areas(clipped) / np.maximum(before, 1e-9)
    sides = clipped[:, 2:] - clipped[:, :2]
    keep = (visible >= MIN_VISIBLE) & (sides >= _MIN_SIDE).all(1)
    return boxes._replace(xyxy=clipped.astype(np.float32), area=(boxes.area * visible).astype(np.float32)).take(keep)


def _areas(xyxy: np.ndarray) -> np.ndarray:
    return np.maximum(xyxy[:, 2] - xyxy[:, 0], 0) * np.maximum(xyxy[:, 3] - xyxy[:, 1], 0)

"""What `warp` will do to a picture, known from its size and the seed alone: which part, where it lands, which colours.

Coordinates are continuous: pixel j covers j to j + 1, so scaling needs no correction by half a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_HALVINGS = 3
"""JPEG decoders give a half, a quarter and an eighth of the size (libjpeg's scale_num/scale_denom, 8x8 blocks)."""

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, as everywhere in the package."""


class Span(NamedTuple):
    """One axis of a picture: `length` pixels from `start` become the first `made` of the result.

    Args:
        start: first pixel of the part, of the picture after it was halved.
        length: pixels of the part, of the picture after it was halved.
        made: pixels that they become; the rest of the result, at its end, is no picture.
    """

    start: int
    length: int
    made: int

    def part(self, halvings: int = 0) -> slice:
        """The part, of a picture that is still to be halved so often."""
        return slice(self.start << halvings, self.start + self.length << halvings)

    def moved(self, size: int, place: float) -> Span:
        """As long a part of the axis of `size` pixels, from 0 (the first) to 1 (the last, exclusive)."""
        return self._replace(start=int(place * (size - self.length + 1)))


class ColorChange(NamedTuple):
    """What happens to the colours of one picture; see `color_matrix`.

    Args:
        brightness: factor of all values, 1 for none.
        contrast: factor of the distance from the picture's mean gray value.
        saturation: factor of the distance from each pixel's gray value.
        hue: turns of the circle of colours, 0 for none.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0


class Plan(NamedTuple):
    """Everything that was drawn for one picture.

    Args:
        halvings: times that the picture is halved first, 0 to 3, never so often that it would be enlarged again. Rows
            and columns at its end that fill no pixel then are cut off.
        rows: the part from top to bottom.
        columns: the part from left to right, of the picture as it stands (it is mirrored afterwards).
        mirrored: whether left and right change places.
        degrees: turn of the result about its middle, counted against the clock.
        size: (height, width) of the result in pixels.
        color: what happens to the colours.
    """

    halvings: int
    rows: Span
    columns: Span
    mirrored: bool
    degrees: float
    size: tuple[int, int]
    color: ColorChange

    def to_result(self) -> np.ndarray:
        """(2, 3) float64: x, y of the picture as it was to x, y of the result, both continuous."""
        step = 2.0**-self.halvings
        (top, height, made_rows), (left, width, made_columns) = self.rows, self.columns
        down, across = made_rows / height, made_columns / width
        matrix = np.array([[across * step, 0, -left * across], [0, down * step, -top * down]])
        if self.mirrored:
            matrix[0] *= -1
            matrix[0, 2] += made_columns
        if not self.degrees:
            return matrix
        angle = math.radians(self.degrees)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        middle = np.array([made_columns / 2, made_rows / 2])
        matrix[:, 2] -= middle
        matrix = turn @ matrix
        matrix[:, 2] += middle
        return matrix

    def from_result(self) -> np.ndarray:
        """(2, 3) float64 for OpenCV: centres of pixels of the result to places among centres of pixels of the picture."""
        forward = self.to_result()
        back = np.linalg.inv(forward[:, :2])
        half = np.full(2, 0.5)
        return np.column_stack([back, back @ (half - forward[:, 2]) - half])


def span(size: int, factor: float, wanted: int, place: float) -> Span:
    """The part of an axis of `size` pixels that, scaled by about `factor`, fills `wanted`; the whole axis where it is less.

    Args:
        size: pixels of the axis, at least 1.
        factor: scale, above 0; the part has a whole number of pixels, so that the true scale is near to it.
        wanted: pixels of the result along this axis.
        place: where the part lies, evenly from 0 (first) to 1 (last, exclusive).

    >>> span(100, 2.0, 50, 0.5), span(100, 0.25, 50, 0.5)
    (Span(start=38, length=25, made=50), Span(start=0, length=100, made=25))
    """
    if size * factor < wanted:
        return Span(0, size, min(wanted, max(1, round(size * factor))))
    length = min(size, max(1, round(wanted / factor)))
    return Span(0, length, wanted).moved(size, place)


def halvings_for(factor: float) -> int:
    """Times that a picture can be halved before it is scaled by `factor` in all, without being enlarged again.

    >>> halvings_for(0.6), halvings_for(0.5), halvings_for(0.2), halvings_for(0.01)
    (0, 1, 2, 3)
    """
    return max(0, min(MAX_HALVINGS, math.floor(-math.log2(factor) + 1e-9)))


def color_matrix(change: ColorChange, mean: Sequence[float]) -> np.ndarray:
    """(3, 4) float64: r, g, b, 1 of 0..255 to the changed r, g, b, not yet cut to 0..255.

    Brightness multiplies; contrast moves away from the mean gray value of the picture, saturation from each pixel's gray
    value (both as torchvision's ColorJitter); hue turns the colours about the gray axis, keeping their luma (YIQ, as
    feColorMatrix's hueRotate in W3C's Filter Effects, section 9.6). As nothing is cut in between, their order makes no
    difference. mean: r, g, b of the picture, 0..255.

    >>> color_matrix(ColorChange(brightness=2.0), (100, 100, 100))[0].tolist()
    [2.0, 0.0, 0.0, 0.0]
    """
    gray = np.tile(LUMA, (3, 1))
    matrix = gray + change.saturation * (np.eye(3) - gray)
    if change.hue:
        matrix = _hue_turn(change.hue) @ matrix
    offset = change.brightness * (1 - change.contrast) * float(LUMA @ np.asarray(mean[:3], np.float64))
    return np.column_stack([change.brightness * change.contrast * matrix, np.full(3, offset)])


_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
"""RGB to YIQ (NTSC 1953, FCC 47 CFR 73.682); its first row is the luma of BT.601."""

_FROM_YIQ: np.ndarray = np.linalg.inv(_YIQ)


def _hue_turn(turns: float) -> np.ndarray:
    angle = 2 * math.pi * turns
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return _FROM_YIQ @ turn @ _YIQ

"""Synthetic scenes with exact annotation: textured things that lie on a textured ground and on one another.

Made to be learnt by shape: colours and patterns of ground and things come from one distribution, so a model that looks
at single pixels cannot win; rods and rings are thin; things hide parts of others; light, blur and noise vary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from toolkit.data.shapes.surfaces import clouds, random_color, relief, surface

SHAPES = ("circle", "square", "triangle", "ring", "rod", "star")

_FINE = 3
"""Scenes are drawn this many times finer and averaged; odd, so that a pixel's centre is a drawn pixel."""
_MIN_PIXELS = 14
_MIN_CONTRAST = 0.22


class Thing(NamedTuple):
    """label: place in `SHAPES`. visible: (H, W) bool, the pixels that no other thing hides."""

    label: int
    visible: np.ndarray


class Scene(NamedTuple):
    """A synthetic picture and what is in it.

    Args:
        image: (H, W, 3) uint8 RGB picture.
        label_map: (H, W) uint8, 0 is ground, 1 + label a thing.
        things: the things of the scene, from the back to the front.
    """

    image: np.ndarray
    label_map: np.ndarray
    things: tuple[Thing, ...]


def make_scene(
    size: tuple[int, int], seed: int, texture: float = 1.0, visible: float = 0.4, things: tuple[int, int] = (4, 8)
) -> Scene:
    """The scene of a seed, size (height, width) pixels.

    Args:
        size: (height, width) of the picture in pixels.
        seed: seed of everything drawn in it.
        texture: how strongly patterns stand out, 0 (plain colours, easier) to 1.
        visible: least share, 0 to 1, of what is in sight of a thing that one more leaves of it.
        things: how many are drawn at least and at most; one that finds no room is left out.
    """
    rng = np.random.default_rng(seed)
    fine = (size[0] * _FINE, size[1] * _FINE)
    angle = rng.uniform(0, 2 * np.pi)
    light = (math.cos(angle), math.sin(angle))
    ground = random_color(rng)
    canvas = surface(rng, size, 1, ground, texture) * (0.8 + 0.35 * clouds(rng, size, min(size) * 0.9, 2))[:, :, None]
    owner = np.zeros(fine, np.uint8)
    labels: list[int] = []
    for _ in range(int(rng.integers(things[0], things[1] + 1))):
        label = int(rng.integers(len(SHAPES)))
        mask = _place(rng, label, owner, labels, visible)
        if mask is not None:
            labels.append(label)
            _paint(rng, canvas, mask, ground, light, texture)
            owner[mask > 0] = len(labels)
    return Scene(_photograph(rng, canvas, light), *_annotate(owner, labels))


def _place(
    rng: np.random.Generator, label: int, owner: np.ndarray, labels: list[int], visible: float
) -> np.ndarray | None:
    """A mask for a new thing that leaves enough of every other visible; None when ten tries find none.

    Args:
        rng: source of every random choice.
        label: place in `SHAPES`.
        owner: (H, W) uint8 fine, 0 is ground, 1 + i the thing of `labels[i]`.
        labels: of the things that lie there.
        visible: least share of what is in sight of each that it has to leave.
    """
    side = min(owner.shape)
    wholes = np.bincount(owner.ravel(), minlength=len(labels) + 1)[1:]
    needed = np.maximum(visible * wholes, _MIN_PIXELS * _FINE**2)
    for _ in range(10):
        center = rng.uniform(0.08, 0.92, 2) * np.array(owner.shape[::-1])
        mask = np.zeros(owner.shape, np.uint8)
        _DRAW[label](rng, mask, center, float(rng.uniform(0.1, 0.27)) * side)
        covered = owner[mask > 0]
        taken = np.bincount(covered, minlength=len(labels) + 1)[1:]
        if len(covered) >= _MIN_PIXELS * _FINE**2 and (wholes - taken >= needed).all():
            return mask
    return None


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    ground: np.ndarray,
    light: tuple[float, float],
    texture: float,
) -> None:
    """Paints a thing and the shadow it throws, in the window around it.

    The mask is fine, the canvas is not: the thing is drawn fine and averaged, its edge by how much of a pixel it covers.
    """
    window, inside = _windows(mask)
    area, part = canvas[window], mask[inside]
    coverage = _averaged(part.astype(np.float32))
    drop = rng.uniform(1.0, 3.0)
    shift = np.array([[1, 0, -light[0] * drop], [0, 1, -light[1] * drop]])
    shadow = cv2.warpAffine(coverage, shift, coverage.shape[::-1])
    area *= 1 - 0.5 * cv2.GaussianBlur(shadow, (0, 0), 1.1)[:, :, None]
    color = random_color(rng)
    while np.abs(color - ground).max() < _MIN_CONTRAST:
        color = random_color(rng)
    body = surface(rng, part.shape, _FINE, color, texture) * relief(part, light, rng.uniform(2, 5) * _FINE)[:, :, None]
    body = _averaged(body * part[:, :, None])
    area *= 1 - coverage[:, :, None]
    area += body


def _windows(mask: np.ndarray) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The rectangle around a fine mask, with room for a shadow: in pixels of the picture, and in fine ones."""
    x, y, width, height = cv2.boundingRect(mask)
    margin = 7
    top, left = max(0, y // _FINE - margin), max(0, x // _FINE - margin)
    bottom = min(mask.shape[0] // _FINE, (y + height) // _FINE + margin)
    right = min(mask.shape[1] // _FINE, (x + width) // _FINE + margin)
    fine = (slice(top * _FINE, bottom * _FINE), slice(left * _FINE, right * _FINE))
    return (slice(top, bottom), slice(left, right)), fine


def _averaged(fine: np.ndarray) -> np.ndarray:
    size = (fine.shape[1] // _FINE, fine.shape[0] // _FINE)
    return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)


def _photograph(rng: np.random.Generator, canvas: np.ndarray, light: tuple[float, float]) -> np.ndarray:
    """Light that falls off across the picture, blur and sensor noise."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in canvas.shape[:2]), indexing="ij")
    image = canvas * (1 + rng.uniform(0, 0.25) * (x * light[0] + y * light[1]))[:, :, None]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    image = image * rng.uniform(0.85, 1.15) + rng.uniform(0.004, 0.03) * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)


def _annotate(owner: np.ndarray, labels: list[int]) -> tuple[np.ndarray, tuple[Thing, ...]]:
    """What stands at the centre of each pixel."""
    centers = owner[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE]
    things = tuple(Thing(label, centers == place) for place, label in enumerate(labels, 1))
    label_map = np.array([0, *(1 + label for label in labels)], np.uint8)[centers]
    return label_map, tuple(thing for thing in things if thing.visible.any())


def _polygon(mask: np.ndarray, points: np.ndarray) -> None:
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)


def _turn(points: np.ndarray, angle: float, center: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]]) + center


def _circle(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    axes = (round(radius), round(radius * rng.uniform(0.85, 1)))
    cv2.ellipse(mask, tuple(int(c) for c in center), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)


def _square(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    half = 0.85 * radius
    other = half * rng.uniform(0.8, 1)
    corners = np.array([[-half, -other], [half, -other], [half, other], [-half, other]])
    _polygon(mask, _turn(corners, rng.uniform(0, np.pi), center))


def _triangle(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    angles = rng.uniform(0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3 + rng.uniform(-0.3, 0.3, 3)
    _polygon(mask, center + 1.15 * radius * np.stack([np.cos(angles), np.sin(angles)], 1))


def _ring(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    middle, turn, width = tuple(int(c) for c in center), float(rng.uniform(0, 180)), radius * rng.uniform(0.18, 0.38)
    flat = rng.uniform(0.8, 1)
    cv2.ellipse(mask, middle, (round(radius), round(radius * flat)), turn, 0, 360, 1, -1)
    cv2.ellipse(mask, middle, (round(radius - width), round(radius * flat - width)), turn, 0, 360, 0, -1)


def _rod(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    reach = radius * rng.uniform(1.2, 2.2) * np.array([1.0, 0.0])
    ends = np.round(_turn(np.stack([-reach, reach]), rng.uniform(0, np.pi), center)).astype(int)
    width = max(2 * _FINE, round(radius * rng.uniform(0.1, 0.24)))
    cv2.line(mask, tuple(ends[0].tolist()), tuple(ends[1].tolist()), 1, width)


def _star(rng: np.random.Generator, mask: np.ndarray, center: np.ndarray, radius: float) -> None:
    angles = rng.uniform(0, 2 * np.pi) + np.arange(10) * np.pi / 5
    reach = 1.2 * radius * np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
    _polygon(mask, center + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1))


_DRAW: tuple[Callable[[np.random.Generator, np.ndarray, np.ndarray, float], None], ...] = (
    _circle, _square, _triangle, _ring, _rod, _star,
)  # fmt: skip

"""Surfaces for synthetic scenes: patterns, colours and light. Everything is drawn from a numpy generator."""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np

_PATTERNS = ("plain", "clouds", "stripes", "checker", "dots", "grain", "gradient")


def surface(
    rng: np.random.Generator, size: tuple[int, int], scale: float, color: np.ndarray, texture: float = 1.0
) -> np.ndarray:
    """A textured area, (height, width, 3) float32 in 0..1, around one colour.

    Args:
        rng: source of every random choice.
        size: (height, width) of the area in pixels.
        scale: pixels that correspond to one pixel of the finished picture, so that patterns look alike at any
            resolution.
        color: (r, g, b) in 0..1, around which colours lie.
        texture: how strongly patterns stand out, 0 (plain colours) to 1.
    """
    kind = _PATTERNS[rng.integers(len(_PATTERNS))]
    weight = _pattern(kind, rng, size, scale)[:, :, None]
    other = np.clip(_neighbour(rng, color), 0, 1)
    grain = clouds(rng, size, 3 * scale, octaves=2)[:, :, None]
    pattern = (other - color) * weight + 0.10 * grain - 0.05
    return np.clip(color + texture * pattern, 0, 1, dtype=np.float32)


def random_color(rng: np.random.Generator) -> np.ndarray:
    """An (r, g, b) in 0..1; hue, saturation and brightness are drawn evenly, so that colour tells no class.

    >>> bool(((random_color(np.random.default_rng(0)) >= 0) & (random_color(np.random.default_rng(0)) <= 1)).all())
    True
    """
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.15, 0.85), rng.uniform(0.3, 0.95)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def clouds(rng: np.random.Generator, size: tuple[int, int], wavelength: float, octaves: int = 4) -> np.ndarray:
    """Value noise, (height, width) float32 in 0..1: random grids, each half as coarse and half as strong.

    Args:
        rng: source of every random choice.
        size: (height, width) of the result in pixels.
        wavelength: pixels from one bump of the coarsest grid to the next.
        octaves: number of grids that are added, each half as coarse and half as strong.

    >>> noise = clouds(np.random.default_rng(0), (8, 8), wavelength=4)
    >>> noise.shape, float(noise.min()), float(noise.max())
    ((8, 8), 0.0, 1.0)
    """
    total = np.zeros(size, np.float32)
    strength = 1.0
    for _ in range(octaves):
        cells = (max(2, round(size[0] / wavelength) + 1), max(2, round(size[1] / wavelength) + 1))
        grid = rng.random(cells, np.float32)
        total += strength * cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        strength /= 2
        wavelength = max(1.0, wavelength / 2)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def relief(mask: np.ndarray, light: tuple[float, float], height: float) -> np.ndarray:
    """Brightness of a bevelled thing, (height, width) float32 around 1: light falls on its rim from one side.

    Args:
        mask: (height, width) uint8 0 or 1.
        light: (dx, dy) of length 1 towards the light.
        height: pixels the rim is wide.
    """
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    dome = np.sqrt(np.clip(depth / height, 0, 1))
    dome = cv2.GaussianBlur(dome, (0, 0), max(0.6, height / 4))
    slope_x = cv2.Sobel(dome, cv2.CV_32F, 1, 0, ksize=3)
    slope_y = cv2.Sobel(dome, cv2.CV_32F, 0, 1, ksize=3)
    shade = -(slope_x * light[0] + slope_y * light[1]) * height / 4
    return 1 + 0.55 * np.clip(shade, -1, 1)


def _neighbour(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """A colour that goes with another: lighter or darker, a little turned in hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(float(c) for c in color))
    hue = (hue + rng.uniform(-0.08, 0.08)) % 1
    step = rng.uniform(0.18, 0.38) * (-1 if value > 0.6 else 1)
    saturation = float(np.clip(saturation + rng.uniform(-0.25, 0.25), 0.05, 0.95))
    return np.array(colorsys.hsv_to_rgb(hue, saturation, float(np.clip(value + step, 0.1, 1))), np.float32)


def _pattern(kind: str, rng: np.random.Generator, size: tuple[int, int], scale: float) -> np.ndarray:
    """How much of the second colour stands where, (height, width) float32 in 0..1."""
    if kind == "plain":
        return np.zeros(size, np.float32)
    if kind == "clouds":
        return clouds(rng, size, rng.uniform(14, 40) * scale)
    if kind == "grain":
        return clouds(rng, size, rng.uniform(3, 7) * scale, octaves=2)
    along, across = _turned_grid(rng, size)
    if kind == "gradient":
        span = max(size)
        return np.clip(along / span + 0.5, 0, 1).astype(np.float32)
    period = rng.uniform(5, 13) * scale
    if kind == "stripes":
        return _soft_step(np.sin(along * 2 * np.pi / period) + rng.uniform(-0.5, 0.5))
    if kind == "checker":
        return _soft_step(np.sin(along * np.pi / period) * np.sin(across * np.pi / period) * 2)
    return _soft_step(np.sin(along * 2 * np.pi / period) * np.sin(across * 2 * np.pi / period) * 2 - 0.7)


def _turned_grid(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a random direction, measured from the middle."""
    angle = rng.uniform(0, np.pi)
    cosine, sine = math.cos(angle), math.sin(angle)
    y = np.arange(size[0], dtype=np.float32)[:, None] - size[0] / 2
    x = np.arange(size[1], dtype=np.float32)[None] - size[1] / 2
    return x * cosine + y * sine, y * cosine - x * sine


def _soft_step(wave: np.ndarray) -> np.ndarray:
    return np.clip(wave * 2.5 + 0.5, 0, 1).astype(np.float32)

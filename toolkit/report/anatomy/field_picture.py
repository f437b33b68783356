"""The effective receptive field as a picture: heat over an image, with the theoretical square around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from toolkit.analysis.effective_field import EffectiveField
from toolkit.drawing import LegendEntry, as_rgb, legend, title
from toolkit.errors import Problem, UserError
from toolkit.files import replacing

THEORY_COLOR = (120, 220, 255)
MASS_COLOR = (255, 255, 255)
_CARD = 96
"""Gray of the card when there is no image."""
_SMALLEST, _LARGEST = 360, 760
"""Pixels of a picture's longer side: small maps are enlarged by a whole factor, large ones are shrunk."""
_STRONGEST = 0.92
_ROOM = 0.6
"""At most so much of the image's longer side is shown beyond each of its edges, where the square reaches there."""
_OUTSIDE = (30, 30, 34)
_MARGIN = 12
"""Pixels between panels."""


class Theory(NamedTuple):
    """The theoretical field of the measured cell: image pixels, not clipped to the image.

    Args:
        top: the first row that it holds.
        left: the first column that it holds.
        bottom: the row behind its last one.
        right: the column behind its last one.
    """

    top: float
    left: float
    bottom: float
    right: float


def field_picture(field: EffectiveField, theory: Theory | None = None, image: np.ndarray | None = None) -> np.ndarray:
    """The field of one output, the theoretical square, and the square that holds 95 % of the mass: (h, w, 3) uint8.

    The heat's opacity is the square root of the gradient, so that the faint part can be seen.

    Args:
        field: what was measured of one output.
        theory: the theoretical square, or None where nobody knows it.
        image: (H, W, C) uint8, stretched to the field's size, or None for a gray card.
    """
    height, width = field.size
    pads = _pads(field.size, theory)
    scale = _scale(max(height + pads[0] + pads[2], width + pads[1] + pads[3]))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    drawn = _heated(field.gradient, image, size, cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA)
    top, left, bottom, right = (round(pad * scale) for pad in pads)
    drawn = cv2.copyMakeBorder(drawn, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_OUTSIDE)
    if theory is not None:
        _rectangle(drawn, theory, scale, (top, left), THEORY_COLOR, dashed=False)
    _rectangle(drawn, mass_square(field), scale, (top, left), MASS_COLOR, dashed=True)
    return drawn


def _heated(gradient: np.ndarray, image: np.ndarray | None, size: tuple[int, int], how: int) -> np.ndarray:
    """The image, or a gray card, at (width, height), with the gradient's heat over it."""
    card = np.full((*gradient.shape, 3), _CARD, np.uint8) if image is None else as_rgb(image)
    base = cv2.resize(card, size, interpolation=cv2.INTER_AREA).astype(np.float32) * 0.8
    strength = np.sqrt(np.clip(cv2.resize(gradient, size, interpolation=how), 0, 1))
    heat = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = (_STRONGEST * strength)[:, :, None]
    return np.rint(base * (1 - opacity) + heat * opacity).astype(np.uint8)


def _pads(size: tuple[int, int], theory: Theory | None) -> tuple[float, float, float, float]:
    """Pixels (top, left, bottom, right) by which the square reaches beyond the picture, as far as they are shown."""
    if theory is None:
        return 0.0, 0.0, 0.0, 0.0
    height, width = size
    beyond = (-theory.top, -theory.left, theory.bottom - height, theory.right - width)
    room = _ROOM * max(height, width)
    top, left, bottom, right = (min(pixels + 2, room) if pixels > 0 else 0.0 for pixels in beyond)
    return top, left, bottom, right


def mass_square(field: EffectiveField, share: float = 0.95) -> Theory:
    """The square around the centre of mass that holds a share of it."""
    y, x = field.center
    half = field.side(share) / 2
    return Theory(y + 0.5 - half, x + 0.5 - half, y + 0.5 + half, x + 0.5 + half)


def write_field_sheet(
    fields: Sequence[EffectiveField], theories: Sequence[Theory | None], path: str | Path, image: np.ndarray | None
) -> Path:
    """Writes one PNG (or JPEG, by the name) with a panel an output, by rename. Raises UserError when it cannot.

    Args:
        fields: the measured fields, a panel each.
        theories: where the theoretical field of each lies, None where unknown.
        path: file of the picture; its folder is made.
        image: (H, W, C) uint8 picture below the heat, or None for a gray card.
    """
    path = Path(path)
    refuse_kind(path)
    panels = [_panel(field, theory, image) for field, theory in zip(fields, theories, strict=True)]
    sheet = _beside(panels)
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    with replacing(path, durable=False) as temporary:
        Image.fromarray(sheet).save(temporary, format=kind)
    return path


def refuse_kind(path: str | Path) -> None:
    """Raises UserError for a file that by its name is no PNG or JPEG."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(Problem(path, "the picture is a PNG or a JPEG", f"try {Path(path).with_suffix('.png')}"))


def caption(field: EffectiveField, theory: Theory | None) -> str:
    """What the picture shows, in numbers."""
    words = f"95 % of the mass in {field.side():.0f} px"
    return words if theory is None else f"{words} of {theory.bottom - theory.top:.0f} px in theory"


def _panel(field: EffectiveField, theory: Theory | None, image: np.ndarray | None) -> np.ndarray:
    drawn = field_picture(field, theory, image)
    width = drawn.shape[1]
    entries = [LegendEntry(MASS_COLOR, caption(field, theory))]
    if theory is not None:
        beyond = _beyond(theory, field.size)
        entries.append(LegendEntry(THEORY_COLOR, "theoretical field" + (" (beyond the image)" if beyond else "")))
    return np.concatenate([title(field.name, width), drawn, legend(entries, width)])


def _beyond(theory: Theory, size: tuple[int, int]) -> bool:
    return theory.top < 0 or theory.left < 0 or theory.bottom > size[0] or theory.right > size[1]


def _scale(longest: float) -> float:
    if longest >= _LARGEST:
        return _LARGEST / longest
    return float(max(1, math.ceil(_SMALLEST / longest))) if longest < _SMALLEST else 1.0


def _rectangle(
    canvas: np.ndarray,
    square: Theory,
    scale: float,
    corner: tuple[int, int],
    color: tuple[int, int, int],
    *,
    dashed: bool,
) -> None:
    """A square with a dark rim; its sides beyond the picture are not drawn. corner: where the image begins."""
    top, left, bottom, right = (round(edge * scale) + corner[i % 2] for i, edge in enumerate(square))
    corners = [(left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        cv2.line(canvas, start, end, (0, 0, 0), 3)
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        for first, last in _dashes(start, end) if dashed else [(start, end)]:
            cv2.line(canvas, first, last, color, 1)


def _dashes(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)

    def at(place: int) -> tuple[int, int]:
        share = min(place, length) / length
        return round(start[0] + share * (end[0] - start[0])), round(start[1] + share * (end[1] - start[1]))

    return [(at(place), at(place + 5)) for place in range(0, length, 10)]


def _beside(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Panels next to each other on white, at most three a row."""
    rows = [panels[start : start + 3] for start in range(0, len(panels), 3)]
    height = sum(max(panel.shape[0] for panel in row) for row in rows) + _MARGIN * (len(rows) + 1)
    width = max(sum(panel.shape[1] for panel in row) + _MARGIN * (len(row) + 1) for row in rows)
    sheet = np.full((height, width, 3), 255, np.uint8)
    y = _MARGIN
    for row in rows:
        x = _MARGIN
        for panel in row:
            sheet[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
            x += panel.shape[1] + _MARGIN
        y += max(panel.shape[0] for panel in row) + _MARGIN
    return sheet

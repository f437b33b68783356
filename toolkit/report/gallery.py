"""A grid of pictures with layers over them that people toggle, filter and sort: image, truth, prediction, error.

A picture is in the page once, as JPEG; what is drawn over it are layers: transparent PNGs with a palette for label maps,
SVG for boxes. So a card of four views costs hardly more than its picture. Behaviour is `templates/gallery.js`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from markupsafe import Markup
from PIL import Image

from toolkit.drawing import LegendEntry, as_rgb
from toolkit.labels import Color
from toolkit.report.page import picture_data
from toolkit.report.svg import element, group, titled

PIXELS = 480
"""Longer side of a card's picture, at most."""
BYTES = 10 * 2**20
"""What the cards of one gallery take in a page, at most; the rest is left out, and the page says so."""
_HIDDEN_TEXT = 12
"""Boxes of a layer from which on their words are shown by the pointer only."""


class View(NamedTuple):
    """One of the pictures of a card: its key (`image`, `truth` ...), and its title."""

    key: str
    title: str


class DrawnBox(NamedTuple):
    """A box of a layer.

    Args:
        xyxy: (x1, y1, x2, y2) in pixels of the whole image, the last two exclusive.
        color: (r, g, b) of its line, 0..255.
        words: its class and score, or what is wrong with it.
        dashed: whether its line is dashed: a thing that is not there, but should be.
    """

    xyxy: Sequence[float]
    color: Color
    words: str
    dashed: bool = False


@dataclass(frozen=True)
class Card:
    """One image of a gallery.

    Args:
        name: name of the image, written below it.
        words: its number for people, written beside its name ("mIoU 43.2 %").
        order: what cards are sorted by, smallest first; None comes last.
        part: why it is shown ("worst", "median" ...), a word to filter by.
        picture: the image as a data URI (`picture_data`), or the address of a file beside the page.
        size: (height, width) of the whole image, for its shape and for boxes.
        layers: what is drawn over the picture in each view, by its key; a view without one shows the picture alone.
        labels: classes that occur, to filter by.
        errors: (label, kind) of every error that occurs, to filter by.
    """

    name: str
    words: str
    order: float | None
    part: str
    picture: str
    size: tuple[int, int]
    layers: Mapping[str, Markup]
    labels: frozenset[int] = frozenset()
    errors: frozenset[tuple[int, str]] = frozenset()

    @property
    def bytes(self) -> int:
        """What it takes in the page, about."""
        return len(self.picture) + sum(map(len, self.layers.values()))


@dataclass(frozen=True)
class Gallery:
    """Everything the component shows.

    Args:
        views: pictures of each card, from left to right.
        cards: the images, in the order they are shown at first.
        classes: (label, name and colour) of the classes that can be filtered by, in the order of their table.
        kinds: (key, name and colour) of the kinds of error, likewise.
        note: what was left out, or "".
        orders: words for the two orders, smallest first and largest first.
        unpainted: labels that are painted nowhere, and have no colour in the legend.
        narrow: whether three cards stand beside one another on a wide screen, not two.
    """

    views: tuple[View, ...]
    cards: tuple[Card, ...]
    classes: tuple[tuple[int, LegendEntry], ...] = ()
    kinds: tuple[tuple[str, LegendEntry], ...] = ()
    note: str = ""
    orders: tuple[str, str] = ("worst first", "best first")
    narrow: bool = False
    unpainted: frozenset[int] = frozenset()

    @property
    def layered(self) -> bool:
        """Whether anything is drawn over the pictures, which can be made fainter."""
        return any(card.layers for card in self.cards)

    @property
    def parts(self) -> list[str]:
        """The words to filter by, in the order of the cards."""
        return list(dict.fromkeys(card.part for card in self.cards if card.part))


def within_budget(cards: Iterable[Card], budget: int = BYTES) -> tuple[list[Card], int]:
    """The first cards that fit in some bytes, and how many did not. A card that does not fit ends the list."""
    kept: list[Card] = []
    left_out = used = 0
    for card in cards:
        used += card.bytes
        if left_out or used > budget:
            left_out += 1
        else:
            kept.append(card)
    return kept, left_out


def card_picture(image: np.ndarray, pixels: int = PIXELS) -> str:
    """An (H, W, C) uint8 image as a data URI of at most `pixels` on its longer side."""
    rgb = as_rgb(image)
    height, width = rgb.shape[:2]
    scale = min(1.0, pixels / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return picture_data(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb)


def color_layer(values: np.ndarray, colors: np.ndarray, unpainted: Iterable[int]) -> Markup:
    """A map of small numbers in colours, transparent where nothing is painted.

    Args:
        values: (H, W) uint8 label or kind of each pixel.
        colors: (256, 3) uint8 colour of each value.
        unpainted: values whose pixels are transparent.
    """
    picture = Image.fromarray(values)
    picture.putpalette(colors.astype(np.uint8).tobytes())
    shown = np.full(256, 255, np.uint8)
    shown[list(unpainted)] = 0
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True, transparency=shown.tobytes())
    data = base64.b64encode(encoded.getvalue()).decode("ascii")
    return Markup('<img class="layer paint" alt="" src="data:image/png;base64,{}">').format(Markup(data))


def box_layer(boxes: Sequence[DrawnBox], size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Markup:
    """Boxes as a drawing that is laid over the picture; the first is on top.

    Args:
        boxes: the boxes, in pixels of the whole image.
        size: (height, width) in pixels of the image, or of the part that is shown.
        corner: (x, y) in pixels of the upper left corner of that part.
    """
    height, width = size
    drawn = [_box(box, size, corner, len(boxes) <= _HIDDEN_TEXT) for box in reversed(boxes)]
    return element(
        "svg",
        *drawn,
        cls="layer boxes",
        viewBox=f"{corner[0]} {corner[1]} {width} {height}",
        preserveAspectRatio="none",
    )


def _box(box: DrawnBox, size: tuple[int, int], corner: tuple[int, int], with_words: bool) -> Markup:
    width, letters = size[1], max(size) / 32
    x1, y1, x2, y2 = (float(edge) for edge in box.xyxy)
    color = f"rgb({box.color[0]},{box.color[1]},{box.color[2]})"
    place = {"x": x1, "y": y1, "width": max(x2 - x1, 1.0), "height": max(y2 - y1, 1.0)}
    parts = [
        titled(box.words),
        element("rect", cls="outline", **place),
        element("rect", cls="line dashed" if box.dashed else "line", stroke=color, **place),
    ]
    if with_words and box.words:
        y = y1 - letters * 0.3 if y1 > corner[1] + letters * 1.3 else y1 + letters
        x, anchor = (x1, "start") if x1 < corner[0] + width / 2 else (x2, "end")
        parts.append(element("text", box.words, x=x, y=y, font_size=letters, text_anchor=anchor, style=f"fill:{color}"))
    return group(*parts)

"""Pictures of predictions: label maps and boxes over an image, and legends. Pure functions on RGB uint8 arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from toolkit.labels import IGNORE_INDEX, ClassTable, Color, background_labels, default_palette

IGNORED_COLOR: Color = (224, 224, 192)
"""Colour of pixels without a class, as in VOC's label maps."""
_DARK, _LIGHT, _WHITE = (30, 30, 34), (236, 236, 236), (255, 255, 255)
_VIRIDIS_ENDS: tuple[Color, Color] = ((68, 1, 84), (253, 231, 37))
"""Its darkest and its brightest colour (matplotlib, `_cm_listed.py`)."""
_READABLE = 320
"""Pictures narrower than this are enlarged by a whole factor, so that text beside them can be read."""


_BRIGHTEST, _DARKEST = 160, 70
"""A colour is drawn as it stands from this largest channel and this luma on; a darker one is made lighter."""
_COLORFUL = 40
"""Least difference of a drawn colour's largest and smallest channel: gray cannot be told from a gray picture."""
_APART = 22.0
"""CIELAB distance below which two classes' colours are taken for one."""


class LegendEntry(NamedTuple):
    """A colour and what it means."""

    color: Color
    name: str


def full_palette(palette: Sequence[Color], num_classes: int) -> np.ndarray:
    """Colours of labels 0..255 as (256, 3) uint8: the palette (or default colours), and one for ignored pixels."""
    colors = np.array(default_palette(256), np.uint8)
    if len(palette):
        colors[: len(palette)] = np.asarray(palette, np.uint8)[:256]
    if num_classes <= IGNORE_INDEX:
        colors[IGNORE_INDEX] = IGNORED_COLOR
    return colors


def shown_colors(palette: Sequence[Color], num_classes: int) -> np.ndarray:
    """Colours in which labels 0..255 are drawn over pictures: (256, 3) uint8, bright, colourful, told apart.

    A class keeps its own colour where it is so. A dark one is made lighter; one that is gray, or too near to another
    class's, is replaced by the colour that is farthest from all others in CIELAB (Glasbey et al. 2007, "Colour displays
    for categorical images"). Files of label maps keep the palette as it is (`full_palette`).

    Args:
        palette: (r, g, b) of each class, 0..255, or () for default colours.
        num_classes: number of classes; the label `IGNORE_INDEX` has a colour of its own unless it is a class.
    """
    own = tuple((int(r), int(g), int(b)) for r, g, b in palette) or default_palette(num_classes)
    return _shown_colors(own[:256], num_classes).copy()


@lru_cache(maxsize=64)
def _shown_colors(own: tuple[Color, ...], num_classes: int) -> np.ndarray:
    levels = np.array(np.meshgrid(*[np.arange(0, 256, 51)] * 3, indexing="ij"), np.uint8).reshape(3, -1).T
    candidates = np.array(
        [color for color in levels.tolist() if _lighter(color) == tuple(color) and _is_colorful(color)]
    )
    taken = [_lab(np.array([_WHITE, IGNORED_COLOR], np.uint8))]
    colors = np.array(default_palette(256), np.uint8)
    replaced = []
    for label, color in enumerate(own):
        lighter = np.array([_lighter(color)], np.uint8)
        near = min(float(np.linalg.norm(known - _lab(lighter), axis=1).min()) for known in taken)
        if not _is_colorful(lighter[0].tolist()) or near < _APART:
            replaced.append(label)
        else:
            colors[label] = lighter[0]
            taken.append(_lab(lighter))
    distance = np.linalg.norm(_lab(candidates)[:, None] - np.concatenate(taken)[None], axis=2).min(1)
    for label in replaced:
        farthest = int(distance.argmax())
        colors[label] = candidates[farthest]
        distance = np.minimum(distance, np.linalg.norm(_lab(candidates) - _lab(candidates[farthest, None]), axis=1))
    if num_classes <= IGNORE_INDEX:
        colors[IGNORE_INDEX] = IGNORED_COLOR
    return colors


def _is_colorful(color: Sequence[int]) -> bool:
    return max(color) - min(color) >= _COLORFUL


def _lighter(color: Sequence[int]) -> Color:
    """A colour of the same hue that is seen on a dark picture; gray becomes white."""
    red, green, blue = color
    largest = max(color)
    if largest < _BRIGHTEST:
        red, green, blue = (round(255 * part / largest) if largest else 255 for part in color)
    luma = _luma((red, green, blue))
    white = max(0.0, (_DARKEST - luma) / (255 - luma)) if luma < 255 else 0.0
    red, green, blue = (math.ceil(part + (255 - part) * white) for part in (red, green, blue))
    return red, green, blue


def _luma(color: Color) -> float:
    """Brightness 0..255 (ITU-R BT.601)."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _lab(colors: np.ndarray) -> np.ndarray:
    """CIELAB of (N, 3) uint8 RGB colours, (N, 3) float32."""
    return cv2.cvtColor(colors[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A gray (H, W, 1) or RGB (H, W, 3) uint8 image as a fresh RGB one; of more channels the first three, of two one."""
    if image.shape[2] < 3:
        return np.repeat(image[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3]).copy()


def enlargement(size: tuple[int, int]) -> int:
    """The whole factor by which a small picture is enlarged before text is put beside or on it."""
    return max(1, math.ceil(_READABLE / max(size)))


def blend_labels(
    image: np.ndarray, labels: np.ndarray, colors: np.ndarray, opacity: float = 0.5, unpainted: Sequence[int] = ()
) -> np.ndarray:
    """An RGB image with each labelled pixel mixed with its class's colour, and sharp lines where classes meet.

    Args:
        image: (H, W, 3) uint8 RGB picture.
        labels: (H, W) uint8 class of each pixel; those labelled `IGNORE_INDEX` stay as they are.
        colors: (256, 3) uint8 colour of each label.
        opacity: share of the class's colour, 0 (none) to 1.
        unpainted: labels whose pixels stay as they are, too: those of a background.
    """
    colored = cv2.addWeighted(image, 1 - opacity, colors[labels], opacity, 0)
    plain = np.isin(labels, (IGNORE_INDEX, *unpainted))
    colored[plain] = image[plain]
    colored[_edges(labels, max(1, round(max(labels.shape) / 700)))] = _WHITE
    return colored


def _edges(labels: np.ndarray, width: int) -> np.ndarray:
    """Boolean (H, W): pixels whose right or lower neighbour has another label, made `width` pixels wide."""
    edges = np.zeros(labels.shape, np.uint8)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return (cv2.dilate(edges, np.ones((width, width), np.uint8)) if width > 1 else edges).astype(bool)


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, colors: Sequence[Color], texts: Sequence[str] | None = None
) -> np.ndarray:
    """An RGB image with boxes (N, 4) xyxy, the first on top, each in its colour with its text on a tag of that colour.

    Args:
        image: (H, W, 3) uint8 RGB picture.
        boxes: (N, 4) xyxy boxes in its pixels, the first on top.
        colors: (r, g, b) of each box, 0..255.
        texts: words on a tag at each box, or None for no tags.
    """
    line = max(2, round(max(image.shape[:2]) / 400))
    canvas = image.copy()
    corners = _inside(boxes, image.shape[:2], line // 2 + 1)
    order = range(len(corners) - 1, -1, -1)
    for i in order:
        first, last = tuple(corners[i, :2].tolist()), tuple(corners[i, 2:].tolist())
        cv2.rectangle(canvas, first, last, (0, 0, 0), line + 2)
        cv2.rectangle(canvas, first, last, colors[i], line)
    if texts is None or not len(corners):
        return canvas
    drawing = Image.fromarray(canvas)
    pen = ImageDraw.Draw(drawing)
    font = _font(max(11, round(max(image.shape[:2]) / 48)))
    for i in order:
        _tag(pen, (corners[i, 0], corners[i, 1]), texts[i], colors[i], font, drawing.size)
    return np.asarray(drawing)


def _inside(boxes: np.ndarray, size: tuple[int, ...], margin: int) -> np.ndarray:
    """Corner pixels (N, 4) of boxes, moved in from the picture's edge so that the whole line is seen."""
    corners = np.rint(np.asarray(boxes).reshape(-1, 4)).astype(int) - (0, 0, 1, 1)
    height, width = size
    return np.clip(corners, margin, np.maximum(margin, np.array([width, height] * 2) - 1 - margin))


def _tag(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    color: Color,
    font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> None:
    """Text on a filled tag above a box's upper left corner, or just inside where there is no room above."""
    width, height = math.ceil(pen.textlength(text, font=font)) + 6, sum(font.getmetrics()) + 2
    left = min(max(0, corner[0] - 1), max(0, size[0] - width))
    top = corner[1] - height if corner[1] >= height else max(0, corner[1])
    top = min(top, max(0, size[1] - height))
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=color)
    pen.text((left + 3, top + 1), text, fill=text_color(color), font=font)


def text_color(background: Color) -> Color:
    """Black or white, whichever is read more easily on a colour (by its luma, ITU-R BT.601)."""
    return (0, 0, 0) if _luma(background) > 140 else (255, 255, 255)


def legend(entries: Sequence[LegendEntry], width: int, *, dark: bool = True) -> np.ndarray:
    """A strip (h, width, 3) that names colours, in as many lines as it takes; height 0 when there is nothing to name.

    Args:
        entries: names and their colours, in their order.
        width: width of the strip in pixels.
        dark: whether the writing is light on a dark ground.
    """
    background, ink = (_DARK, _LIGHT) if dark else (_WHITE, _DARK)
    size = min(17, max(12, width // 50))
    font = _font(size)
    row, gap, swatch = round(size * 1.7), round(size * 0.5), size
    places: list[tuple[int, int]] = []
    x, y = gap, 0
    for entry in entries:
        needs = swatch + gap + math.ceil(font.getlength(entry.name)) + 2 * gap
        if x > gap and x + needs - gap > width:
            x, y = gap, y + row
        places.append((x, y))
        x += needs
    strip = Image.new("RGB", (width, y + row if entries else 0), background)
    pen = ImageDraw.Draw(strip)
    for (x, y), entry in zip(places, entries, strict=True):
        top = y + (row - swatch) // 2
        pen.rectangle((x, top, x + swatch - 1, top + swatch - 1), fill=entry.color, outline=ink)
        pen.text((x + swatch + gap, y + row // 2), entry.name, fill=ink, font=font, anchor="lm")
    return np.asarray(strip).reshape(-1, width, 3)


def title(text: str, width: int, *, dark: bool = False) -> np.ndarray:
    """A strip (h, width, 3) with a centred line of text.

    Args:
        text: the line of text, which stands in the middle.
        width: width of the strip in pixels.
        dark: whether the writing is light on a dark ground.
    """
    background, ink = (_DARK, _LIGHT) if dark else (_WHITE, _DARK)
    size = min(20, max(12, width // 20))
    strip = Image.new("RGB", (width, round(size * 1.8)), background)
    ImageDraw.Draw(strip).text((width // 2, strip.height // 2), text, fill=ink, font=_font(size), anchor="mm")
    return np.asarray(strip)


def class_legend(labels: Iterable[int], classes: ClassTable) -> list[LegendEntry]:
    """Names and drawn colours of the classes present, in the order of the table, so that legends can be compared.

    labels: in any order, as often as they come; those that are never painted (a background, ignored pixels) are left out.
    """
    colors = shown_colors(classes.palette, len(classes.names))
    hidden = {IGNORE_INDEX, *background_labels(classes.names)}
    return [LegendEntry(_color(colors, label), classes.name_of(label)) for label in sorted(set(labels) - hidden)]


def draw_label_map(image: np.ndarray, labels: np.ndarray, classes: ClassTable, opacity: float = 0.5) -> np.ndarray:
    """An image with its classes in colour above a legend of those present, in the table's order: RGB uint8.

    A class that is called background (`labels.is_background`) is not painted, nor named.

    Args:
        image: (H, W, C) uint8, RGB or gray; a small one is enlarged by a whole factor.
        labels: (H, W) uint8 class numbers of its pixels, `IGNORE_INDEX` where nothing is drawn.
        classes: names and colours of the labels; unnamed ones are shown by their number.
        opacity: share of the class's colour in a pixel, 0 (only the image) to 1 (only colours).
    """
    factor = enlargement((labels.shape[0], labels.shape[1]))
    colors = shown_colors(classes.palette, len(classes.names))
    unpainted = background_labels(classes.names)
    blended = blend_labels(enlarge(as_rgb(image), factor), enlarge(labels, factor), colors, opacity, unpainted)
    return np.concatenate([blended, legend(class_legend(np.unique(labels).tolist(), classes), blended.shape[1])])


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    classes: ClassTable,
    note: str = "",
) -> np.ndarray:
    """An image with boxes, each in its class's colour under its name and score, above a legend: RGB uint8.

    Args:
        image: (H, W, C) uint8, RGB or gray; a small one is enlarged by a whole factor.
        boxes: (N, 4) xyxy pixels of the image, best first (the first is drawn on top).
        scores: (N,) numbers 0..1 that stand beside the names.
        labels: (N,) class numbers, one for each box.
        classes: names and colours of the labels; unnamed ones are shown by their number.
        note: a line below the picture, which says from which score boxes are drawn; "" for none.
    """
    factor = enlargement((image.shape[0], image.shape[1]))
    colors = shown_colors(classes.palette, len(classes.names))
    texts = [
        f"{classes.name_of(label)} {score:.2f}" for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
    ]
    own = [_color(colors, label) for label in labels.tolist()]
    drawn = draw_boxes(enlarge(as_rgb(image), factor), boxes * factor, own, texts)
    entries = [LegendEntry(_color(colors, label), classes.name_of(label)) for label in sorted(set(labels.tolist()))]
    below = [title(note, drawn.shape[1], dark=True)] if note else []
    return np.concatenate([drawn, legend(entries, drawn.shape[1]), *below])


def draw_values(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An image beside its map of values, dark (smallest) to bright (largest), above the two numbers: RGB uint8.

    image: (H, W, C) uint8. values: (H, W) float; where they are no number the map is black.
    """
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    share = np.where(known, values - low, 0) / max(high - low, 1e-12)
    levels = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    colored = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    colored[~known] = 0
    factor = enlargement((values.shape[0], values.shape[1]))
    pair = np.concatenate([enlarge(as_rgb(image), factor), enlarge(colored, factor)], axis=1)
    ends = (_VIRIDIS_ENDS[0], f"{low:.4g}"), (_VIRIDIS_ENDS[1], f"{high:.4g}")
    return np.concatenate([pair, legend([LegendEntry(color, text) for color, text in ends], pair.shape[1])])


def draw_heat(image: np.ndarray, values: np.ndarray, most: float, unit: str) -> np.ndarray:
    """A gray image below a map of values in colour, the stronger the larger they are, above their scale: RGB uint8.

    Args:
        image: (H, W, C) uint8; a small one is enlarged by a whole factor.
        values: (H, W) float, 0..most; NaN counts as 0, more as `most`.
        most: value of the brightest colour.
        unit: what is counted, for the scale.
    """
    share = np.clip(np.nan_to_num(values) / most, 0, 1).astype(np.float32)
    colored = _heat(np.rint(255 * share).astype(np.uint8))
    factor = enlargement((values.shape[0], values.shape[1]))
    gray = cv2.cvtColor(cv2.cvtColor(as_rgb(image), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    weight = (0.25 + 0.65 * np.sqrt(share))[:, :, None]
    blended = enlarge(np.rint(gray * (1 - weight) + colored * weight).astype(np.uint8), factor)
    steps = [(level, f"{most * level / 255:.2g}") for level in (0, 64, 128, 191, 255)]
    shades = _heat(np.array([[level for level, _ in steps]], np.uint8))[0].tolist()
    entries = [LegendEntry((r, g, b), text) for (r, g, b), (_, text) in zip(shades, steps, strict=True)]
    entries[-1] = LegendEntry(entries[-1].color, f"{entries[-1].name} {unit}")
    return np.concatenate([blended, legend(entries, blended.shape[1])])


def _heat(levels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 as colours from black over red to bright yellow, (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def draw_caption(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """An image above lines of text: RGB uint8. image: (H, W, C) uint8; a small one is enlarged by a whole factor."""
    pixels = enlarge(as_rgb(image), enlargement((image.shape[0], image.shape[1])))
    return np.concatenate([pixels, *(title(line, pixels.shape[1], dark=True) for line in lines)])


def _color(colors: np.ndarray, label: int) -> Color:
    red, green, blue = colors[label % len(colors)].tolist()
    return red, green, blue


def enlarge(array: np.ndarray, factor: int) -> np.ndarray:
    """A picture or label map with every pixel repeated `factor` times both ways."""
    return array.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else array


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # a bitmap font only where FreeType is missing

"""Pictures of samples as the model will see them: augmented, cropped, padded, with their labels or boxes drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from toolkit.contracts import ANY_SIZE, Dataset, SizeRule
from toolkit.drawing import LegendEntry, as_rgb, draw_boxes, legend, shown_colors, title
from toolkit.errors import ConfigError, Problem
from toolkit.files import replacing
from toolkit.labels import ClassTable, Color, background_labels
from toolkit.ops.padding import Pad, legal_size, mirror, pad_targets
from toolkit.samples import IGNORE_INDEX, Batch

CELL = 300
"""Width of each picture in pixels."""
_GAP = 6
_EDGE = (255, 0, 255)
"""Colour of the line where a picture ends and padding begins."""
_OPAQUE = 0.6
_TAGGED = 8
"""Boxes of an image that still get their class written on them; beyond, colours and the legend have to do."""


class Shown(NamedTuple):
    """One sample, drawn.

    Args:
        pictures: RGB arrays that stand beside one another.
        caption: words that stand below the pictures.
        labels: labels of the classes that occur in them.
    """

    pictures: tuple[np.ndarray, ...]
    caption: str
    labels: frozenset[int]


def refuse_data_folder(folder: Path, datasets: Iterable[Dataset]) -> None:
    """Raises ConfigError when `folder` lies in a data set's folder, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(Problem("--preview", f"{folder.absolute()} is a file", "name a folder"))
    for dataset in datasets:
        if dataset.root != Path() and folder.resolve().is_relative_to(dataset.root.resolve()):
            message = f"{folder.absolute()} lies in the data folder {dataset.root.absolute()}, where nothing is written"
            raise ConfigError(Problem("--preview", message, "name a folder elsewhere"))


def write_preview(
    batches: Iterable[Batch],
    table: ClassTable,
    folder: Path,
    name: str,
    headline: str,
    samples: int,
    rule: SizeRule = ANY_SIZE,
) -> list[Path]:
    """Writes NAME_1.png, NAME_2.png ... of the first `samples` samples; returns their paths.

    Raises UserError when the disk refuses.

    Args:
        batches: batches as training makes them.
        table: names and colours of the labels.
        folder: folder for the pictures, made when it is missing.
        name: beginning of the files' names.
        headline: words that stand above each sheet.
        samples: number of samples that are drawn.
        rule: sizes the model takes; smaller images are mirrored up to them, as the model does.
    """
    colors = shown_colors(table.palette, len(table.names))
    shown: list[Shown] = []
    for batch in batches:
        shown += _drawn(_legal(batch, rule), table, colors)
        if len(shown) >= samples:
            break
    shown = shown[:samples]
    across = 2 if any(len(one.pictures) > 1 for one in shown) else 4
    page = 3 * across
    paths = []
    for number in range(math.ceil(len(shown) / page)):
        picture = _page(shown[number * page : (number + 1) * page], across, table, colors, headline)
        path = folder / f"{name}_{number + 1}.png"
        with replacing(path, durable=False) as part:
            Image.fromarray(picture).save(part, "PNG")
        paths.append(path)
    return paths


def _legal(batch: Batch, rule: SizeRule) -> Batch:
    """The batch at the next legal size, as `VisionModel.loss` enlarges it."""
    size = (batch.images.shape[-2], batch.images.shape[-1])
    legal = legal_size(size, rule)
    images = mirror(batch.images, Pad(0, legal[0] - size[0], 0, legal[1] - size[1]))
    return pad_targets(batch, legal)._replace(images=images)


def _drawn(batch: Batch, table: ClassTable, colors: np.ndarray) -> list[Shown]:
    shown = []
    for place, name in enumerate(batch.names):
        image = as_rgb(batch.images[place].permute(1, 2, 0).numpy())
        factor = CELL / image.shape[1]
        height, width = (int(side) for side in batch.sizes[place])
        small = _fitted(image, factor)
        texts, labels, pictures = [], set[int](), [small]
        if batch.label_maps is not None:
            own = batch.label_maps[place].numpy()
            labels |= set(np.unique(own).tolist())
            fitted = cv2.resize(own, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
            painted = cv2.addWeighted(small, 1 - _OPAQUE, colors[fitted], _OPAQUE, 0)
            unpainted = np.isin(fitted, background_labels(table.names))
            pictures.append(np.where(unpainted[..., None], small, painted))
        if batch.boxes is not None:
            boxes, own_labels = np.asarray(batch.boxes[place].xyxy), batch.boxes[place].labels.tolist()
            labels |= set(own_labels)
            names = [_name(table.names, label) for label in own_labels] if len(boxes) <= _TAGGED else None
            pictures[-1] = draw_boxes(pictures[-1], boxes * factor, [_color(colors, k) for k in own_labels], names)
        if batch.value_maps is not None:
            pictures.append(_heat(batch.value_maps[place].numpy(), (small.shape[1], small.shape[0])))
        if batch.image_labels is not None:
            texts.append(_name(table.names, int(batch.image_labels[place])))
        if batch.image_values is not None:
            texts.append(", ".join(f"{value:.3g}" for value in batch.image_values[place].tolist()))
        if (height, width) != image.shape[:2]:
            texts.append(f"{height}x{width} in {image.shape[0]}x{image.shape[1]}")
            pictures = [_edge(picture, height * factor, width * factor) for picture in pictures]
        shown.append(Shown(tuple(pictures), "  ".join([_tail(name), *texts]), frozenset(labels)))
    return shown


def _fitted(image: np.ndarray, factor: float) -> np.ndarray:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST_EXACT
    return cv2.resize(image, (CELL, max(1, round(image.shape[0] * factor))), interpolation=how)


def _edge(picture: np.ndarray, height: float, width: float) -> np.ndarray:
    """A line where the picture ends."""
    corner = (round(width) - 1, round(height) - 1)
    return cv2.rectangle(picture.copy(), (0, 0), corner, _EDGE, 1)


def _heat(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Numbers from dark to bright between their own extremes; black where unknown."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    scaled = np.where(known, (values - low) / max(high - low, 1e-9) * 255, 0).astype(np.uint8)
    heat = cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)[:, :, ::-1] * known[..., None]
    return cv2.resize(heat.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)


def _page(shown: Sequence[Shown], across: int, table: ClassTable, colors: np.ndarray, headline: str) -> np.ndarray:
    """The samples in rows, a caption under each, a headline above and a legend below."""
    each = max(len(one.pictures) for one in shown) * (CELL + _GAP) - _GAP
    width = across * (each + _GAP) + _GAP
    strips = [title(headline, width)]
    for start in range(0, len(shown), across):
        row = shown[start : start + across]
        height = max(one.pictures[0].shape[0] for one in row)
        captions = [title(one.caption, each) for one in row]
        band = np.full((height + captions[0].shape[0] + _GAP, width, 3), 255, np.uint8)
        for place, (one, caption) in enumerate(zip(row, captions, strict=True)):
            left = _GAP + place * (each + _GAP)
            for number, picture in enumerate(one.pictures):
                x = left + number * (CELL + _GAP)
                band[: picture.shape[0], x : x + CELL] = picture
            low = one.pictures[0].shape[0]
            band[low : low + caption.shape[0], left : left + each] = caption
        strips.append(band)
    seen = sorted(frozenset().union(*(one.labels for one in shown)) - set(background_labels(table.names)))
    strips.append(legend([LegendEntry(_color(colors, k), _name(table.names, k)) for k in seen], width, dark=False))
    return np.concatenate(strips)


def _tail(name: str, most: int = 34) -> str:
    return name if len(name) <= most else "..." + name[-most + 3 :]


def _name(names: Sequence[str], label: int) -> str:
    if label == IGNORE_INDEX and len(names) <= IGNORE_INDEX:
        return "ignored"
    return names[label] if label < len(names) else str(label)


def _color(colors: np.ndarray, label: int) -> Color:
    red, green, blue = colors[label % 256].tolist()
    return red, green, blue

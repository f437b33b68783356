"""The page of `toolkit describe`: a model to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.analysis.anatomy import Anatomy, Kept, LayerRow
from toolkit.analysis.effective_field import EffectiveField
from toolkit.report.anatomy.cells import both, field_text, part_cells, shape
from toolkit.report.anatomy.diagram import diagram
from toolkit.report.anatomy.field_picture import Theory, caption, field_picture
from toolkit.report.anatomy.growth import growth
from toolkit.report.anatomy.stages import board
from toolkit.report.charts import LayerBar, layer_bars
from toolkit.report.page import picture_data, render
from toolkit.report.quantities import bytes_of, short

_LARGEST = 10
_WIDEST = 520
"""Pixels of an effective field's picture on the page."""


@dataclass(frozen=True)
class Tile:
    """A number at the top of the page.

    Args:
        name: what the number is, below it.
        value: the number as people read it.
        title: shown when the pointer rests on it.
    """

    name: str
    value: str
    title: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of a ranking.

    Args:
        name: name of the layer that it tells of.
        part: part the layer belongs to, which chooses the colour.
        text: the number with its unit, as text.
        share: part of the first line's value, 0 to 1, the length of its bar.
        title: sentence that is shown when the pointer rests on it.
    """

    name: str
    part: str
    text: str
    share: float
    title: str


@dataclass(frozen=True)
class ShownField:
    """An effective field with its theoretical square.

    Args:
        field: what was measured of one output.
        theory: the theoretical square, or None where nobody knows it.
        about: what the weights were ("random weights").
    """

    field: EffectiveField
    theory: Theory | None
    about: str


def anatomy_page(anatomy: Anatomy, fields: Sequence[ShownField] = (), image: np.ndarray | None = None) -> str:
    """The whole page, one HTML file.

    Args:
        anatomy: what was measured of the model at one image size.
        fields: effective receptive fields to show, if any.
        image: (H, W, C) uint8 to draw the fields over, or None for a gray card.
    """
    stages = board(anatomy)
    rows = anatomy.layers
    training = anatomy.memory.training[-1] if anatomy.memory.training else None
    inference = anatomy.memory.inference[-1] if anatomy.memory.inference else None
    return render(
        "anatomy.html",
        anatomy=anatomy,
        lead=_lead(anatomy),
        tiles=_tiles(anatomy),
        diagram=diagram(anatomy, stages),
        has_neck=bool(stages.of("neck")),
        has_indices=any(link.kind == "indices" for link in stages.links),
        maps=[(f"{part.name} {part.kind}", found) for part in anatomy.parts for found in part.maps],
        growth=growth(anatomy),
        field_sentence=_field_sentence(anatomy),
        fields=[_shown(shown, image) for shown in fields],
        fields_sentence=_fields_sentence(fields),
        parameter_bars=layer_bars(bars_of(rows, "parameters"), "parameters"),
        mac_bars=layer_bars(bars_of(rows, "macs"), "MACs"),
        most_parameters=_most(rows, "parameters"),
        most_macs=_most(rows, "macs"),
        training_largest=_kept(training.largest) if training else [],
        training_note=f"{training.images} images of {training.size[0]}×{training.size[1]}, float32" if training else "",
        inference_largest=_kept(inference.largest) if inference else [],
        inference_note=f"{inference.images} images, at {inference.layer}" if inference else "",
        parts=part_cells(anatomy),
    )


def bars_of(rows: Sequence[LayerRow], field: str) -> list[LayerBar]:
    """A bar a layer that has weights; what belongs to it and has a few (its batch norm) stands in the title.

    field: "parameters" or "macs". The sum of all bars is the sum of all rows: numbers of layers without MACs, such as
    norms, are added to the layer before them.
    """
    bars: list[LayerBar] = []
    for row in rows:
        value = getattr(row, field)
        if bars and not row.macs and row.runs and bars[-1].part == row.part:
            last = bars[-1]
            note = f"{last.note}\nwith {row.name}: {value:,}" if value else last.note
            bars[-1] = last._replace(value=last.value + value, note=note)
        elif row.macs or value:
            shown = f"{row.output[0]}×{row.output[1]}×{row.output[2]}" if row.output else "only while training"
            bars.append(LayerBar(row.name, row.part, value, f"{row.kind}, {shown}"))
    return bars


def _lead(anatomy: Anatomy) -> str:
    parts = " → ".join(part.kind for part in anatomy.parts)
    channels, height, width = anatomy.input
    kind = {1: "gray ", 3: "RGB "}.get(channels, f"{channels}-channel ")
    classes = f", {len(anatomy.classes)} classes" if anatomy.classes else ""
    return f"{parts}; {kind}images of {height}×{width} (height × width){classes}"


def _tiles(anatomy: Anatomy) -> list[Tile]:
    tiles = [
        Tile("parameters", short(anatomy.parameters), f"{anatomy.parameters:,}"),
        Tile("MACs an image", short(anatomy.macs), f"{anatomy.macs:,}"),
        Tile("weights in memory", bytes_of(anatomy.memory.weights), f"{anatomy.memory.weights:,} bytes"),
    ]
    if anatomy.trainable != anatomy.parameters:
        frozen = anatomy.parameters - anatomy.trainable
        tiles.insert(1, Tile("of them frozen", short(frozen), f"{frozen:,}; {anatomy.trainable:,} are trained"))
    tiles += [
        Tile(f"kept to train on {kept.images}", bytes_of(kept.bytes), "activations kept for backward, float32")
        for kept in anatomy.memory.training[-1:]
    ]
    tiles += [
        Tile(f"to predict {most.images}", bytes_of(most.bytes), "the largest sum of activations alive, float32")
        for most in anatomy.memory.inference[:1]
    ]
    if anatomy.receptive_field is not None:
        low = anatomy.receptive_field_min
        value = both(anatomy.receptive_field)
        if anatomy.position_dependent and low is not None:
            value = f"{both(low)}–{value}"
        if anatomy.output[1:] == (1, 1) and anatomy.receptive_field == anatomy.input[1:]:
            value = "whole image"
        tiles.append(Tile("receptive field, px", value, "of a cell of the output, along each axis"))
    tiles.append(Tile("output", shape(anatomy.output), "channels × height × width"))
    return tiles


def _field_sentence(anatomy: Anatomy) -> str:
    """How far a cell sees: of the output, or where that is no map, of the coarsest map that the head reads."""
    rows = {row.name: row for row in anatomy.layers}
    heads = [row for row in anatomy.layers if row.part == "head" and row.runs]
    maps = next((part.maps for part in reversed(anatomy.parts) if part.maps), ())
    whole = not heads or any(row.whole_image for row in heads)
    cell = rows.get(maps[-1].layer) if whole and maps else heads[-1] if heads else None
    if cell is None or cell.receptive_field is None:
        return "The image pixels that can change a cell, along an axis."
    what = "the coarsest map that the head reads" if whole else "the output"
    seen, size = max(cell.receptive_field), max(anatomy.input[1:])
    against = "more than the image has" if seen > size else f"{100 * seen / size:.0f} % of the image's longer side"
    where = ", by its position" if cell.position_dependent else ""
    return f"A cell of {what} can be changed by {field_text(cell)} px along an axis{where}: {against}."


def _fields_sentence(fields: Sequence[ShownField]) -> str:
    if not fields:
        return ""
    first = fields[0]
    return (
        f"How much each pixel moves the centre cell: its gradient, averaged in absolute value over {first.field.samples} "
        f"random inputs, with {first.about}. The solid square is the theoretical field, the dashed one holds 95 % of "
        "the effect; opacity is the square root of the gradient."
    )


def _shown(shown: ShownField, image: np.ndarray | None) -> dict[str, object]:
    drawn = field_picture(shown.field, shown.theory, image)
    return {
        "name": shown.field.name,
        "data": picture_data(drawn),
        "width": min(_WIDEST, drawn.shape[1]),
        "caption": caption(shown.field, shown.theory),
    }


def _most(rows: Sequence[LayerRow], field: str) -> list[Entry]:
    ranked = sorted((row for row in rows if getattr(row, field)), key=lambda row: -getattr(row, field))[:_LARGEST]
    first = getattr(ranked[0], field) if ranked else 1
    return [
        Entry(
            row.name,
            row.part,
            f"{getattr(row, field):,}",
            getattr(row, field) / first,
            f"{row.kind} {shape(row.output)}",
        )
        for row in ranked
    ]


def _kept(kept: Sequence[Kept]) -> list[Entry]:
    first = kept[0].bytes if kept else 1
    return [
        Entry(
            entry.layer or "others", entry.layer.partition(".")[0], bytes_of(entry.bytes), entry.bytes / first,
            f"{entry.bytes:,} bytes",
        )
        for entry in kept[:_LARGEST]
    ]  # fmt: skip

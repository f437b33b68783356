"""The layers of an anatomy as the text of table cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis.anatomy import Anatomy, LayerRow, Shape
from toolkit.errors import listed
from toolkit.report.quantities import bytes_of


@dataclass(frozen=True)
class Cells:
    """A row of text; "" where a layer has no such thing.

    Args:
        name: name of the layer, as its module is called.
        kind: what the layer is ("conv", "batch norm").
        input: shape of what it reads, C × H × W.
        output: shape of what it gives, C × H × W.
        kernel: height × width of its kernel.
        stride: stride of its windows, in cells.
        padding: padding at its edges, in cells.
        dilation: dilation of its kernel, in cells.
        field: receptive field in image pixels.
        jump: image pixels from cell to cell.
        centre: middle of what cell (0, 0) sees, in image pixels.
        parameters: how many numbers of it can be learnt.
        macs: multiply-adds for one image, with a unit.
        kept: bytes of activations kept for backward, as people read them.
        title: sentence that is shown when the pointer rests on the row.
    """

    name: str
    kind: str
    input: str
    output: str
    kernel: str
    stride: str
    padding: str
    dilation: str
    field: str
    jump: str
    centre: str
    parameters: str
    macs: str
    kept: str
    title: str


@dataclass(frozen=True)
class PartCells:
    """A part with its rows.

    Args:
        name: backbone, neck or head, the part.
        kind: its registered name, or that of its class.
        parameters: sum over all of its rows.
        macs: multiply-adds of its rows for one image.
        rows: a row a layer, in the order they run.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    rows: tuple[Cells, ...]


def part_cells(anatomy: Anatomy) -> list[PartCells]:
    """The texts of every layer's row, under the part it belongs to."""
    return [
        PartCells(
            part.name, part.kind, part.parameters, part.macs,
            tuple(_cells(row) for row in anatomy.layers if row.part == part.name),
        )
        for part in anatomy.parts
    ]  # fmt: skip


def shape(sizes: Shape | None) -> str:
    """`64×180×240`; a vector is its length.

    >>> shape((64, 180, 240)), shape((4096, 1, 1)), shape(None)
    ('64×180×240', '4096', '')
    """
    if sizes is None:
        return ""
    return str(sizes[0]) if sizes[1:] == (1, 1) else "×".join(str(n) for n in sizes)


def both(pair: Sequence[float] | None) -> str:
    """One number when both are equal, else `height×width`.

    >>> both((3, 3)), both((1, 7)), both((0.5, 0.5)), both(None)
    ('3', '1×7', '0.5', '')
    """
    if pair is None:
        return ""
    height, width = (f"{number:.2f}".rstrip("0").rstrip(".") for number in pair)
    return height if height == width else f"{height}×{width}"


def field_text(row: LayerRow) -> str:
    """The receptive field, from the smallest to the largest where it depends on the position."""
    if row.receptive_field is None:
        return ""
    high, low = both(row.receptive_field), both(row.receptive_field_min)
    return f"{low}–{high}" if row.position_dependent and low and low != high else high


def _cells(row: LayerRow) -> Cells:
    number = f"{row.count:,} times " if row.count > 1 else ""
    return Cells(
        name=row.name,
        kind=row.kind,
        input=", ".join(shape(sizes) for sizes in row.inputs[:3]) + (" …" if len(row.inputs) > 3 else ""),
        output=number + shape(row.output),
        kernel=both(row.kernel),
        stride=both(row.stride),
        padding=both(row.padding),
        dilation=both(row.dilation) if row.dilation != (1, 1) else "",
        field=field_text(row),
        jump=both(row.jump),
        centre=both(row.centre),
        parameters=f"{row.parameters:,}" if row.parameters else "",
        macs=f"{row.macs:,}" if row.macs else "",
        kept=bytes_of(row.kept) if row.kept else "",
        title=_title(row),
    )


def _title(row: LayerRow) -> str:
    lines = [f"{row.name} ({row.kind})"]
    if not row.runs:
        lines.append("only while training")
    if row.sources:
        lines.append(f"from {listed(row.sources, 6)}")
    if row.trainable != row.parameters:
        lines.append(f"{row.parameters - row.trainable:,} of its parameters are frozen")
    if row.data_dependent:
        lines.append("an upper bound: behind an unpooling, cells without a maximum are empty")
    if row.whole_image:
        lines.append("an answer for the whole image")
    lines += [f"{key}: {value}" for key, value in row.settings.items()]
    return "\n".join(lines)

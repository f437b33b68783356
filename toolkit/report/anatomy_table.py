"""An anatomy as text for a terminal: a row a layer, totals, memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.analysis.anatomy import Anatomy, Kept
from toolkit.report.layer_cells import Cells, both, part_cells, shape
from toolkit.report.quantities import bytes_of

_COLUMNS = (
    ("layer", "name", "<"), ("kind", "kind", "<"), ("in", "input", "<"), ("out", "output", "<"), ("k", "kernel", ">"),
    ("s", "stride", ">"), ("p", "padding", ">"), ("d", "dilation", ">"), ("field", "field", ">"), ("jump", "jump", ">"),
    ("centre", "centre", ">"), ("parameters", "parameters", ">"), ("MACs", "macs", ">"),
)  # fmt: skip
_NAME, _KIND = 34, 16
"""Widest a name and a kind are printed."""


def anatomy_lines(anatomy: Anatomy) -> Iterator[str]:
    """The lines of the table, its parts under headings, then totals. Shapes are channels × height × width."""
    height, width = anatomy.input[1:]
    channels = {1: "gray", 3: "RGB"}.get(anatomy.input[0], f"{anatomy.input[0]}-channel")
    yield f"{anatomy.name}: {len(anatomy.classes)} classes, {channels} images of {height}x{width} (height x width)"
    parts = part_cells(anatomy)
    rows = [(part, [_texts(cells) for cells in part.rows]) for part in parts]
    widths = [
        max([len(title), *(len(row[column]) for _, texts in rows for row in texts)])
        for column, (title, _, _) in enumerate(_COLUMNS)
    ]
    maps = {str(part.name): part.maps for part in anatomy.parts}
    for part, texts in rows:
        yield ""
        yield f"{part.name}: {part.kind}, {part.parameters:,} parameters, {part.macs:,} MACs"
        yield _line([title for title, _, _ in _COLUMNS], widths)
        yield from (_line(row, widths) for row in texts)
        if maps[part.name]:
            shown = ", ".join(
                f"{row.channels}@{row.stride} {both(row.size) if row.size[0] != row.size[1] else f'{row.size[0]}²'}"
                + (f" border {row.border}" if row.border else "")
                for row in maps[part.name]
            )
            yield f"hands on (channels@stride size): {shown}"
    yield ""
    yield from _totals(anatomy)


def _texts(cells: Cells) -> list[str]:
    texts = [str(getattr(cells, attribute)) for _, attribute, _ in _COLUMNS]
    texts[0] = _shortened(texts[0], _NAME)
    texts[1] = _shortened(texts[1], _KIND)
    return texts


def _shortened(text: str, width: int) -> str:
    """Long names lose their middle: the end tells layers apart."""
    return text if len(text) <= width else f"{text[: width // 3]}…{text[-(width - width // 3 - 1) :]}"


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(
        f"{text:{align}{width}}" for text, width, (_, _, align) in zip(texts, widths, _COLUMNS, strict=True)
    ).rstrip()


def _totals(anatomy: Anatomy) -> Iterator[str]:
    frozen = anatomy.parameters - anatomy.trainable
    trained = f" ({anatomy.trainable:,} trained, {frozen:,} frozen)" if frozen else ""
    yield f"parameters       {anatomy.parameters:,}{trained}; {anatomy.buffers:,} numbers that are never learnt"
    yield f"MACs             {anatomy.macs:,} for one image"
    yield f"output           {shape(anatomy.output)}"
    if anatomy.receptive_field is not None:
        low, high = both(anatomy.receptive_field_min), both(anatomy.receptive_field)
        text = f"{low} to {high} pixels, depending on the position" if anatomy.position_dependent else f"{high} pixels"
        whole = anatomy.receptive_field == anatomy.input[1:]
        yield f"receptive field  {text}{' (the whole image)' if whole else ''}"
    memory = anatomy.memory
    yield f"weights          {bytes_of(memory.weights)}"
    for each in memory.inference:
        yield f"inference        {bytes_of(each.bytes)} of activations at most, batch of {each.images} (in {each.layer})"
    for kept in memory.training:
        yield f"training         {bytes_of(kept.bytes)} kept for backward, batch of {kept.images}"
    if memory.training:
        yield f"largest kept     {_ranking(memory.training[-1].largest)}"
    for note in anatomy.notes:
        yield f"note             {note}"


def _ranking(largest: Sequence[Kept]) -> str:
    return ", ".join(f"{kept.layer or 'model'} {bytes_of(kept.bytes)}" for kept in largest)

"""An anatomy as text for a terminal: a row a layer, totals, memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.analysis.anatomy import Anatomy, Kept, LayerRow, Part
from toolkit.report.anatomy.cells import both, field_text, shape
from toolkit.report.quantities import bytes_of

WIDTH = 120
"""Columns of the terminal that the table is fitted to, unless that costs the names too much."""

_TITLES = ("layer", "kind", "in", "out", "k", "s", "p", "d", "field", "jump", "centre", "parameters", "MACs")
_LEFT = 4
"""Columns that begin at their left; numbers end at their right."""
_SHORTEST_NAME = 16
_WITHOUT_ROW = "activation"
_SHORTER = {"average": "avg", "adaptive": "adapt.", "transposed": "transp."}


def anatomy_lines(anatomy: Anatomy, width: int = WIDTH) -> Iterator[str]:
    """The lines of the table, its parts under headings, then totals. Shapes are channels × height × width.

    Names are those of the part's heading and the row together; the beginning of long ones is left out. Activations,
    which change no number, have no row.
    """
    height, length = anatomy.input[1:]
    channels = {1: "gray", 3: "RGB"}.get(anatomy.input[0], f"{anatomy.input[0]}-channel")
    yield f"{anatomy.name}: {len(anatomy.classes)} classes, {channels} images of {height}x{length} (height x width)"
    rows = {part.name: [row for row in anatomy.layers if row.part == part.name] for part in anatomy.parts}
    texts = {name: [_texts(row) for row in own if not row.kind.startswith(_WITHOUT_ROW)] for name, own in rows.items()}
    widths = _widths([text for part in texts.values() for text in part], width)
    for part in anatomy.parts:
        yield ""
        yield f"{part.name}: {part.kind}, {part.parameters:,} parameters, {part.macs:,} MACs"
        yield _line(_TITLES, widths)
        yield from (_line(text, widths) for text in texts[part.name])
        if part.maps:
            yield from _maps(part, width)
    hidden = sum(row.kind.startswith(_WITHOUT_ROW) for row in anatomy.layers)
    if hidden:
        yield ""
        yield f"({hidden} activations have no row here; k, s, p, d: kernel, stride, padding, dilation; sizes in pixels)"
    yield ""
    yield from _totals(anatomy)


def _texts(row: LayerRow) -> list[str]:
    name = row.name.removeprefix(f"{row.part}.")
    kind = " ".join(_SHORTER.get(word, word) for word in row.kind.split())
    times = f"{row.count:,} of " if row.count > 1 else ""
    return [
        name if row.runs else f"{name} (not run)",
        kind,
        _inputs(row),
        times + shape(row.output),
        both(row.kernel),
        both(row.stride),
        both(row.padding),
        both(row.dilation) if row.dilation != (1, 1) else "",
        field_text(row),
        both(row.jump),
        both(row.centre),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
    ]


def _inputs(row: LayerRow) -> str:
    """`(64+128)×56×56` for maps of one size, of which only the channels differ."""
    if len(row.inputs) < 2 or row.kind == "unpool":
        return shape(row.inputs[0]) if row.inputs else ""
    channels = [str(each[0]) for each in row.inputs]
    listed = "+".join(channels) if len(channels) <= 4 else f"{channels[0]}+...+{channels[-1]}"
    return f"({listed})×{'×'.join(str(n) for n in row.inputs[0][1:])}"


def _widths(texts: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max([len(title), *(len(text[column]) for text in texts)]) for column, title in enumerate(_TITLES)]
    excess = sum(widths) + len(widths) - 1 - width
    widths[0] = max(min(widths[0], _SHORTEST_NAME), widths[0] - max(0, excess))
    return widths


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        f"{_end(text, width):<{width}}" if column < _LEFT else f"{text:>{width}}"
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    ]
    return " ".join(cells).rstrip()


def _end(text: str, width: int) -> str:
    """Long names lose their beginning: the end tells layers apart."""
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _maps(part: Part, width: int) -> Iterator[str]:
    shown = []
    for row in part.maps:
        border = f" border {row.border}" if row.border else ""
        indices = f" indices {bytes_of(row.index_bytes)}" if row.index_bytes else ""
        shown.append(f"{row.channels}@{row.stride} {row.size[0]}×{row.size[1]}{border}{indices}")
    yield from _wrapped("hands on", shown, width)


def _wrapped(title: str, items: Sequence[str], width: int, comma: str = ",") -> Iterator[str]:
    """A title and a list, in as many lines as it takes."""
    line = f"{title:<16}"
    for place, item in enumerate(items):
        text = item + (comma if place < len(items) - 1 else "")
        if len(line) + 1 + len(text) > width:
            yield line.rstrip()
            line = " " * 16
        line += f" {text}"
    yield line.rstrip()


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
        bound = ", at most" if any(row.data_dependent for row in anatomy.layers) else ""
        yield f"receptive field  {text}{bound}{' (the whole image)' if whole else ''}"
    memory = anatomy.memory
    yield f"weights          {bytes_of(memory.weights)}"
    for each in memory.inference:
        yield f"inference        {bytes_of(each.bytes)} of activations at most, batch of {each.images} (in {each.layer})"
    for kept in memory.training:
        yield f"training         {bytes_of(kept.bytes)} kept for backward, batch of {kept.images}"
    if memory.training:
        yield from _wrapped("largest kept", _ranking(memory.training[-1].largest), WIDTH)
    for note in anatomy.notes:
        yield from _wrapped("note", note.split(" "), WIDTH, "")


def _ranking(largest: Sequence[Kept]) -> list[str]:
    return [f"{kept.layer} {bytes_of(kept.bytes)}" for kept in largest]

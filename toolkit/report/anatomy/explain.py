"""One layer's arithmetic, with its numbers put in: output size, receptive field, jump, parameters, multiply-adds.

The formulas are the textbook's: W' = floor((W - K_eff + 2P) / S) + 1 with K_eff = K + (K - 1)(D - 1); a receptive
field grows by (K_eff - 1) times the jump before the layer, and the jump by the stride (Dumoulin & Visin 2016, "A guide
to convolution arithmetic"; Araujo, Norris & Sim 2019, "Computing receptive fields").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toolkit.analysis.anatomy import Anatomy, LayerRow, Pair
from toolkit.errors import ConfigError, Problem, did_you_mean, listed
from toolkit.report.anatomy.cells import both, field_text, shape

_AXES = (("height", 0), ("width", 1))


def explain_layer(anatomy: Anatomy, name: str) -> list[str]:
    """Lines that derive every number of a layer. Raises ConfigError, with near names, for a name that is no layer's."""
    rows = {row.name: row for row in anatomy.layers}
    if name not in rows:
        raise ConfigError(Problem("--explain", f"no layer is called '{name}'", _near(name, list(rows))))
    row = rows[name]
    before = [rows[source] for source in row.sources if source in rows]
    lines = [f"{row.name}: {row.kind}" + (f", {row.count:,} times" if row.count > 1 else "")]
    lines.append(f"  input        {', '.join(shape(each) for each in row.inputs) or 'none'}")
    lines += [f"  {line}" for line in (*_sizes(row), *_fields(row, before), *_parameters(row), *_macs(row))]
    lines += [f"  {'from':<12} {', '.join(row.sources) or 'the image'}"]
    lines += [f"  {key:<12} {value}" for key, value in row.settings.items()]
    return lines


def _near(name: str, known: list[str]) -> str:
    inside = [each for each in known if name and name in each][:5]
    return f"did you mean {', '.join(inside)}?" if inside else did_you_mean(name, known)


# --------------------------------------------------------------------------- sizes


def _sizes(row: LayerRow) -> Iterator[str]:
    if row.output is None or not row.inputs:
        yield "output       none here: it runs only while training" if not row.runs else "output       as its parts say"
        return
    window = _window(row)
    if window is None:
        yield f"output       {shape(row.output)}{_why(row)}"
        return
    if row.kind == "transposed conv":
        yield "formula      W' = (W - 1) S - 2P + K_eff + output_padding, K_eff = K + (K - 1)(D - 1)"
    elif row.settings.get("ceil_mode"):
        yield "formula      W' = ceil((W - K_eff + 2P) / S) + 1, K_eff = K + (K - 1)(D - 1)"
    else:
        yield "formula      W' = floor((W - K_eff + 2P) / S) + 1, K_eff = K + (K - 1)(D - 1)"
    for axis, index in _AXES:
        yield f"{axis:<12} {_size(row, window, row.output[1 + index], index)}"
    yield f"output       {shape(row.output)}"


class _Window(NamedTuple):
    """Of a convolution or pooling, (height, width) each."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def reach(self, axis: int) -> int:
        """K_eff."""
        return self.kernel[axis] + (self.kernel[axis] - 1) * (self.dilation[axis] - 1)


def _window(row: LayerRow) -> _Window | None:
    if row.kernel is None or row.stride is None or row.padding is None or row.dilation is None:
        return None
    return _Window(row.kernel, row.stride, row.padding, row.dilation)


def _size(row: LayerRow, window: _Window, result: int, axis: int) -> str:
    kernel, stride, padding, dilation = (pair[axis] for pair in window)
    effective, length = window.reach(axis), row.inputs[0][1 + axis]
    start = f"K_eff = {kernel} + ({kernel} - 1)({dilation} - 1) = {effective}; "
    if row.kind == "transposed conv":
        extra = result - ((length - 1) * stride - 2 * padding + effective)
        return f"{start}({length} - 1) * {stride} - 2 * {padding} + {effective} + {extra} = {result}"
    word = "ceil" if row.settings.get("ceil_mode") else "floor"
    reach = length - effective + 2 * padding
    plain = (-(-reach // stride) if word == "ceil" else reach // stride) + 1
    dropped = (
        f" = {plain}; less the window that would start outside the image: {result}"
        if plain != result
        else f" = {result}"
    )
    return f"{start}{word}(({length} - {effective} + 2 * {padding}) / {stride}) + 1{dropped}"


def _why(row: LayerRow) -> str:
    cells = _cells(row)
    reasons = {
        "unpool": ": the size before the pooling whose maxima it puts back",
        "concat": f": the channels {' + '.join(str(each[0]) for each in row.inputs)} of maps of one size",
        "add": ": cell by cell, of maps of one size",
        "linear": f": every one of {row.inputs[0][0]:,} numbers to each output"
        + (", at every cell" if cells > 1 else ""),
        "multiply": ": number by number; a vector with one number a channel scales the whole map of that channel",
        "adaptive average pool": ": cell i of h is the mean of rows floor(i H / h) to ceil((i + 1) H / h) - 1, as for columns",
        "LRN": ": every number divided by a power of the squares of neighbouring channels in its own cell",
        "crop": ": cells at the edges are left away",
        "pad": ": cells are added at the edges",
        "RoI align": ": a grid over each proposal, each cell the mean of points read bilinearly from the map of its level",
        "RoI max pool": ": a grid over each proposal, each cell the maximum of the map's cells in it",
        "upsample": f": resized ({row.settings.get('mode', '')})",
        "global average pool": ": the mean of all cells",
    }
    return reasons.get(row.kind, "")


def _cells(row: LayerRow) -> int:
    """How many cells a linear layer is done at: 1 for a vector."""
    return row.output[1] * row.output[2] if row.output else 1


# --------------------------------------------------------------------------- receptive fields


def _fields(row: LayerRow, before: list[LayerRow]) -> Iterator[str]:
    if row.receptive_field is None:
        return
    if row.whole_image:
        yield "field        the whole image: the cell is pooled, flattened or a proposal"
        return
    known = [source for source in before if source.receptive_field is not None]
    window = _window(row)
    if window is not None and row.kind != "transposed conv" and len(before) == len(known) <= 1:
        yield "formula      r' = r + (K_eff - 1) j, j' = j S; r and j are the field and the jump before the layer"
        for axis, index in _AXES:
            yield f"{axis:<12} {_grown(window, row.receptive_field[index], known[0] if known else None, index)}"
    elif known:
        seen = listed((f"{source.name} {field_text(source)}" for source in known), 6)
        yield f"fields before {seen}"
        yield _joined(row)
    if row.position_dependent:
        yield f"by position  {both(row.receptive_field_min)} to {both(row.receptive_field)}: cells differ in what they see"
    if row.data_dependent:
        yield "upper bound  behind an unpooling only the cell that held a maximum sees anything"
    yield f"field        {field_text(row)}, jump {both(row.jump)}, centre of the first cell {both(row.centre)}"


def _grown(window: _Window, found: int, before: LayerRow | None, axis: int) -> str:
    effective, stride = window.reach(axis), window.stride[axis]
    field = before.receptive_field[axis] if before and before.receptive_field else 1
    jump = before.jump[axis] if before and before.jump else 1.0
    largest = field + (effective - 1) * jump
    sums = f"{field} + ({effective} - 1) * {jump:g}"
    if before is not None and before.position_dependent and largest != found:
        text = f"{sums} = {largest:g} at most; the window's cells, each with its own field, see {found} together"
    else:
        text = (
            f"{sums} = {found}"
            if largest == found
            else f"{sums} = {largest:g}; its cells see {found} together: their fields do not move in equal steps"
        )
    return f"{text}; jump {jump:g} * {stride} = {jump * stride:g}"


def _joined(row: LayerRow) -> str:
    if row.kind == "transposed conv" and row.kernel and row.stride:
        return (
            f"together     a cell takes from every input cell whose {both(row.kernel)} stamp, {both(row.stride)} apart, covers "
            f"it: {field_text(row)}; jump divided by {both(row.stride)}"
        )
    if len(row.inputs) > 1 and row.kind != "unpool":
        return f"together     what all of its inputs see: {field_text(row)} (the largest path decides)"
    return f"together     {field_text(row)}"


# --------------------------------------------------------------------------- costs


def _parameters(row: LayerRow) -> Iterator[str]:
    if not row.parameters:
        yield "parameters   0"
        return
    yield f"parameters   {_weights(row)}{row.parameters:,}"
    if row.trainable != row.parameters:
        yield f"trained      {row.trainable:,}"


def _weights(row: LayerRow) -> str:
    """The product that gives the count, "3 * 3 * 64 * 128 + 128 biases = ", or nothing where it does not."""
    if row.output is None or not row.inputs:
        return ""
    groups = int(row.settings.get("groups", 1))
    if row.kind in ("conv", "transposed conv") and row.kernel:
        factors = [*row.kernel, row.inputs[0][0], row.output[0]]
        product = row.kernel[0] * row.kernel[1] * row.inputs[0][0] * row.output[0] // groups
        shared = f" / {groups} groups" if groups > 1 else ""
    elif row.kind == "linear":
        factors = [row.inputs[0][0], row.output[0]]
        product, shared = factors[0] * factors[1], ""
    elif row.kind in ("batch norm", "group norm", "layer norm"):
        return f"{row.output[0]} scales + {row.output[0]} shifts = " if row.parameters == 2 * row.output[0] else ""
    else:
        return ""
    text = " * ".join(f"{factor:,}" for factor in factors) + shared
    bias = row.parameters - product
    if bias == row.output[0]:
        return f"{text} + {bias:,} biases = "
    return f"{text} = " if bias == 0 else ""


def _macs(row: LayerRow) -> Iterator[str]:
    if not row.macs:
        yield "MACs         0"
        return
    text = ""
    times = f" * {row.count:,} times" if row.count > 1 else ""
    if row.kind in ("conv", "transposed conv") and row.kernel and row.output and row.inputs:
        cells = row.inputs[0] if row.kind == "transposed conv" else row.output
        weights = row.kernel[0] * row.kernel[1] * row.inputs[0][0] * row.output[0] // int(row.settings.get("groups", 1))
        if weights * cells[1] * cells[2] * row.count == row.macs:
            where = "input" if row.kind == "transposed conv" else "output"
            text = f"{weights:,} weights * {cells[1]} * {cells[2]} {where} cells{times} = "
    elif row.kind == "linear" and row.output and row.macs % max(row.count, 1) == 0:
        cells_text = f" * {row.output[1]} * {row.output[2]} cells" if _cells(row) > 1 else ""
        text = f"{row.macs // row.count // _cells(row):,} weights{cells_text}{times} = "
    yield f"MACs         {text}{row.macs:,}"

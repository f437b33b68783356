"""What a model is made of: a row a layer, the parts and the maps between them, totals and memory. Data only.

`toolkit.analysis.describe` fills it, pages and tables read it. Pairs are (height, width), shapes [C, H, W]; a vector of
C numbers is [C, 1, 1]. Everything is for one image unless it says otherwise.

**Receptive field**: the image pixels that can change a cell, along each axis, as if the image went on beyond its
edges (padding takes nothing away). Where a layer joins several inputs it is what all of them see together.
**Jump**: image pixels between the centres of neighbouring cells. **Centre**: of what cell (0, 0) sees, in pixels, where
the centre of pixel (0, 0) is 0.0; a cell i is centred on `centre + i * jump` (on average, where the field depends on
the position). **MAC**: one multiply-add of a convolution, linear layer or matrix product; biases, normalisation,
activations and poolings are not counted, a transposed convolution costs a weight an input cell.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Pair = tuple[int, int]
FloatPair = tuple[float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class LayerRow:
    """One layer, as it was met on the way of an image.

    Args:
        name: name of the module (`backbone.stages.0.0.conv`), or of the module that called an operation and the
            operation (`neck.steps.0.concat`); a module met a second time is `head.rpn.conv#2`.
        kind: "conv", "transposed conv", "batch norm", "max pool", "unpool", "concat", "add", "upsample", "linear",
            "activation", "dropout" and the like.
        part: part of the model it belongs to: "backbone", "neck" or "head".
        inputs: shapes of what it reads; an input that is no map has none here.
        output: shape of what it gives, without the batch.
        kernel: (height, width) of its kernel, None where the layer has no such thing.
        stride: cells from one window to the next, (down, right), or None.
        padding: cells added at each edge, (top and bottom, left and right), or None.
        dilation: cells from one tap of the kernel to the next, or None.
        receptive_field: the largest of all positions, in image pixels; None for a layer that sees no pixels or never
            ran.
        receptive_field_min: the smallest receptive field of all positions, (height, width) in pixels.
        jump: image pixels from one cell of the output to the next, (down, right).
        centre: middle of what cell (0, 0) sees, in image pixels; None for an answer for the whole image.
        position_dependent: whether the receptive fields of its positions differ in size.
        data_dependent: whether what a position sees depends on the pixels (behind an unpooling).
        whole_image: whether every position sees the whole image.
        parameters: how many numbers of its own can be learnt.
        trainable: how many numbers of its own this training learns.
        macs: multiply-adds of all times it runs for an image.
        count: times it is done for an image (300 proposals, say).
        kept: bytes of activations that the layer's results keep for backward, of one image in float32; of a module that
            is met several times, all of them at the first.
        depth: convolutions and linear layers on the longest path up to and with this layer.
        sources: names of the rows its inputs come from; () is the image.
        runs: whether the layer was met on the way of the image at all.
        settings: further settings by name, such as groups or probability.
    """

    name: str
    kind: str
    part: str
    inputs: tuple[Shape, ...] = ()
    output: Shape | None = None
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: Pair | None = None
    dilation: Pair | None = None
    receptive_field: Pair | None = None
    receptive_field_min: Pair | None = None
    jump: FloatPair | None = None
    centre: FloatPair | None = None
    position_dependent: bool = False
    data_dependent: bool = False
    whole_image: bool = False
    parameters: int = 0
    trainable: int = 0
    macs: int = 0
    count: int = 1
    kept: int = 0
    depth: int = 0
    sources: tuple[str, ...] = ()
    runs: bool = True
    settings: dict[str, int | float | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class MapRow:
    """One map of a pyramid.

    Args:
        channels: number of channels of the map.
        stride: image pixels from one cell to the next.
        border: image pixels at each edge that the map does not cover.
        size: (height, width) of the map in cells.
        layer: name of the row that makes the map.
        receptive_field: (height, width) of what its cells see, in image pixels, or None.
        index_bytes: bytes of the pooling indices on the step from this map to the next coarser one, for one image; 0 is
            none.
    """

    channels: int
    stride: int
    border: int
    size: Pair
    layer: str
    receptive_field: Pair | None
    index_bytes: int = 0


@dataclass(frozen=True)
class Part:
    """Backbone, neck or head.

    Args:
        name: which of the three parts it is.
        kind: its registered name, or that of its class.
        spec: what its `PyramidSpec` says in words; "" for a head.
        maps: what it hands on, finest first; () for a head.
        parameters: sum over its rows, frozen ones included.
        trainable: sum over its rows of what is learnt.
        macs: multiply-adds of its rows for one image.
        output: names and shapes of what a head gives.
    """

    name: Literal["backbone", "neck", "head"]
    kind: str
    spec: str
    maps: tuple[MapRow, ...]
    parameters: int
    trainable: int
    macs: int
    output: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Kept:
    """Bytes that one layer keeps for backward (or holds alive)."""

    layer: str
    bytes: int


@dataclass(frozen=True)
class TrainingMemory:
    """Activations kept for backward by a batch of images in float32.

    Args:
        images: how many the batch holds.
        size: (height, width) of each image in pixels.
        bytes: what is kept of the whole batch.
        largest: the layers whose results keep most, the most first.
    """

    images: int
    size: Pair
    bytes: int
    largest: tuple[Kept, ...]


@dataclass(frozen=True)
class InferenceMemory:
    """Most bytes of activations alive at one moment of a forward pass without gradients.

    Args:
        images: how many the batch holds.
        size: (height, width) of each image in pixels.
        bytes: what is alive at the worst moment.
        layer: the name of the layer that runs at that moment.
        largest: the layers whose results take most of it, the most first.
    """

    images: int
    size: Pair
    bytes: int
    layer: str
    largest: tuple[Kept, ...]


@dataclass(frozen=True)
class Memory:
    """Memory of a model; activations are measured for one image and for the config's batch.

    Args:
        weights: bytes of all parameters and buffers.
        training: what a step keeps for backward, a batch size each.
        inference: what is alive in a forward pass, a batch size each.
    """

    weights: int
    training: tuple[TrainingMemory, ...]
    inference: tuple[InferenceMemory, ...]


@dataclass(frozen=True)
class Anatomy:
    """A model at one image size.

    Args:
        name: name of the model, that of its config.
        parameters: how many numbers can be learnt in all.
        trainable: those that this training learns (not the frozen ones).
        buffers: numbers that are kept but never learnt: running statistics, frozen batch norm, fixed bilinear kernels.
        macs: number of multiply-adds for one image.
        input: shape of the image, [C, H, W].
        output: shape of the output, [C, H, W]; of a detector its class logits [K, 1, 1] of one proposal.
        layers: every layer that was met, in the order of the image's way.
        parts: backbone, neck (where there is one) and head.
        memory: bytes of the weights, of training and of inference.
        receptive_field: (height, width) of what the output sees in image pixels, the largest of all positions.
        receptive_field_min: (height, width) of what the output sees in image pixels, the smallest of all positions.
        position_dependent: whether the positions of the output see differently much.
        classes: names of the labels 0..K-1, where known.
        notes: sentences on what was assumed, for the reader.
    """

    name: str
    parameters: int
    trainable: int
    buffers: int
    macs: int
    input: Shape
    output: Shape
    layers: tuple[LayerRow, ...]
    parts: tuple[Part, ...]
    memory: Memory
    receptive_field: Pair | None
    receptive_field_min: Pair | None
    position_dependent: bool
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def anatomy_json(anatomy: Anatomy) -> dict[str, Any]:
    """Sizes as [C, H, W]; kernel, stride, padding, dilation, receptive_field and jump as [h, w], null where there is none.

    `in` of a layer is the shape of its first input, `inputs` of all. Memory in bytes.
    """
    return {
        "name": anatomy.name,
        "parameters": anatomy.parameters,
        "trainable": anatomy.trainable,
        "buffers": anatomy.buffers,
        "macs": anatomy.macs,
        "input": list(anatomy.input),
        "output": list(anatomy.output),
        "receptive_field": _list(anatomy.receptive_field),
        "receptive_field_min": _list(anatomy.receptive_field_min),
        "position_dependent": anatomy.position_dependent,
        "classes": list(anatomy.classes),
        "notes": list(anatomy.notes),
        "layers": [_layer(row) for row in anatomy.layers],
        "parts": [dataclasses.asdict(part) for part in anatomy.parts],
        "memory": dataclasses.asdict(anatomy.memory),
    }


def _layer(row: LayerRow) -> dict[str, Any]:
    values = {name: _list(value) for name, value in vars(row).items() if name not in ("inputs", "output")}
    return {
        "name": values.pop("name"),
        "kind": values.pop("kind"),
        "in": list(row.inputs[0]) if row.inputs else None,
        "out": _list(row.output),
        **values,
        "inputs": [list(shape) for shape in row.inputs],
    }


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

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

    name: of the module (`backbone.stages.0.0.conv`), or of the module that called an operation and the operation
    (`neck.steps.0.concat`); a module met a second time is `head.rpn.conv#2`. kind: "conv", "transposed conv",
    "batch norm", "max pool", "unpool", "concat", "add", "upsample", "linear", "activation", "dropout" ...
    part: "backbone", "neck" or "head". sources: names of the rows its inputs come from; () is the image.
    inputs, output: shapes; an input that is no map has none here. count: times it is done for an image (300 proposals); shapes are
    of one, `macs` of all. depth: convolutions and linear layers on the longest path up to and with this layer.
    kernel, stride, padding, dilation: None where the layer has no such thing.
    receptive_field: the largest of all positions; None for a layer that sees no pixels or never ran.
    receptive_field_min: the smallest. position_dependent: whether they differ. data_dependent: whether an unpooling
    lies before, so that cells without a maximum are empty and the numbers are upper bounds.
    whole_image: whether the cell is an answer for the whole image (pooled, flattened, a proposal); then jump and
    centre are None.
    kept: bytes of activations that the layer's results keep for backward, of one image in float32; of a module that is
    met several times, all of them at the first.
    parameters, trainable: numbers of its own, counted where it is first met. runs: false for layers that only training
    uses (auxiliary classifiers); they have parameters, and neither sizes nor MACs here.
    settings: what `--explain` needs besides ("ceil_mode", "output_padding", "groups", "mode" ...).
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
    """One map of a pyramid. border: image pixels at each edge it does not cover. layer: the row that makes it.

    index_bytes: of the pooling indices on the step from this map to the next coarser one, for one image; 0: none.
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
    """Backbone, neck or head. kind: its registered name (or class). spec: `PyramidSpec.describe()`, "" for a head.

    maps: what it hands on, finest first; () for a head. output: shapes of what a head gives, by name.
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
    """Activations kept for backward by a batch of images in float32: `bytes` in all, and the layers that keep most.

    images: of the batch. size: of each, (height, width).
    """

    images: int
    size: Pair
    bytes: int
    largest: tuple[Kept, ...]


@dataclass(frozen=True)
class InferenceMemory:
    """Most bytes of activations alive at one moment of a forward pass without gradients; `layer`: when that is."""

    images: int
    size: Pair
    bytes: int
    layer: str
    largest: tuple[Kept, ...]


@dataclass(frozen=True)
class Memory:
    """weights: bytes of parameters and buffers. Activations are measured, for one image and for the config's batch."""

    weights: int
    training: tuple[TrainingMemory, ...]
    inference: tuple[InferenceMemory, ...]


@dataclass(frozen=True)
class Anatomy:
    """A model at one image size.

    parameters: numbers that can be learnt; trainable: those that this training learns (not the frozen ones).
    buffers: numbers that are kept but never learnt: running statistics, frozen batch norm, fixed bilinear kernels.
    input, output: [C, H, W]; output of a detector: its class logits [K, 1, 1] of one proposal.
    receptive_field, receptive_field_min: of the output. notes: sentences on what was assumed.
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

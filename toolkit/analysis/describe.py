"""A model's anatomy: its layers, parts, totals and memory, from one pass that is watched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from toolkit.analysis.anatomy import (
    Anatomy,
    InferenceMemory,
    LayerRow,
    MapRow,
    Memory,
    Pair,
    Part,
    TrainingMemory,
)
from toolkit.analysis.memory import MemoryUse, kept_for_backward, most_alive, without_numbers
from toolkit.analysis.trace import Trace, is_fixed_kernel
from toolkit.contracts import FeaturePyramid
from toolkit.errors import ImageSizeError, Problem, listed
from toolkit.layers.recomputed import Recomputed
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import check_size

PartName = Literal["backbone", "neck", "head"]
LARGEST = 10
"""Layers that a memory names."""


def describe(
    model: VisionModel, size: Pair, *, batch_size: int = 1, name: str = "", kinds: Sequence[str] = ("", "", "")
) -> Anatomy:
    """The anatomy of a model for images of one size: layers, receptive fields, parameters, multiply-adds, memory.

    Nothing is computed: the model is copied to the meta device, without its numbers, and stays as it is. Activations of
    training are those that a step's forward pass, losses included, keeps for backward, in float32 (see
    `analysis/memory.py` for what counts), fewer where the model computes units again (`train.recompute`).
    Raises ImageSizeError, naming the nearest legal sizes, for a size that the model would mirror up to a legal one, unless
    the net covers it all the same, and for one that does not pass through.

    Args:
        model: the model, on any device, in training mode or not, compiled or not yet run.
        size: (height, width) of the images in pixels, a legal size.
        batch_size: images of the batch whose memory is measured beside that of one.
        name: name of the model for the report.
        kinds: registered names of backbone, neck and head.
    """
    if min(size) < 1:
        raise ImageSizeError(Problem("size", f"{size[0]}x{size[1]} is no image size", "write HEIGHTxWIDTH, 360x480"))
    copied = without_numbers(model).eval()
    try:
        with torch.device("meta"):  # what parts make without saying where, too
            seen = _passed(copied, size)
    except RuntimeError as error:  # a kernel larger than what is left of the image, maps that do not meet
        check_size(size, model.spec.sizes)
        reason = str(error).strip().splitlines()[0]
        message = f"images of {size[0]}x{size[1]} do not pass through the model ({reason})"
        raise ImageSizeError(Problem("size", message, "give a larger size")) from error
    if describable_size(model, size) != size and not _covers(seen.pyramids, size):
        check_size(size, model.spec.sizes)
    with torch.device("meta"):
        return _anatomy(copied, size, seen, batch_size, name, kinds)


class _Pass(NamedTuple):
    """One traced pass of one image. pyramids: what backbone and neck gave, by their names."""

    trace: Trace
    output: Any
    pyramids: dict[str, FeaturePyramid]


def _passed(model: VisionModel, size: Pair) -> _Pass:
    """An image of exactly this size through the model: `forward` would mirror some sizes up to the next legal one."""
    images = _images(model, 1, size)
    pyramids: dict[str, FeaturePyramid] = {}
    trace = Trace(model)
    with trace.of(images):
        pyramid = pyramids["backbone"] = model.backbone(model.normalise(images))
        if model.neck is not None:
            pyramid = pyramids["neck"] = model.neck(pyramid)
        output = model.head(pyramid)
    return _Pass(trace, output, pyramids)


def _covers(pyramids: Mapping[str, FeaturePyramid], size: Pair) -> bool:
    """Whether no map loses the image's last rows or columns to rounding."""
    return all(
        cells == -(-(n - 2 * border) // stride)
        for pyramid in pyramids.values()
        for one, stride, border in zip(pyramid.maps, pyramid.spec.strides, pyramid.spec.borders, strict=True)
        for cells, n in zip(one.shape[2:], size, strict=True)
    )


def _anatomy(model: VisionModel, size: Pair, seen: _Pass, batch_size: int, name: str, kinds: Sequence[str]) -> Anatomy:
    memory, kept = _memory(model, size, sorted({1, batch_size}))
    rows = tuple(replace(row, kept=kept.get(row.name, 0)) for row in seen.trace.rows())
    last = _last_row(seen, rows)
    fixed = sum(p.numel() for m in model.modules() if is_fixed_kernel(m) for p in m.parameters(recurse=False))
    return Anatomy(
        name=name,
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.trainable for row in rows),
        buffers=sum(buffer.numel() for buffer in model.buffers()) + fixed,
        macs=sum(row.macs for row in rows),
        input=(model.in_channels, *size),
        output=last.output or (model.num_classes, 1, 1),
        layers=rows,
        parts=tuple(_parts(model, seen, rows, kinds)),
        memory=memory,
        receptive_field=last.receptive_field,
        receptive_field_min=last.receptive_field_min,
        position_dependent=last.position_dependent,
        classes=model.classes,
        notes=tuple(_notes(model, size, rows, last, memory, seen.trace.guessed)),
    )


def _last_row(seen: _Pass, rows: Sequence[LayerRow]) -> LayerRow:
    """The row that makes the answer: of a detector's several outputs, its class logits."""
    logits = getattr(seen.output, "class_logits", seen.output)
    name = seen.trace.layer_of(logits) if isinstance(logits, Tensor) else ""
    named = {row.name: row for row in rows}
    return named[name] if name in named else [row for row in rows if row.runs][-1]


def _parts(model: VisionModel, seen: _Pass, rows: Sequence[LayerRow], kinds: Sequence[str]) -> Iterator[Part]:
    names: tuple[PartName, ...] = ("backbone", "neck", "head")
    for name, kind in zip(names, kinds, strict=True):
        module = getattr(model, name)
        if module is None:
            continue
        own = [row for row in rows if row.part == name]
        yield Part(
            name,
            kind or type(module).__name__,
            module.spec.describe() if name != "head" else "",
            _maps(seen, name, rows),
            sum(row.parameters for row in own),
            sum(row.trainable for row in own),
            sum(row.macs for row in own),
            tuple(_outputs(seen.output)) if name == "head" else (),
        )


def _maps(seen: _Pass, part: str, rows: Sequence[LayerRow]) -> tuple[MapRow, ...]:
    pyramid = seen.pyramids.get(part)
    if pyramid is None:
        return ()
    spec, fields = pyramid.spec, {row.name: row.receptive_field for row in rows}
    maps = []
    for place, tensor in enumerate(pyramid.maps):
        layer = seen.trace.layer_of(tensor)
        pooled = pyramid.pools[place].codes if place < len(pyramid.pools) else None
        size, indices = (tensor.shape[2], tensor.shape[3]), 0 if pooled is None else pooled.untyped_storage().nbytes()
        stride, border = spec.strides[place], spec.borders[place]
        maps.append(MapRow(tensor.shape[1], stride, border, size, layer, fields.get(layer), indices))
    return tuple(maps)


def _memory(model: VisionModel, size: Pair, batches: Sequence[int]) -> tuple[Memory, dict[str, int]]:
    """The memory of batches, and by layer the bytes that one image keeps for backward."""
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    inference = []
    for number in batches:
        most = most_alive(model, _images(model, number, size), lambda images: model.head(model.pyramid(images)))
        inference.append(InferenceMemory(number, size, most.bytes, most.layer, most.by_layer[:LARGEST]))
    model.train()
    training, by_layer = [], dict[str, int]()
    for number in batches:
        kept = _kept(model, _images(model, number, size))
        if kept is not None:
            training.append(TrainingMemory(number, size, kept.bytes, kept.by_layer[:LARGEST]))
            by_layer = by_layer or {each.layer: each.bytes // number for each in kept.by_layer}
    model.eval()
    return Memory(weights, tuple(training), tuple(inference)), by_layer


def _kept(model: VisionModel, images: Tensor) -> MemoryUse | None:
    """None where the model cannot be trained with so few images: batch statistics of a single number."""
    try:
        return kept_for_backward(model, images, lambda images: model.head.training_pass(model.pyramid(images)))
    except ValueError:
        return None


def _images(model: VisionModel, number: int, size: Pair) -> Tensor:
    return torch.zeros((number, model.in_channels, *size), dtype=torch.uint8, device="meta")


def _notes(
    model: VisionModel, size: Pair, rows: Sequence[LayerRow], last: LayerRow, memory: Memory, guessed: Collection[str]
) -> Iterator[str]:
    proposals = [row.count for row in rows if row.kind.startswith("RoI")]
    if proposals:
        yield f"the box head is counted for {proposals[0]:,} proposals, as many as a prediction takes at most"
    if last.data_dependent:
        yield "behind an unpooling a receptive field is an upper bound: cells without a maximum are empty"
    idle = [row for row in rows if not row.runs]
    if idle:
        count = sum(row.parameters for row in idle)
        yield f"{count:,} parameters take no part in a prediction: {listed((row.name for row in idle), 3)}"
    legal = describable_size(model, size)
    if legal != size:
        yield f"`forward` would mirror these images up to {legal[0]}x{legal[1]}; described is the net on them as they are"
    missing = sorted({row.images for row in memory.inference} - {row.images for row in memory.training})
    if missing:
        yield f"no memory of training for {listed(missing)} image(s): batch statistics of a single number are none"
    recomputed = sum(isinstance(module, Recomputed) for module in model.modules())
    if recomputed:
        yield f"of {recomputed} units or blocks only the inputs are kept for backward: `train.recompute` computes them again"
    if guessed and not last.whole_image:
        yield f"receptive fields are guessed behind: {', '.join(sorted(guessed))}"


def _outputs(output: Any) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape) of what a head gives, without the dimension of the batch for one tensor."""
    if isinstance(output, Tensor):
        return [("logits", tuple(output.shape[1:]))]
    fields = output._asdict() if hasattr(output, "_asdict") else dict(enumerate(output))
    return [(str(name), tuple(value.shape)) for name, value in fields.items() if isinstance(value, Tensor)]


def describable_size(model: VisionModel, size: Pair) -> Pair:
    """The next legal size, for a size that nobody asked for."""
    rule = model.spec.sizes
    return rule.next_legal(size[0]), rule.next_legal(size[1])

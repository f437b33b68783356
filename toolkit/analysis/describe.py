"""A model's anatomy: its layers, parts, totals and memory, from one pass that is watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

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
from toolkit.analysis.memory import kept_for_backward, most_alive
from toolkit.analysis.trace import Trace, is_fixed_kernel
from toolkit.contracts import FeaturePyramid
from toolkit.errors import ImageSizeError, Problem
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import check_size

PartName = Literal["backbone", "neck", "head"]


def describe(
    model: VisionModel, size: Pair, *, batch_size: int = 1, name: str = "", kinds: Sequence[str] = ("", "", "")
) -> Anatomy:
    """The anatomy of a model for images of `size`, (height, width), a legal one.

    The model may lie on the meta device (then nothing is computed) or anywhere else; its training flags are put back.
    batch_size: for the memory, measured for one image and for so many. kinds: names of backbone, neck and head.
    Activations of training are those that a step's forward pass, losses included, keeps for backward, in float32 (see
    `analysis/memory.py` for what counts). Raises ImageSizeError naming the nearest legal sizes for any other size.
    """
    if min(size) < 1:
        raise ImageSizeError(Problem("size", f"{size[0]}x{size[1]} is no image size", "write HEIGHTxWIDTH, 360x480"))
    check_size(size, model.spec.sizes)
    flags = {module: module.training for module in model.modules()}
    try:
        return _Description(model, size).anatomy(batch_size, name, kinds)
    finally:
        for module, training in flags.items():
            module.training = training


class _Description:
    """One traced pass of one image."""

    def __init__(self, model: VisionModel, size: Pair) -> None:
        self.model = model.eval()
        self.size = size
        images = self._images(1)
        pyramids: dict[str, FeaturePyramid] = {}
        handles = [
            module.register_forward_hook(lambda _m, _i, out, part=part: pyramids.update({part: out}))
            for part, module in (("backbone", model.backbone), ("neck", model.neck))
            if module is not None
        ]
        self.trace = Trace(model)
        try:
            with self.trace.of(images):
                self.output = model(images)
        except RuntimeError as error:  # a kernel larger than what is left of the image, and the like
            reason = str(error).strip().splitlines()[0]
            message = f"images of {size[0]}x{size[1]} do not pass through the model ({reason})"
            raise ImageSizeError(Problem("size", message, "give a larger size")) from error
        finally:
            for handle in handles:
                handle.remove()
        self.rows = self.trace.rows()
        self.pyramids = pyramids

    def anatomy(self, batch_size: int, name: str, kinds: Sequence[str]) -> Anatomy:
        model, rows = self.model, self.rows
        last = self._last_row()
        fixed = sum(p.numel() for m in model.modules() if is_fixed_kernel(m) for p in m.parameters(recurse=False))
        return Anatomy(
            name=name,
            parameters=sum(row.parameters for row in rows),
            trainable=sum(row.trainable for row in rows),
            buffers=sum(buffer.numel() for buffer in model.buffers()) + fixed,
            macs=sum(row.macs for row in rows),
            input=(model.in_channels, *self.size),
            output=last.output or (model.num_classes, 1, 1),
            layers=rows,
            parts=self._parts(kinds),
            memory=self._memory(sorted({1, batch_size})),
            receptive_field=last.receptive_field,
            receptive_field_min=last.receptive_field_min,
            position_dependent=last.position_dependent,
            classes=model.classes,
            notes=tuple(self._notes(last)),
        )

    def _last_row(self) -> LayerRow:
        """The row that makes the answer: of a detector's several outputs, its class logits."""
        logits = getattr(self.output, "class_logits", self.output)
        name = self.trace.layer_of(logits) if isinstance(logits, Tensor) else ""
        rows = {row.name: row for row in self.rows}
        return rows[name] if name in rows else [row for row in self.rows if row.runs][-1]

    def _parts(self, kinds: Sequence[str]) -> tuple[Part, ...]:
        names: tuple[PartName, ...] = ("backbone", "neck", "head")
        parts = []
        for name, kind in zip(names, kinds, strict=True):
            module = getattr(self.model, name)
            if module is None:
                continue
            own = [row for row in self.rows if row.part == name]
            spec = module.spec.describe() if name != "head" else ""
            parts.append(
                Part(
                    name,
                    kind or type(module).__name__,
                    spec,
                    self._maps(name),
                    sum(row.parameters for row in own),
                    sum(row.trainable for row in own),
                    sum(row.macs for row in own),
                    tuple(_outputs(self.output)) if name == "head" else (),
                )
            )
        return tuple(parts)

    def _maps(self, part: str) -> tuple[MapRow, ...]:
        pyramid = self.pyramids.get(part)
        if pyramid is None:
            return ()
        spec, rows = pyramid.spec, {row.name: row for row in self.rows}
        maps = []
        for place, tensor in enumerate(pyramid.maps):
            layer = self.trace.layer_of(tensor)
            pooled = pyramid.pools[place].codes if place < len(pyramid.pools) else None
            maps.append(
                MapRow(
                    tensor.shape[1],
                    spec.strides[place],
                    spec.borders[place],
                    (tensor.shape[2], tensor.shape[3]),
                    layer,
                    rows[layer].receptive_field if layer in rows else None,
                    0 if pooled is None else pooled.untyped_storage().nbytes(),
                )
            )
        return tuple(maps)

    def _memory(self, batches: Sequence[int]) -> Memory:
        model = self.model
        weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        inference = []
        for number in batches:
            held = most_alive(model, self._images(number), model)
            inference.append(InferenceMemory(number, self.size, held.bytes, held.layer, held.largest))
        model.train()
        training = [kept for number in batches if (kept := self._kept(number)) is not None]
        model.eval()
        return Memory(weights, tuple(training), tuple(inference))

    def _kept(self, number: int) -> TrainingMemory | None:
        """None where the model cannot be trained with so few images: batch statistics of a single number."""
        try:
            held = kept_for_backward(
                self.model,
                self._images(number),
                lambda images: self.model.head.training_pass(self.model.pyramid(images)),
            )
        except ValueError:
            return None
        return TrainingMemory(number, self.size, held.bytes, held.largest)

    def _training_pass(self, images: Tensor) -> Any:
        return self.model.head.training_pass(self.model.pyramid(images))

    def _images(self, number: int) -> Tensor:
        shape = (number, self.model.in_channels, *self.size)
        return torch.zeros(shape, dtype=torch.uint8, device=self.model.pixel_scale.device)

    def _notes(self, last: LayerRow) -> list[str]:
        notes = []
        proposals = [row.count for row in self.rows if row.kind.startswith("RoI")]
        if proposals:
            notes.append(
                f"the box head is counted for {proposals[0]:,} proposals, as many as a prediction takes at most"
            )
        if last.data_dependent:
            notes.append("behind an unpooling a receptive field is an upper bound: cells without a maximum are empty")
        idle = [row for row in self.rows if not row.runs]
        if idle:
            count = sum(row.parameters for row in idle)
            names = ", ".join(row.name for row in idle[:3]) + (" ..." if len(idle) > 3 else "")
            notes.append(f"{count:,} parameters take no part in a prediction: {names}")
        if self.trace.guessed and not last.whole_image:
            notes.append(f"receptive fields are guessed behind: {', '.join(sorted(self.trace.guessed))}")
        return notes


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

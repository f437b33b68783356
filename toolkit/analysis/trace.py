"""A model's layers in the order an image meets them, with what each of their cells sees.

The forward pass is run once, on the meta device if the model lies there, and every tensor operation is watched below
PyTorch's own functions (`TorchDispatchMode`): what comes from where is what was computed, not what modules are called.
Hooks tell which module an operation belongs to. A module without children is one layer; an operation that a module
with children does itself (a concatenation, an addition) is one too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from toolkit.analysis.anatomy import FloatPair, LayerRow, Shape
from toolkit.analysis.fields import BLANK, Field, Known, field_of
from toolkit.analysis.operations import JOINING, Operation, kind_of_module, operation_of
from toolkit.analysis.spans import Span, extent
from toolkit.analysis.windows import unpooled

PARTS = ("backbone", "neck", "head")


@dataclass
class _Visit:
    """A module that is being run."""

    path: str
    module: nn.Module
    leaf: bool
    inputs: list[tuple[Tensor, Shape, Field]] = field(default_factory=list)
    met: list[Operation] = field(default_factory=list)


@dataclass
class _Draft:
    """A row before its name is known; `sources` are places in the list of drafts."""

    path: str
    label: str
    row: LayerRow
    sources: tuple[int, ...]
    output: int


class Trace(TorchDispatchMode):
    """Rows of one forward pass.

    >>> model, images = nn.Sequential(nn.Conv2d(3, 8, 5)), torch.zeros(1, 3, 9, 9)
    >>> with Trace(model).of(images) as trace:
    ...     _ = model(images)
    >>> trace.rows()[0].receptive_field
    (5, 5)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.guessed: set[str] = set()
        """Operations whose field was guessed."""
        self._fields: Any = WeakIdKeyDictionary()
        self._owners = {id(p): (path, p) for path, p in reversed(list(model.named_parameters()))}
        self._counted: set[int] = set()
        self._visits: list[_Visit] = []
        self._drafts: list[_Draft] = []
        self._visited: set[str] = set()
        self._part_outputs: dict[str, Any] = {}

    @contextmanager
    def of(self, images: Tensor) -> Iterator[Trace]:
        """Watches the passes of `images` (1, C, H, W) that are made inside the block, without gradients."""
        height, width = images.shape[-2:]
        self._fields[images] = Field(Span.of_image(2, height), Span.of_image(3, width))
        handles = []
        for path, module in self.model.named_modules():
            leaf = next(module.children(), None) is None
            handles.append(module.register_forward_pre_hook(self._entering(path, leaf), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leaving, with_kwargs=True, always_call=True))
        try:
            with torch.no_grad(), self:
                yield self
        finally:
            for handle in handles:
                handle.remove()

    def field(self, tensor: Tensor) -> Field | None:
        """What a tensor of the pass sees; None when it does not depend on the image."""
        found: Field | None = self._fields.get(tensor)
        return found

    def layer_of(self, tensor: Tensor) -> str:
        """Name of the layer that made a tensor, "" for none."""
        known = self.field(tensor)
        return self._names()[known.sources[-1]] if known is not None and known.sources else ""

    # ----------------------------------------------------------------- modules

    def _entering(self, path: str, leaf: bool) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            visit = _Visit(path, module, leaf)
            if leaf:
                known = [(t, f) for t in _tensors((args, kwargs)) if (f := self.field(t)) is not None]
                visit.inputs = [(t, shape_of(t, f), f) for t, f in known]
            self._visits.append(visit)
            self._visited.add(path)

        return hook

    def _leaving(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        visit = self._visits.pop()
        if not visit.leaf or isinstance(module, nn.Identity) or not visit.inputs:
            return
        outputs = [t for t in _tensors(output) if self.field(t) is not None]
        kind = kind_of_module(module, visit.met)
        if not outputs or (kind == "dropout" and not getattr(module, "p", 1.0)):
            return
        settings = {"p": float(getattr(module, "p", 0.5))} if kind == "dropout" else {}
        if kind == "unpool":
            tensor, _, known = visit.inputs[0]
            self._fields[outputs[0]] = unpooled(tensor, known, outputs[0])
        geometry = max(visit.met, key=lambda operation: (operation.macs, operation.kernel is not None), default=None)
        operation = geometry or Operation(kind)
        operation = operation._replace(
            kind=kind,
            settings={**operation.settings, **settings},
            macs=sum(each.macs for each in visit.met),
        )
        owned = [p for p in module.parameters() if id(p) in self._owners]
        self._add(visit.path, "", operation, visit.inputs, outputs, owned)

    # ----------------------------------------------------------------- operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and notes what its results see."""
        kwargs = kwargs or {}
        known: Known = [(t, f) for t in _tensors((args, kwargs)) if (f := self._fields.get(t)) is not None]
        output = func(*args, **kwargs)
        if known:
            self._note(func, known, args, kwargs, output)
        return output

    def _note(self, func: Any, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        name = func._schema.name.split("::")[-1]
        plain = name[:-1] if name.endswith("_") and func._schema.is_mutable else name
        if plain in BLANK:
            return
        shapes = [(t, shape_of(t, f), f) for t, f in known]
        outputs = [t for t in _tensors(output) if isinstance(t, Tensor)]
        for tensor in outputs:
            found = field_of(plain, torch.Tag.pointwise in func.tags, known, args, kwargs, tensor)
            if not found.exact and all(f.exact for _, f in known):
                self.guessed.add(plain)
            self._fields[tensor] = found
        if not outputs:
            return
        operation = operation_of(plain, args, outputs[0])
        visit = self._visits[-1] if self._visits else None
        if visit is not None and visit.leaf:
            if operation.kind:
                visit.met.append(operation)
        elif operation.kind and self._is_layer(operation, known, outputs[0]):
            used = [t for t in _tensors((args, kwargs)) if id(t) in self._owners]
            self._add(visit.path if visit else "", operation.kind, operation, shapes, outputs[:1], used)

    def _is_layer(self, operation: Operation, known: Known, output: Tensor) -> bool:
        if not output.is_floating_point():
            return False
        before, after = known[0][1], self._fields[output]
        if operation.kind in JOINING:  # lists of cells, of anchors say, put one behind the other are no layer
            return len(known) > 1 and output.numel() > 0 and after.answers_whole == before.answers_whole
        if operation.kind in ("crop", "pad", "subsample"):
            return (before.y, before.x) != (after.y, after.x) and before.y.size * before.x.size > 1
        if operation.kind.startswith("global"):
            return after.answers_whole and not before.answers_whole
        return True

    # ----------------------------------------------------------------- rows

    def _add(
        self,
        path: str,
        label: str,
        operation: Operation,
        inputs: list[tuple[Tensor, Shape, Field]],
        outputs: list[Tensor],
        parameters: Sequence[Tensor],
    ) -> None:
        result = outputs[0]
        found = self._fields[result]
        sources = tuple(dict.fromkeys(source for _, _, known in inputs for source in known.sources))
        fresh = [p for p in parameters if id(p) not in self._counted]
        self._counted.update(id(p) for p in fresh)
        row = LayerRow(
            name="",
            kind=operation.kind,
            part=path.split(".")[0] if path.split(".")[0] in PARTS else "",
            inputs=tuple(shape for _, shape, _ in inputs),
            output=shape_of(result, found),
            kernel=operation.kernel,
            stride=operation.stride,
            padding=operation.padding,
            dilation=operation.dilation,
            parameters=sum(p.numel() for p in fresh if not self._is_fixed(p)),
            trainable=sum(p.numel() for p in fresh if p.requires_grad),
            macs=operation.macs,
            count=result.shape[0] if result.ndim != 3 or found.answers_whole else 1,
            depth=found.depth,
            settings=dict(operation.settings),
            **_seen(found),
        )
        place = len(self._drafts)
        if self._continues(path, label, sources):
            place -= 1
            last = self._drafts[place]
            row = replace(row, inputs=last.row.inputs)
            self._drafts[place] = _Draft(path, label, row, last.sources, id(result))
        else:
            self._drafts.append(_Draft(path, label, row, sources, id(result)))
        for tensor in outputs:
            self._fields[tensor] = replace(self._fields[tensor], sources=(place,))

    def _continues(self, path: str, label: str, sources: tuple[int, ...]) -> bool:
        """Whether this is the second axis of a crop whose first axis was the last row."""
        if label not in ("crop", "subsample") or not self._drafts:
            return False
        last = self._drafts[-1]
        return (last.path, last.label) == (path, label) and sources == (len(self._drafts) - 1,)

    def _is_fixed(self, parameter: Tensor) -> bool:
        path, _ = self._owners[id(parameter)]
        return is_fixed_kernel(self.model.get_submodule(path.rpartition(".")[0]))

    def _names(self) -> list[str]:
        """A name a draft: the module's, with #2 ... when it is met again; of operations the caller's and the kind."""
        bases = [
            d.path if not d.label else ".".join(filter(None, (d.path, d.label.replace(" ", "_")))) for d in self._drafts
        ]
        total, met = Counter(bases), Counter[str]()
        names = []
        for base, draft in zip(bases, self._drafts, strict=True):
            met[base] += 1
            number = met[base]
            if total[base] == 1 or (not draft.label and number == 1):
                names.append(base)
            else:
                names.append(f"{base}{number}" if draft.label else f"{base}#{number}")
        return names

    def rows(self) -> tuple[LayerRow, ...]:
        """One a layer, in order; last those with parameters that did not run."""
        names = self._names()
        rows = [
            replace(draft.row, name=name, sources=tuple(names[source] for source in draft.sources))
            for name, draft in zip(names, self._drafts, strict=True)
        ]
        return (*rows, *self._unmet())

    def _unmet(self) -> Iterator[LayerRow]:
        for path, module in self.model.named_modules():
            left = [p for p in module.parameters(recurse=False) if id(p) not in self._counted]
            self._counted.update(id(p) for p in left)
            numbers = sum(p.numel() for p in left if not self._is_fixed(p))
            if numbers:
                runs = any(met == path or met.startswith(f"{path}.") for met in self._visited)
                kind = "parameters" if runs else _class_kind(module)
                part = path.split(".")[0]
                trainable = sum(p.numel() for p in left if p.requires_grad)
                part = part if part in PARTS else ""
                yield LayerRow(path, kind, part, parameters=numbers, trainable=trainable, runs=runs)


def is_fixed_kernel(module: nn.Module) -> bool:
    """Whether a layer's kernel is part of the design and never learnt: bilinear upsampling, a channel by itself."""
    if not isinstance(module, nn.ConvTranspose2d) or module.bias is not None or module.weight.requires_grad:
        return False
    return module.groups == module.in_channels == module.out_channels


def _class_kind(module: nn.Module) -> str:
    names = {nn.Conv2d: "conv", nn.ConvTranspose2d: "transposed conv", nn.Linear: "linear"}
    return names.get(type(module)) or kind_of_module(module, [])


def shape_of(tensor: Tensor, known: Field) -> Shape:
    """[C, H, W] of one image's tensor, wherever its channels stand; tokens (1, L, C) are [C, L, 1]."""
    shape = tuple(tensor.shape)
    if tensor.ndim == 4:
        if known.y.dim == 1 and known.x.dim == 2:
            return shape[3], shape[1], shape[2]
        return shape[1], shape[2], shape[3]
    if tensor.ndim == 3:
        return shape[2], shape[1], 1
    if tensor.ndim > 4:
        return shape[-3], shape[-2], shape[-1]
    return (shape[-1] if shape else 1), 1, 1


def _seen(known: Field) -> dict[str, Any]:
    """What a row says of its output's field."""
    y, x = extent(known.y), extent(known.x)
    jump: FloatPair | None = None
    centre: FloatPair | None = None
    if not known.answers_whole and known.y.jump is not None and known.x.jump is not None:
        jump, centre = (float(known.y.jump), float(known.x.jump)), (y.centre, x.centre)
    return {
        "receptive_field": (y.largest, x.largest),
        "receptive_field_min": (y.smallest, x.smallest),
        "position_dependent": y.largest != y.smallest or x.largest != x.smallest,
        "data_dependent": known.data_dependent,
        "whole_image": known.answers_whole,
        "jump": jump,
        "centre": centre,
    }


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif hasattr(value, "__dataclass_fields__"):
        yield from _tensors(tuple(vars(value).values()))

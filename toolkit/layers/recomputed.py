"""Modules whose insides are computed again in backward instead of being kept (activation checkpointing).

Of a unit (convolution, norm, activation) one map is kept instead of two; of a block of units only the input. Chen et
al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174). Outputs, gradients and running statistics
are those of the ordinary net, to the bit: the second pass sees the same random numbers and leaves batch statistics alone.

Units in a row are cut behind their convolutions: convolution | norm, activation, convolution | ... Of each piece its
input is kept, and norm and activation are done again, which is cheap; a convolution at the end of a piece is not,
because nothing inside needs what it gives. The last convolution gets a cut only where it has many channels: where they
are few, as in the large maps of a net's first stages, it is done again for a small part of a step's time, and what it
gives need not be kept. What stands before a row, and is cheap, is done again with it (`after`): of an unpooling the small
map is kept, and not the large one that it fills with zeros.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from toolkit.layers.conv import ConvNormAct

Recompute = Literal["none", "units", "blocks"]

_WEIGHTED = (_ConvNd, nn.Linear)
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid)
_CHEAP = 9 * 128
"""Products for a number of the output up to which a row's last convolution is done again: a 3x3 kernel of 128 channels."""
_LONG = 4
"""Norms beyond which a flat sequence is a whole net: as one block it would need everything at once in backward."""


class Recomputed(nn.Module):
    """Mixed into a module's class by `recompute`: its forward, of which less is kept for backward.

    row: whether it is a sequence of units to be cut into pieces, or computed again in one piece.
    """

    row: bool

    def forward(self, *args: Any, before: Callable[[Tensor], Tensor] | None = None, **named: Any) -> Any:
        """What the module's own forward gives.

        Args:
            args: of the module's own forward.
            before: done first to the only one of them, and again in backward (`after`).
            named: of the module's own forward.
        """
        inner: Callable[..., Any] = super().forward
        if before is not None:
            inner = _through([before, inner])
        if not torch.is_grad_enabled() or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return inner(*args, **named)
        if not self.row:
            return _again(inner, [self], *args, **named)
        (x,) = args
        for number, piece in enumerate(_pieces(_layers(self))):
            first = [before] if before is not None and number == 0 else []
            call = _through([*first, *piece])
            x = _again(call, piece, x) if first or any(isinstance(m, _NORMS) for m in piece) else call(x)
        return x


def after(before: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> Any:
    """`module(before(x))`; where the module's insides are computed again in backward, so is what stands before it.

    Args:
        before: a function of a map, cheap, without random numbers and weights.
        module: any module, which takes what `before` gives.
        x: (N, C, H, W), which is kept in place of `before(x)`.
    """
    return module(x, before=before) if isinstance(module, Recomputed) else module(before(x))


def recompute(net: nn.Module, level: Recompute) -> int:
    """Makes the units or blocks of a net compute their insides again, in place; returns how many there are.

    Names, parameters and buffers stay as they are. "units": rows of our own units, and the smallest other modules that
    hold a norm together with a convolution or linear layer: residual blocks of torchvision and timm, layers of a
    transformer; these are computed again as a whole. "blocks": the smallest modules of several units (stages, levels),
    and units that stand alone; a unit without norm counts here (alone it would keep as much as it saves).
    """
    if level == "none":
        return 0
    chosen = _units(net, normed=True, rows=True) if level == "units" else _blocks(net)
    for module in chosen:
        if not isinstance(module, Recomputed):
            row = _is_row(module) and (level == "units" or _norms_in(module) > _LONG)
            module.__class__ = _with_recomputation(type(module), row)  # type: ignore[arg-type]
    return len(chosen)


def _units(module: nn.Module, normed: bool, rows: bool = False) -> list[nn.Module]:
    """The units below a module, or itself: a residual block with one unit in its shortcut is a unit.

    normed: only those with a norm. rows: a sequence of units instead of each of them.
    """
    if rows and _is_row(module):
        return [module]
    below = [unit for child in module.children() for unit in _units(child, normed, rows)]
    mark = _NORMS if normed else (*_NORMS, *_ACTIVATIONS)
    own = any(isinstance(child, mark) for child in module.children())
    if own and len(below) <= 1 and _called(module) and any(isinstance(m, _WEIGHTED) for m in module.modules()):
        return [module]
    return below


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers of a sequence, in order, our units taken apart; a layer of another kind is one."""
    if isinstance(module, ConvNormAct):
        return [module.conv, module.norm, module.activation]
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _layers(child)]
    return [module]


def _is_row(module: nn.Module) -> bool:
    """Whether a module is nothing but layers in a row, with a norm behind a convolution or linear layer."""
    own = type(module).forward
    if own not in (nn.Sequential.forward, ConvNormAct.forward, Recomputed.forward):
        return False
    layers = _layers(module)
    if any(True for layer in layers for _ in layer.children()):
        return False
    kinds = ["weighted" if isinstance(x, _WEIGHTED) else "norm" for x in layers if isinstance(x, (*_WEIGHTED, *_NORMS))]
    return "norm" in kinds[1:] and kinds[0] == "weighted"


def _norms_in(module: nn.Module) -> int:
    return sum(isinstance(layer, _NORMS) for layer in module.children())


def _blocks(module: nn.Module) -> list[nn.Module]:
    units = _units(module, normed=False)
    if len(units) <= 1:
        return units
    below = [block for child in module.children() for block in _blocks(child)]
    grouped = len(below) < len(units)
    whole = isinstance(module, nn.Sequential) or not _holds_stages(module)
    return below if grouped or not whole or not _called(module) else [module]


def _holds_stages(module: nn.Module) -> bool:
    """A net keeps its stages in a list, or says which maps it gives (`spec`): recomputed whole, it would save nothing."""
    return hasattr(module, "spec") or any(type(child) in (nn.ModuleList, nn.ModuleDict) for child in module.children())


def _called(module: nn.Module) -> bool:
    """Whether there is a forward to call: lists have none."""
    return type(module) not in (nn.ModuleList, nn.ModuleDict) and not hasattr(module, "spec")


@functools.cache
def _with_recomputation(cls: type[nn.Module], row: bool) -> type[nn.Module]:
    return type(f"Recomputed{cls.__name__}", (Recomputed, cls), {"__module__": cls.__module__, "row": row})


def _pieces(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """A row cut behind every weighted layer and behind the last norm's activation; a cheap last layer has no cut."""
    normed = [n for n, layer in enumerate(layers) if isinstance(layer, _NORMS)]
    last = max((n for n, layer in enumerate(layers[: normed[-1]]) if isinstance(layer, _WEIGHTED)), default=-1)
    end = normed[-1] + 1
    end += end < len(layers) and isinstance(layers[end], _ACTIVATIONS)
    pieces: list[list[nn.Module]] = [[]]
    for number, layer in enumerate(layers):
        if number == end:
            pieces.append([])
        pieces[-1].append(layer)
        if isinstance(layer, _WEIGHTED) and (number < last or (number == last and layer.weight[0].numel() > _CHEAP)):
            pieces.append([])
    return [piece for piece in pieces if piece]


def _through(layers: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return call


def _again(call: Any, modules: Sequence[nn.Module], *args: Any, **named: Any) -> Any:
    """The call's answer, its insides to be computed again in backward."""
    if torch.compiler.is_compiling():  # the compiler keeps side effects to the first pass by itself
        return checkpoint(call, *args, use_reentrant=False, **named)
    return checkpoint(
        call,
        *args,
        use_reentrant=False,
        preserve_rng_state=any(_may_draw(module) for module in modules),
        context_fn=functools.partial(_passes, modules),
        **named,
    )


def _may_draw(module: nn.Module) -> bool:
    """Whether a module may ask for random numbers; a class that is not known to be without them may."""
    known = isinstance(module, (nn.Sequential, ConvNormAct)) or type(module).__module__.startswith("torch.nn.modules.")
    return not known or isinstance(module, (_DropoutNd, nn.RReLU)) or any(map(_may_draw, module.children()))


def _passes(modules: Sequence[nn.Module]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first pass, and the second."""
    return nullcontext(), _scratch_statistics(modules)


@contextmanager
def _scratch_statistics(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within it, running statistics go to scratch tensors: they were updated in the first pass."""
    norms = {m for module in modules for m in module.modules() if isinstance(m, _BatchNorm) and m.training}
    kept = [(norm, dict(norm._buffers)) for norm in norms]
    for norm, buffers in kept:
        for name, buffer in buffers.items():
            if buffer is not None:  # the count decides about the momentum where there is none
                norm._buffers[name] = buffer.clone() if name == "num_batches_tracked" else torch.empty_like(buffer)
    try:
        yield
    finally:
        for norm, buffers in kept:
            norm._buffers.update(buffers)

"""Modules whose insides are computed again in backward instead of being kept (activation checkpointing).

Of a unit (convolution, norm, activation) only the input is kept; of a block of units likewise. Chen et al., "Training
Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174). Outputs, gradients and running statistics are those of
the ordinary net, to the bit: the second pass sees the same random numbers and leaves batch statistics alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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


class Recomputed(nn.Module):
    """Mixed into a module's class by `recompute`: its forward, of which only the inputs are kept for backward."""

    def forward(self, *args: Any, **named: Any) -> Any:
        """What the module's own forward gives."""
        inner = super().forward
        if isinstance(self, nn.Sequential):
            return _sequence(self, args[0])
        return _again(inner, [self], *args, **named)


def recompute(net: nn.Module, level: Recompute) -> int:
    """Makes the units or blocks of a net compute their insides again, in place; returns how many there are.

    Names, parameters and buffers stay as they are. "units": the smallest modules that hold a norm together with a
    convolution or linear layer: our own units, residual blocks of torchvision and timm, layers of a transformer. "blocks":
    the smallest modules of several units (stages, levels), and units that stand alone; a unit without norm counts here
    (alone it would keep as much as it saves).
    """
    if level == "none":
        return 0
    chosen = _units(net, normed=True) if level == "units" else _blocks(net)
    for module in chosen:
        if not isinstance(module, Recomputed):
            module.__class__ = _with_recomputation(type(module))  # type: ignore[arg-type]
    return len(chosen)


def _units(module: nn.Module, normed: bool) -> list[nn.Module]:
    """The units below a module, or itself: a residual block with one unit in its shortcut is a unit."""
    below = [unit for child in module.children() for unit in _units(child, normed)]
    mark = _NORMS if normed else (*_NORMS, *_ACTIVATIONS)
    own = any(isinstance(child, mark) for child in module.children())
    if own and len(below) <= 1 and _called(module) and any(isinstance(m, _WEIGHTED) for m in module.modules()):
        return [module]
    return below


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
def _with_recomputation(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"Recomputed{cls.__name__}", (Recomputed, cls), {"__module__": cls.__module__})


def _sequence(layers: nn.Sequential, x: Tensor) -> Tensor:
    """A sequence in runs from one weighted layer to its norm and activation, so that no second pass is a long one."""
    if sum(isinstance(layer, _NORMS) for layer in layers) < 2:
        return _again(_run(list(layers)), [layers], x)
    for run in _runs(list(layers)):
        x = _again(_run(run), run, x) if any(isinstance(layer, _NORMS) for layer in run) else _run(run)(x)
    return x


def _runs(layers: Sequence[nn.Module]) -> Iterator[list[nn.Module]]:
    run: list[nn.Module] = []
    for layer in layers:
        if run and isinstance(layer, _WEIGHTED):
            yield run
            run = []
        run.append(layer)
    yield run


def _run(layers: Sequence[nn.Module]) -> Any:
    def through(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return through


def _again(call: Any, modules: Sequence[nn.Module], *args: Any, **named: Any) -> Any:
    """The call's answer, its insides to be computed again in backward."""
    if not torch.is_grad_enabled() or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return call(*args, **named)
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

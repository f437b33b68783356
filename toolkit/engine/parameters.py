"""Parameter groups by a visible rule: whose learning rate differs, what weight decay reaches, what is frozen.

A config selects parameters by dotted name prefix (`backbone.0` matches `backbone.0.weight`, not `backbone.01.weight`), or
by a pattern of whole names with `*` (`*.conv.bias`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from toolkit.errors import ConfigError, Problem, did_you_mean

_WITH_BIAS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    backbone_lr_factor: float = 1.0,
    lr_factors: Mapping[str, float] | None = None,
    layer_decay: float | None = None,
    decay_norm_and_bias: bool = True,
    bias_lr_factor: float = 1.0,
    frozen: Sequence[str] = (),
    decay_factors: Mapping[str, float] | None = None,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with "name" for the log and "parameters", the names of its "params".

    Rule: a parameter's rate is lr, times the factor of the longest prefix in `lr_factors` that its name has (0: it is
    frozen and in no group; backbone_lr_factor is the factor of `backbone`), times layer_decay ** its depth
    (`layer_depths`), times bias_lr_factor for biases of convolutions and linear layers; unless `decay_norm_and_bias`,
    parameters with fewer than two dimensions (biases, norm scales) are not decayed. Weight decay is the optimizer's times
    the factor of the longest prefix or pattern in `decay_factors`. Raises ConfigError for a prefix that no parameter's
    name has, and for two factors of the backbone.

    Args:
        model: the model whose parameters are grouped.
        lr: base learning rate, above 0.
        backbone_lr_factor: factor of the backbone's rate; 0 freezes it.
        lr_factors: factors of the rate by name prefix, of which the longest counts; 0 freezes.
        layer_decay: factor of the rate for each layer that is one deeper, 0..1; None is 1.
        decay_norm_and_bias: whether weight decay reaches parameters of fewer than two dimensions (biases, norm scales).
        bias_lr_factor: factor of the rate of biases of convolutions and linear layers.
        frozen: dotted prefixes of the names of parameters that are not trained. Parameters that need no gradient are in
            no group; a shared parameter is in the first group it is met in.
        decay_factors: factors of the weight decay by name prefix or pattern, of which the longest counts; 0 is none.
        weight_decay: the optimizer's, 0 or more, which they multiply.
    """
    names = [name for name, _ in model.named_parameters()]
    factors = _factors(names, backbone_lr_factor, lr_factors or {})
    check_prefixes("train.frozen", frozen, names)
    check_prefixes("train.decay_factors", decay_factors or {}, names)
    depths = layer_depths(model) if layer_decay is not None else dict.fromkeys(names, 0)
    biases = {id(layer.bias) for layer in model.modules() if isinstance(layer, _WITH_BIAS)}
    groups: dict[tuple[str, int, bool, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part = longest_prefix(name, factors) or "model"
        factor = factors.get(part, 1.0)
        if factor == 0 or any(has_prefix(name, start) for start in frozen):
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        bias = id(parameter) in biases and bias_lr_factor != 1
        decay = (decay_factors or {}).get(longest_prefix(name, decay_factors or {}) or "", 1.0)
        decay = 0.0 if parameter.ndim < 2 and not decay_norm_and_bias else decay
        key = (part, depths[name], bias, decay)
        if key not in groups:
            depth = [f"layer -{depths[name]}"] if depths[name] else []
            words = ["backbone" if depth and part == "model" else part, *depth, *(["biases"] if bias else [])]
            words += ["not decayed"] if decay == 0 else [f"decay x {decay:g}"] if decay != 1 else []
            graded = factor if layer_decay is None else factor * layer_decay ** depths[name]
            rate = lr * graded * (bias_lr_factor if bias else 1)
            groups[key] = {"name": ", ".join(words), "params": [], "parameters": [], "lr": rate}
            if decay != 1:
                groups[key]["weight_decay"] = decay * weight_decay
        groups[key]["params"].append(parameter)
        groups[key]["parameters"].append(name)
    return list(groups.values())


def _factors(names: Sequence[str], backbone: float, given: Mapping[str, float]) -> dict[str, float]:
    check_prefixes("train.lr_factors", given, names)
    if backbone == 1:
        return dict(given)
    if given.get("backbone", backbone) != backbone:
        message = f"gives the backbone {given['backbone']:g}, and train.backbone_lr_factor {backbone:g}"
        raise ConfigError(Problem("train.lr_factors", message, "keep one of the two"))
    return {"backbone": backbone, **given}


def group_lines(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The groups for people, one a line: `backbone: 26 tensors, 14,714,688 numbers, lr 0.0001, weight decay 0.01`."""
    lines = []
    for group in groups:
        numbers = sum(parameter.numel() for parameter in group["params"])
        tensors = len(group["params"])
        line = f"{group['name']}: {tensors} tensor{'s' * (tensors != 1)}, {numbers:,} numbers, lr {group['lr']:.3g}"
        lines.append(line + (f", weight decay {group['weight_decay']:g}" if "weight_decay" in group else ""))
    return lines


class LateParts:
    """Parts that are trained from a certain step on; until then their gradients are dropped, and with them weight decay
    and momentum: an optimizer passes over a parameter without a gradient.

    Raises ConfigError for a prefix that no trained parameter's name has, and when a step would train nothing.

    Args:
        model: the model whose gradients are dropped.
        freeze_until: prefix of a name -> number of the first update (from 0) that trains it; the longest that fits
            counts. A function of the step alone, so that a resumed run is the uninterrupted one. Running statistics of
            batch normalisation move all the same (see `frozen_bn`).
        only: the parameters it may touch; None for all.
    """

    def __init__(
        self, model: nn.Module, freeze_until: Mapping[str, int], only: Iterable[torch.Tensor] | None = None
    ) -> None:
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        check_prefixes("train.freeze_until", freeze_until, list(trained), "trained parameter")
        late: dict[int, list[torch.Tensor]] = {}
        for name, parameter in trained.items():
            start = longest_prefix(name, freeze_until)
            late.setdefault(freeze_until[start] if start else 0, []).append(parameter)
        if min(late, default=0) > 0:
            message = f"freezes everything that is trained: nothing would change before step {min(late)}"
            raise ConfigError(Problem("train.freeze_until", message, "leave a part out"))
        allowed = None if only is None else {id(parameter) for parameter in only}
        self._late = [
            (until, [parameter for parameter in parts if allowed is None or id(parameter) in allowed])
            for until, parts in late.items()
            if until > 0
        ]

    def drop_gradients(self, step: int) -> None:
        """Before update number `step`: the gradients of what is not yet trained are None."""
        for until, parameters in self._late:
            if step < until:
                for parameter in parameters:
                    parameter.grad = None


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a dotted name begins with `prefix`, whole parts only, or is what a pattern with `*` describes.

    >>> has_prefix("backbone.0.weight", "backbone.0"), has_prefix("backbone.01.weight", "backbone.0")
    (True, False)
    >>> has_prefix("backbone.0.conv.bias", "*.conv.bias"), has_prefix("backbone.0.norm.bias", "*.conv.bias")
    (True, False)
    """
    if "*" in prefix:
        return fnmatchcase(name, prefix)
    return f"{name}.".startswith(f"{prefix}.")


def longest_prefix(name: str, prefixes: Iterable[str]) -> str | None:
    """The longest of the prefixes that a name has, or None."""
    return max((start for start in prefixes if has_prefix(name, start)), key=len, default=None)


def check_prefixes(where: str, prefixes: Iterable[str], names: Sequence[str], what: str = "parameter") -> None:
    """Raises ConfigError, with near names, for each prefix that no name has.

    Args:
        where: the key in the config.
        prefixes: the prefixes that a user wrote.
        names: dotted names that they should be prefixes of.
        what: word for the names in the message ("parameter").
    """
    unknown = [start for start in prefixes if not any(has_prefix(name, start) for name in names)]
    if unknown:
        parts = {name.rpartition(".")[0] for name in names} | {".".join(name.split(".")[:2]) for name in names}
        parts |= {name.split(".")[0] for name in names}
        raise ConfigError(
            Problem(where, f"no {what}'s name {_told(start)}", did_you_mean(start, parts - {""})) for start in unknown
        )


def _told(prefix: str) -> str:
    return f"fits the pattern '{prefix}'" if "*" in prefix else f"begins with '{prefix}'"


def layer_depths(model: nn.Module) -> dict[str, int]:
    """{parameter name: depth}: 0 outside the backbone (neck, head), 1 in its last layer, n in its first of n.

    A layer is an element of a list or sequence of modules that is a child of the backbone, or else a child, in the order
    in which they were made; a child that holds vectors only (a normalisation) belongs to the layer before it. A wrapper
    with a single child is looked through. BEiT (Bao et al. 2021, appendix) and ConvNeXt train with rates so graded.
    """
    depths = {name: 0 for name, _ in model.named_parameters()}
    layers = _layers(model)
    for number, names in enumerate(layers):
        depths.update(dict.fromkeys(names, len(layers) - number))
    return depths


def _layers(model: nn.Module) -> list[list[str]]:
    """Names of the parameters of each layer of the backbone, first layer first."""
    prefix, node = "backbone", getattr(model, "backbone", None)
    if not isinstance(node, nn.Module):
        return []
    children = _with_parameters(node)
    while len(children) == 1 and not _own(node):
        ((name, child),) = children.items()
        if isinstance(child, (nn.ModuleList, nn.Sequential)):
            break
        prefix, node, children = f"{prefix}.{name}", child, _with_parameters(child)
    layers = [[f"{prefix}.{name}" for name in _own(node)]] if _own(node) else []
    for name, child in children.items():
        parts = _with_parameters(child) if isinstance(child, (nn.ModuleList, nn.Sequential)) else {"": child}
        for inner, part in parts.items():
            place = ".".join(filter(None, (prefix, name, inner)))
            names = [f"{place}.{own}" for own, _ in part.named_parameters()]
            if layers and all(parameter.ndim < 2 for parameter in part.parameters()):
                layers[-1] += names
            else:
                layers.append(names)
    return layers


def _with_parameters(module: nn.Module) -> Mapping[str, nn.Module]:
    return {name: child for name, child in module.named_children() if next(child.parameters(), None) is not None}


def _own(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters(recurse=False)]

"""Parameter groups by a visible rule: whose learning rate differs, and what weight decay reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from toolkit.engine.beginnings import begins, check_beginnings, longest_beginning
from toolkit.engine.layer_depth import layer_depths
from toolkit.errors import ConfigError, Problem

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
) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with "name" for the log and "parameters", the names of its "params".

    Rule: a parameter's rate is lr, times the factor of the longest of `lr_factors` that begins its name (0: it is frozen
    and in no group; backbone_lr_factor is the factor of `backbone`), times layer_decay ** its depth (`layer_depth.py`),
    times bias_lr_factor for biases of convolutions and linear layers; unless `decay_norm_and_bias`, parameters with
    fewer than two dimensions (biases, norm scales) are not decayed. frozen: beginnings of names, whole parts only, of
    parameters that are not trained. Parameters that need no gradient are in no group; a shared parameter is in the
    first group it is met in. Raises ConfigError for a beginning that no parameter's name has, and for two factors of
    the backbone.
    """
    names = [name for name, _ in model.named_parameters()]
    factors = _factors(names, backbone_lr_factor, lr_factors or {})
    check_beginnings("train.frozen", frozen, names)
    depths = layer_depths(model) if layer_decay is not None else dict.fromkeys(names, 0)
    biases = {id(layer.bias) for layer in model.modules() if isinstance(layer, _WITH_BIAS)}
    groups: dict[tuple[str, int, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part = longest_beginning(name, factors) or "model"
        factor = factors.get(part, 1.0)
        if factor == 0 or any(begins(name, start) for start in frozen):
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        bias = id(parameter) in biases and bias_lr_factor != 1
        undecayed = parameter.ndim < 2 and not decay_norm_and_bias
        key = (part, depths[name], bias, undecayed)
        if key not in groups:
            depth = [f"layer -{depths[name]}"] if depths[name] else []
            words = ["backbone" if depth and part == "model" else part, *depth, *(["biases"] if bias else [])]
            words += ["not decayed"] if undecayed else []
            graded = factor if layer_decay is None else factor * layer_decay ** depths[name]
            rate = lr * graded * (bias_lr_factor if bias else 1)
            groups[key] = {"name": ", ".join(words), "params": [], "parameters": [], "lr": rate}
            if undecayed:
                groups[key]["weight_decay"] = 0.0
        groups[key]["params"].append(parameter)
        groups[key]["parameters"].append(name)
    return list(groups.values())


def _factors(names: Sequence[str], backbone: float, given: Mapping[str, float]) -> dict[str, float]:
    check_beginnings("train.lr_factors", given, names)
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

    freeze_until: beginning of a name -> number of the first update (from 0) that trains it; the longest that fits
    counts. A function of the step alone, so that a resumed run is the uninterrupted one. Running statistics of batch
    normalisation move all the same (see `frozen_bn`). Raises ConfigError for a beginning that no trained parameter's
    name has, and when a step would train nothing.
    """

    def __init__(self, model: nn.Module, freeze_until: Mapping[str, int]) -> None:
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        check_beginnings("train.freeze_until", freeze_until, list(trained), "trained parameter")
        late: dict[int, list[torch.Tensor]] = {}
        for name, parameter in trained.items():
            start = longest_beginning(name, freeze_until)
            late.setdefault(freeze_until[start] if start else 0, []).append(parameter)
        if min(late, default=0) > 0:
            message = f"freezes everything that is trained: nothing would change before step {min(late)}"
            raise ConfigError(Problem("train.freeze_until", message, "leave a part out"))
        self._late = sorted((until, parts) for until, parts in late.items() if until > 0)

    def drop_gradients(self, step: int) -> None:
        """Before update number `step`: the gradients of what is not yet trained are None."""
        for until, parameters in self._late:
            if step < until:
                for parameter in parameters:
                    parameter.grad = None

"""Parameter groups by a visible rule: whose learning rate differs, and what weight decay reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from toolkit.errors import ConfigError, Problem, did_you_mean

_WITH_BIAS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    backbone_lr_factor: float = 1.0,
    decay_norm_and_bias: bool = True,
    bias_lr_factor: float = 1.0,
    frozen: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with "name" for the log and "parameters", the names of its "params".

    Rule: parameters whose name starts with `backbone.` get lr * backbone_lr_factor (0: they are frozen and in no
    group); biases of convolutions and linear layers get lr * bias_lr_factor; unless `decay_norm_and_bias`, parameters
    with fewer than two dimensions (biases, norm scales) are not decayed. frozen: beginnings of names, whole parts only,
    of parameters that are not trained. Parameters that need no gradient are in no group; a shared parameter is in the
    first group it is met in. Raises ConfigError for a `frozen` that no parameter's name begins with.
    """
    groups: dict[tuple[bool, bool, bool], dict[str, Any]] = {}
    _freeze(model, [*frozen, *(["backbone"] if backbone_lr_factor == 0 else [])])
    biases = {id(layer.bias) for layer in model.modules() if isinstance(layer, _WITH_BIAS)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        backbone = name.startswith("backbone.") and backbone_lr_factor != 1
        bias = id(parameter) in biases and bias_lr_factor != 1
        undecayed = parameter.ndim < 2 and not decay_norm_and_bias
        key = (backbone, bias, undecayed)
        if key not in groups:
            words = ["backbone" if backbone else "model", *(["biases"] if bias else [])]
            words += ["not decayed"] if undecayed else []
            rate = lr * (backbone_lr_factor if backbone else 1) * (bias_lr_factor if bias else 1)
            groups[key] = {"name": ", ".join(words), "params": [], "parameters": [], "lr": rate}
            if undecayed:
                groups[key]["weight_decay"] = 0.0
        groups[key]["params"].append(parameter)
        groups[key]["parameters"].append(name)
    return list(groups.values())


def _freeze(model: nn.Module, beginnings: Sequence[str]) -> None:
    names = [name for name, _ in model.named_parameters()]
    unknown = [start for start in beginnings if not any(f"{name}.".startswith(f"{start}.") for name in names)]
    if unknown:
        parts = {name.rpartition(".")[0] for name in names} | {".".join(name.split(".")[:2]) for name in names}
        raise ConfigError(
            Problem("train.frozen", f"no parameter's name begins with '{start}'", did_you_mean(start, parts))
            for start in unknown
        )
    for name, parameter in model.named_parameters():
        if any(f"{name}.".startswith(f"{start}.") for start in beginnings):
            parameter.requires_grad_(False)

"""Parameter groups by a visible rule: whose learning rate differs, and what weight decay reaches."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module, lr: float, *, backbone_lr_factor: float = 1.0, decay_norm_and_bias: bool = True
) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with "name" for the log.

    Rule: parameters whose name starts with `backbone.` get lr * backbone_lr_factor (0: they are frozen and in no
    group); unless `decay_norm_and_bias`, parameters with fewer than two dimensions (biases, norm scales) are not
    decayed. Parameters that need no gradient are in no group; a shared parameter is in the first group it is met in.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    if backbone_lr_factor == 0:
        for name, parameter in model.named_parameters():
            if name.startswith("backbone."):
                parameter.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        backbone = name.startswith("backbone.") and backbone_lr_factor != 1
        undecayed = parameter.ndim < 2 and not decay_norm_and_bias
        key = (backbone, undecayed)
        if key not in groups:
            words = ["backbone" if backbone else "model", *(["not decayed"] if undecayed else [])]
            groups[key] = {"name": ", ".join(words), "params": [], "lr": lr * (backbone_lr_factor if backbone else 1)}
            if undecayed:
                groups[key]["weight_decay"] = 0.0
        groups[key]["params"].append(parameter)
    return list(groups.values())

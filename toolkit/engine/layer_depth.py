"""How deep under a model's top each part of its backbone lies: what layer-wise learning-rate decay counts by."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


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

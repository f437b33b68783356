"""A whole net's state dict of another library under the names of a VisionModel, every tensor accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from toolkit.errors import CheckpointError
from toolkit.models.vision_model import VisionModel
from toolkit.weights.fit import CLASSIFIERS, fitted
from toolkit.weights.naming import UNKNOWN, Naming, namings_of, recognised, rename


class Translated(NamedTuple):
    """A state dict by the names of a model.

    Args:
        tensors: the tensors by the model's names.
        about: whose names the file has, in words.
        reshaped: by the model's names, what was done to a tensor.
        left: by the file's names, why a tensor is not taken.
        sources: for tensors of another name, the one that the file has.
    """

    tensors: dict[str, Tensor]
    about: str
    reshaped: dict[str, str]
    left: dict[str, str]
    sources: Mapping[str, str] = {}


def translate(
    model: VisionModel,
    state: Mapping[str, Tensor],
    part: str,
    where: str,
    naming: Naming | None = None,
    ordered: bool = True,
) -> Translated:
    """The state dict by the model's names, as far as its names are known; what fits nowhere keeps its own.

    Known are the model's names, whole nets (`weights/names/whole_nets.yaml`), and nets whose body is the model's
    backbone, with the classifier of a net that gives whole images a class.

    Raises CheckpointError for a table's step that does not fit a tensor.

    Args:
        model: the model, which stays as it is and may be one without numbers.
        state: tensors by the file's names.
        part: name of the model's backbone, whose tables of names are tried.
        where: the file that messages begin with.
        naming: a table that says it, instead of those known.
        ordered: whether the order of the tensors says something.
    """
    naming = naming or recognised(state, namings_of("whole_nets"))
    if naming is not None:
        return _by_table(model, state, part, where, naming, ordered=ordered)
    own = model.state_dict()
    if sum(name in own for name in state) > 0.5 * min(len(own), len(state)):
        return Translated(dict(state), "this toolkit's names", {}, {})
    try:
        fit = fitted(model.backbone, state, where, part=part, ordered=ordered, strict=False)
    except CheckpointError:
        return Translated(dict(state), "names that are not known", {}, {})
    linear = _classifier(model, state)
    tensors = {f"backbone.{name}": tensor for name, tensor in fit.tensors.items()}
    tensors |= {mine: state[name] for name, mine in linear.items()}
    left = {name: why for name, why in fit.left.items() if name not in linear}
    return Translated(tensors, fit.about, {f"backbone.{name}": how for name, how in fit.reshaped.items()}, left)


def _by_table(
    model: VisionModel, state: Mapping[str, Tensor], part: str, where: str, naming: Naming, *, ordered: bool
) -> Translated:
    """As a table says; its backbone may be one that this model has under other names."""
    own, renamed = model.state_dict(), rename(state, naming)
    kept = {name: state[name] for name, why in renamed.left.items() if why == UNKNOWN and name in own}
    left = {name: why for name, why in renamed.left.items() if name not in kept}
    tensors = {name: tensor for name, tensor in renamed.tensors.items() if name in own or not _counts(name)} | kept
    body = _in_backbone(model, tensors, part, where, ordered=ordered)
    if body:
        tensors = {name: one for name, one in tensors.items() if not name.startswith("backbone.")} | body
    reshaped = dict(renamed.reshaped)
    for name in _single_outputs(model, tensors):
        tensors[name] = torch.cat([torch.zeros_like(tensors[name]), tensors[name]])
        reshaped[name] = "one output: the first class is 0, the second that output (a sigmoid as a softmax of two)"
    return Translated(tensors, naming.about, reshaped, left, renamed.sources)


def _single_outputs(model: VisionModel, tensors: Mapping[str, Tensor]) -> list[str]:
    """Tensors of one output a pixel, for a model of two classes: the logit of the second against the first."""
    names = {module: name for name, module in model.named_modules()}
    rows = [f"{names[layer]}.{kind}" for layer in model.head.class_layers() for kind in ("weight", "bias")]
    return [name for name in rows if name in tensors and len(tensors[name]) == 1 and len(model.classes) == 2]


def _counts(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _in_backbone(
    model: VisionModel, tensors: Mapping[str, Tensor], part: str, where: str, *, ordered: bool
) -> dict[str, Tensor]:
    """The backbone's tensors by its names, where a table calls them by those of another backbone; {} where they fit."""
    own = model.backbone.state_dict()
    body = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    if not body or any(name in own for name in body):
        return {}
    bare = {name.removeprefix("net."): tensor for name, tensor in body.items()}
    try:
        fit = fitted(model.backbone, bare, where, part=part, ordered=ordered, strict=False)
    except CheckpointError:
        return {}
    return {f"backbone.{name}": tensor for name, tensor in fit.tensors.items()}


def _classifier(model: VisionModel, state: Mapping[str, Tensor]) -> dict[str, str]:
    """{name in the file: name in the model} of fully connected layers, where both have as many one after the other."""
    mine = [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.startswith("head.")
    ]
    theirs = [
        name.removesuffix(".weight")
        for name, tensor in state.items()
        if name.startswith(CLASSIFIERS) and name.endswith(".weight") and tensor.ndim == 2 and not name.startswith("aux")
    ]
    if not mine or len(mine) != len(theirs):
        return {}
    return {
        f"{name}.{kind}": f"{ours}.{kind}"
        for ours, name in zip(mine, theirs, strict=True)
        for kind in ("weight", "bias")
        if f"{name}.{kind}" in state
    }

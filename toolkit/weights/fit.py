"""Filling a net from a state dict of some library: the names are recognised, and every tensor must have its place."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from torch import Tensor, nn

from toolkit.errors import CheckpointError, Problem
from toolkit.weights.channels import for_other_channels
from toolkit.weights.naming import OWN, UNKNOWN, Naming, Renamed, namings_of, rename
from toolkit.weights.read import TORCHVISION, is_file, keeps_order, read_weights, read_weights_named

log = logging.getLogger(__name__)

CLASSIFIERS = (
    "fc.", "classifier.", "aux1.", "aux2.", "head.", "head_dist.", "pre_logits.", "last_linear.", "_fc.", "final_conv.",
)  # fmt: skip
"""What torchvision, timm and others call the layers after the last map of their classifiers."""

_COUNTER = "num_batches_tracked"
_SHARE = 0.3
"""Of a net's tensors, at least, that must share a beginning of names for it to be tried."""


class Fit(NamedTuple):
    """A state dict that fits a net.

    Args:
        tensors: the tensors by the net's names.
        about: whose names the file has; with the beginning that was taken off.
        reshaped: by the net's names, what was done to a tensor.
        left: by the file's names, why a tensor was not taken.
        missing: names of the net that the file lacks, which keep their start values.
        guessed: whether only the order and the shapes say which tensor is which.
    """

    tensors: dict[str, Tensor]
    about: str
    reshaped: dict[str, str]
    left: dict[str, str]
    missing: tuple[str, ...] = ()
    guessed: bool = False


def fill_from(net: nn.Module, weights: str, part: str, published: str = "", optional: Sequence[str] = ()) -> str:
    """Fills a backbone from a file of any library, or from weights that torchvision publishes; says where they come from.

    Raises ConfigError for a name that torchvision does not know, CheckpointError for what cannot be had or does not fit.

    Args:
        net: the backbone whose parameters and buffers are filled.
        weights: a file, or torchvision's name of published weights.
        part: name of the backbone, whose tables of names are tried (`fill`).
        published: torchvision's name of the net, so that `IMAGENET1K_V1` will do; "" takes files and full names.
        optional: beginnings of the net's names that the file may lack, or have for other classes.
    """
    state = read_weights_named(weights, published) if published else read_weights(weights)
    fit = fill(net, state, weights, part=part, optional=optional, ordered=keeps_order(weights))
    return f"{weights} ({fit.about})" if is_file(weights) else f"torchvision's {weights} of {published} ({TORCHVISION})"


def fill(
    net: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    part: str = "",
    optional: Sequence[str] = (),
    ordered: bool = True,
) -> Fit:
    """Fills a backbone from the state dict of any library whose names are known.

    Known are its own names, those of the tables `names/PART.yaml`, either behind any beginning (`encoder.`,
    `backbone.body.`), and, where neither fits and the file keeps the order of its tensors, the same shapes in the same
    order, which is said in the log. The first kernel may be of another number of channels.

    Raises CheckpointError for tensors that are missing, unknown or of another shape; nothing is filled then.

    Args:
        net: the net whose parameters and buffers are filled.
        state: tensors by name, of any library.
        source: where they came from, for messages.
        part: name of the backbone, whose tables are tried.
        optional: beginnings of the net's names that the file may lack, or have for other classes.
        ordered: whether the order of the tensors says something, which it does not in safetensors.
    """
    fit = fitted(net, state, source, part=part, optional=optional, ordered=ordered)
    nn.Module.load_state_dict(
        net, fit.tensors, strict=False
    )  # some nets of smp have their own, for files of classifiers
    if fit.guessed:
        log.warning("%s: %s", source, fit.about)
    return fit


def fitted(
    net: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    part: str = "",
    optional: Sequence[str] = (),
    ordered: bool = True,
    strict: bool = True,
) -> Fit:
    """What `fill` fills a net with; the net stays as it is, and may be one without numbers (the meta device).

    Args:
        net: the net whose names and shapes count.
        state: tensors by name, of any library.
        source: where they came from, for messages.
        part: name of the backbone, whose tables are tried.
        optional: beginnings of the net's names that the file may lack, or have for other classes.
        ordered: whether the order of the tensors says something.
        strict: whether every tensor must have its place; otherwise half of the net's is enough, and the rest is told.
    """
    own = net.state_dict()
    naming, prefix, renamed = _best(own, state, (OWN, *namings_of(part)))
    first = _first_kernel(net)
    tensors, reshaped = dict(renamed.tensors), dict(renamed.reshaped)
    if first in own and first in tensors and (adapted := for_other_channels(own[first], tensors[first])):
        tensors[first], how = adapted
        reshaped[first] = ", ".join(filter(None, (reshaped.get(first), how)))
    other = [name for name in tensors if name.startswith(tuple(optional)) and not _alike(own, tensors, name)]
    left = renamed.left | {renamed.sources[name]: "of another shape" for name in other}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in other}
    strange = [name for name, why in renamed.left.items() if why == UNKNOWN and not _is_last(name, prefix)]
    problems = _misfits(own, tensors, renamed.optional, source, optional, strange)
    if problems and ordered and (pairs := _by_order(own, state, optional)):
        about = f"its names are not known, but its {len(pairs)} tensors fit in order, shape by shape, and are taken so"
        taken = {mine: state[theirs] for mine, theirs in pairs.items()}
        left = {name: "behind the last map" for name in state if name not in pairs.values() and not _counts(name)}
        return Fit(taken, about, {}, left, guessed=True)
    hits = sum(_alike(own, tensors, name) for name in tensors)
    if problems and (strict or hits < 0.5 * len(own)):
        raise CheckpointError(problems)
    about = naming.about + (f", behind '{prefix}'" if prefix else "")
    kept = {name: tensor for name, tensor in tensors.items() if name in own}
    left |= {renamed.sources[name]: "behind the last map" for name in tensors if name not in own and not _counts(name)}
    return Fit(kept, about, reshaped, left, tuple(name for name in own if name not in tensors and not _counts(name)))


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads a state dict whose names and shapes must be the module's own.

    Names that begin as in `CLASSIFIERS` belong to layers a backbone has not, and are left out. Counters of batch
    norm (`num_batches_tracked`), which old files lack, may be missing; nothing else may.

    Args:
        module: the net whose parameters and buffers are filled.
        state: tensors by name, with the module's names and shapes.
        source: where the tensors came from, for messages.

    Raises:
        CheckpointError: with the first names that are missing, unknown or of another shape.
    """
    own = module.state_dict()
    problems = _misfits(own, state, set(), source, ())
    if problems:
        raise CheckpointError(problems)
    module.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def _counts(name: str) -> bool:
    return name.endswith(_COUNTER)


def _is_last(name: str, prefix: str) -> bool:
    return name[len(prefix) :].startswith(CLASSIFIERS) or _counts(name)


def _alike(own: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> bool:
    return name in own and own[name].shape == state[name].shape


def _misfits(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    may_lack: Set[str],
    source: str,
    optional: Sequence[str],
    strange: Sequence[str] = (),
) -> list[Problem]:
    """What keeps a state dict from being that of a net, as messages."""
    free = tuple(start for start in optional if not any(key.startswith(start) for key in state))
    missing = [k for k in own if k not in state and not _counts(k) and not k.startswith(free)]
    unknown = [k for k in state if k not in own and k not in may_lack and not _is_last(k, "")]
    unknown += strange
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = [("missing", missing), ("not of this net", unknown), ("of another shape", shapes)]
    found = [
        (f"{len(names)} tensors are {what}: {', '.join(names[:4])}{', …' * (len(names) > 4)}")
        for what, names in faults
        if names
    ]
    remedy = "take weights of this very net, or change its arguments; toolkit weights show FILE says what a file holds"
    return [Problem(source, text, remedy if text is found[-1] else "") for text in found]


def _best(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], namings: Sequence[Naming]
) -> tuple[Naming, str, Renamed]:
    """The table, and the beginning taken off, by which most tensors find their place; the simplest of equals."""
    choices = []
    for naming in namings:
        for prefix in ("", *_prefixes(own, state)):
            names = (name[len(prefix) :] for name in state if name.startswith(prefix))
            targets = {_target(naming, name) for name in names} - {None, ""}
            hits = sum(target in own for target in targets)
            others = sum(not str(target).startswith(CLASSIFIERS) for target in targets) - hits
            choices.append((hits - others, naming, prefix))
    _, naming, prefix = max(choices, key=lambda choice: choice[0])
    return naming, prefix, rename(state, naming, prefix)


def _target(naming: Naming, name: str) -> str | None:
    if not naming.rules:
        return name
    found = naming.find(name)
    return None if found is None or found[1].optional else found[0]


def _prefixes(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Beginnings that many names of a file share: those of one, two and three parts."""
    parts = [name.split(".") for name in state]
    counted = Counter(".".join(name[:depth]) + "." for name in parts for depth in (1, 2, 3) if len(name) > depth)
    return [prefix for prefix, number in counted.items() if number >= _SHARE * len(own)]


def _first_kernel(net: nn.Module) -> str:
    """Name of the weight that meets the pixels, "" when a net has no convolution."""
    name = next((name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)), None)
    return "" if name is None else f"{name}.weight"


def _by_order(own: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: Sequence[str]) -> dict[str, str]:
    """{ours: theirs} where a file has as many tensors as the net, of the same kinds and shapes in the same order.

    The net may lack a classifier, and so may the file: what it has more, at its end, is no convolution.
    """
    mine, theirs = ([name for name in names if not _counts(name)] for names in (own, state))
    for ours in (mine, [name for name in mine if not name.startswith(tuple(optional))]):
        more = theirs[len(ours) :]
        pairs = dict(zip(ours, theirs, strict=False))
        alike = len(pairs) == len(ours) and all(state[name].ndim < 4 for name in more)
        if alike and all(_same_kind(own, one, state, other) for one, other in pairs.items()):
            return pairs
    return {}


def _same_kind(own: Mapping[str, Tensor], one: str, state: Mapping[str, Tensor], other: str) -> bool:
    return one.rpartition(".")[2] == other.rpartition(".")[2] and own[one].shape == state[other].shape

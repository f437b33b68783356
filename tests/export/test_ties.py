"""Boxes at a limit of a score, an overlap or a rank are ties; the same boxes further from it are a difference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from noise_detectors import noise, tiny_detector

from toolkit.export.answers import arrays_of
from toolkit.export.comparison import BOUNDS, Answers, Difference, compared
from toolkit.export.graph import Cut
from toolkit.models.vision_model import VisionModel
from toolkit.ops.boxes import box_iou
from toolkit.samples import Detections

BATCH = noise([(97, 131)], [(97, 131)])


def answer(model: VisionModel) -> Detections:
    (found,) = model.predict(BATCH)
    assert isinstance(found, Detections)
    return found


def verdict(model: VisionModel, theirs: Detections, within: float, cut: Cut | None = None) -> Difference:
    """What the certificate says of another answer where ties are decisions nearer than `within` to their limit."""
    pyramid = model.pyramid(model.prepared(BATCH), model.prepared_sizes(BATCH))

    def others() -> Iterable[Answers]:
        return (arrays_of(one, cut) for one in model.head.near_limits(pyramid, BATCH, within))

    bounds = BOUNDS["float32"]._replace(ties=within)
    with torch.inference_mode():
        return compared(arrays_of(answer(model), cut), arrays_of(theirs, cut), bounds, others)


def changed(model: VisionModel, **test: Any) -> Detections:
    """The answer with other limits of the second stage."""
    own, model.head.test = model.head.test, replace(model.head.test, **test)
    try:
        return answer(model)
    finally:
        model.head.test = own


def proposing(model: VisionModel, **settings: Any) -> Detections:
    """The answer with other limits of the first stage."""
    own = model.head.rpn.settings
    model.head.rpn.settings = replace(own, proposals=replace(own.proposals, **settings))
    try:
        return answer(model)
    finally:
        model.head.rpn.settings = own


def lowest_score(model: VisionModel) -> tuple[Detections, float]:
    """One box more, whose score is a little below the limit, and how far."""
    scores = answer(model).scores
    limit = float(scores[5] + scores[6]) / 2
    model.head.test = replace(model.head.test, score=limit)
    return changed(model, score=float(scores[6]) - 1e-6), limit - float(scores[6])


def overlap(model: VisionModel) -> tuple[Detections, float]:
    """Boxes that an overlap a little above the limit lets through, and how far above."""
    model.head.test = replace(model.head.test, nms_iou=0.9)
    found = answer(model)
    same = found.labels[:, None] == found.labels[None]
    shares = box_iou(found.boxes, found.boxes)[same.triu(1)]
    for limit in shares[(shares > 0.3) & (shares < 0.8)].tolist():
        model.head.test = replace(model.head.test, nms_iou=limit - 1e-4)
        theirs = changed(model, nms_iou=limit + 1e-5)
        if len(theirs.scores) == len(answer(model).scores) + 1:  # no other box depends on it
            return theirs, 1e-4
    raise AssertionError("no two boxes overlap so")


def rank(model: VisionModel) -> tuple[Detections, float]:
    """The box behind the last that is answered in the place of that one, and how much lower its score is."""
    model.head.test = replace(model.head.test, per_image=50)
    every = answer(model)
    gaps = every.scores[:-1] - every.scores[1:]
    last = int(gaps[5:30].argmin()) + 5
    model.head.test = replace(model.head.test, per_image=last + 1)
    kept = [*range(last), last + 1]
    return Detections(every.boxes[kept], every.scores[kept], every.labels[kept]), float(gaps[last])


@pytest.mark.parametrize("plant", [lowest_score, overlap, rank])
@pytest.mark.parametrize("style", ["fpn", pytest.param("2015", marks=pytest.mark.slow)])
def test_a_box_is_a_tie_where_its_limit_is_near_and_none_where_it_is_not(
    plant: Callable[[VisionModel], tuple[Detections, float]], style: str
) -> None:
    model = tiny_detector(style)
    theirs, distance = plant(model)
    near, far = (verdict(model, theirs, within) for within in (2.5 * distance, 0.4 * distance))
    assert near.unmatched == far.unmatched > 0
    assert near.ties == near.unmatched
    assert near.problems(BOUNDS["float32"]) == []
    assert far.ties == 0
    assert far.problems(BOUNDS["float32"]) == [f"{far.unmatched} boxes without a partner"]


@pytest.mark.parametrize("settings", [{"nms_iou": 0.7005}, {"after_test": 39}], ids=["overlap", "rank"])
def test_proposals_at_a_limit_are_found_by_what_becomes_of_them(settings: dict[str, Any]) -> None:
    """Limits of the first stage that are moved far change boxes that no rounding explains; ties of that width explain all."""
    model = tiny_detector("fpn")
    theirs = proposing(model, **settings)
    wide, narrow = verdict(model, theirs, 0.2), verdict(model, theirs, 1e-7)
    assert wide.unmatched == narrow.unmatched
    assert narrow.ties == 0
    assert wide.ties == wide.unmatched


def test_thresholds_inside_are_limits() -> None:
    model = tiny_detector("fpn")
    found = answer(model)
    limit = float(found.scores[3] + found.scores[4]) / 2
    distance = limit - float(found.scores[4])
    cut = Cut((limit,) * len(model.classes))
    raised = found._replace(scores=found.scores + (found.scores == found.scores[4]) * (distance + 1e-6))
    far = verdict(model, raised, 0.1 * distance, cut)
    assert (far.unmatched, far.ties) == (1, 0)


def test_the_same_answer_asks_for_no_other() -> None:
    def never() -> Iterable[Answers]:
        raise AssertionError("asked")

    mine = arrays_of(answer(tiny_detector("fpn")))
    assert compared(mine, mine, BOUNDS["float32"], never) == Difference(logit=0.0, boxes=0.0, finite=True)


def test_scores_of_matched_boxes_are_compared() -> None:
    mine = arrays_of(answer(tiny_detector("fpn")))
    theirs = {**mine, "scores": mine["scores"] + np.float32(0.01)}
    assert compared(mine, theirs).problems(BOUNDS["float32"]) == ["a difference of 0.01, allowed 0.0001"]

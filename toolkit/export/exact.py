"""What rounding alone does to a net: its logits once more in float64, as what both sides are near to.

Float32 rounds every sum, and each layer carries that on. Of a net with random weights, or of logits of hundreds, two right
answers differ by more than a bound of trained nets. Whether a difference is that is measured, not assumed: the model itself
must be as far from the net in float64 as the export is.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch

from toolkit.export.comparison import BOUNDS, Answers, Difference, compared
from toolkit.export.graph import RAW, Cut
from toolkit.export.reference import reference, shown
from toolkit.models.vision_model import VisionModel

FARTHER = 2.0
"""How many times as far from float64 as the model an export may be: engines sum in other orders, by luck worse or better."""
MOST = 1e-3
"""Share of the logits' spread up to which the model's own distance is taken for rounding of float32; of scores of boxes, of 1."""
MOST_OF_SIDE = 1e-4
"""The same of boxes: share of the picture's longer side."""


def exact_model(model: VisionModel) -> VisionModel:
    """A copy of a model that computes in float64."""
    return copy.deepcopy(model).double()


@torch.inference_mode()
def explained(
    exact: VisionModel, picture: Path, mine: Answers, theirs: Answers, pair: Difference, *, raw: bool
) -> Difference:
    """The difference of a picture, with both sides' distance from float64; nothing is `left` of it where that explains it.

    Args:
        exact: the same model in float64, of which `exact_model` made it.
        picture: file of the picture that both sides answered.
        mine: the model's answer for it.
        theirs: the export's answer for the same file.
        pair: how far these are apart.
        raw: whether the export begins at pixels.
    """
    if pair.logit is None or pair.spread is None or RAW not in mine or RAW not in theirs:
        return pair
    batch, _ = shown(exact, picture, raw=raw)
    try:
        wanted = exact.head(exact.pyramid(exact.prepared(batch), exact.prepared_sizes(batch))).numpy()
    except RuntimeError:  # a net with numbers of its own that stay float32; the difference is refused as it is
        return pair
    own, other = (float(np.abs(one[RAW] - wanted).max()) for one in (mine, theirs))
    return pair._replace(exact=(own, other), left=_left(pair.logit, own, other, MOST * pair.spread))


@torch.inference_mode()
def explained_boxes(
    exact: VisionModel, picture: Path, mine: Answers, theirs: Answers, pair: Difference, cut: Cut | None = None
) -> Difference:
    """The same for a detector: both sides' boxes and scores are compared with those of the net in float64.

    Boxes without a partner are not looked at; those that lie at no limit are refused as ever.

    Args:
        exact: the same model in float64, of which `exact_model` made it.
        picture: file of the picture that both sides answered.
        mine: the model's answer for it.
        theirs: the export's answer for the same file.
        pair: how far these are apart.
        cut: lowest scores that count inside the export; None: all do.
    """
    if pair.boxes is None or pair.logit is None:
        return pair
    try:
        wanted = reference(exact, picture, cut).arrays
    except RuntimeError:  # as above
        return pair
    loose = BOUNDS["float32"]._replace(boxes=1.0)
    own, other = (compared(wanted, one, loose) for one in (mine, theirs))
    if own.boxes is None or other.boxes is None or own.logit is None or other.logit is None:
        return pair
    side = max(theirs["given"].shape[1:3])
    return pair._replace(
        exact=(own.logit, other.logit),
        left=_left(pair.logit, own.logit, other.logit, MOST),
        exact_boxes=(own.boxes, other.boxes),
        left_boxes=_left(pair.boxes, own.boxes, other.boxes, MOST_OF_SIDE * side),
    )


def _left(apart: float, own: float, other: float, most: float) -> float:
    """What rounding does not explain of a difference: all of it or nothing.

    Args:
        apart: how far the model and its export are apart.
        own: how far the model is from float64.
        other: how far the export is from float64.
        most: up to where the model's own distance is taken for rounding.
    """
    rounding = own <= most and other <= FARTHER * own and apart <= own + other
    return 0.0 if rounding else apart

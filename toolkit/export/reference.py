"""What a model itself answers for a file, by the names of its export's outputs: one side of a certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from toolkit.data.images.picture import Picture, sample_of
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.export.answers import arrays_of
from toolkit.export.comparison import Answers
from toolkit.export.graph import MEAN, RAW, VARIANCE, Cut, ExportGraph
from toolkit.models.monte_carlo import predictions_of, seeded_moments
from toolkit.models.vision_model import VisionModel
from toolkit.ops.opencv_resize import half_levels
from toolkit.samples import Batch, Prediction, collate

ROUNDED = 1e-3
"""Share of bytes, beside those half-way between two levels, that a resize may round to the neighbouring one."""


class Reference(NamedTuple):
    """The model's own answer for a picture.

    Args:
        arrays: by the names of a graph's outputs, first axis 1.
        prediction: the same, as predictions are, without thresholds.
        rounded: bytes that the program's own resizing rounds to the neighbouring level; the model was given these, too.
        others: of a detector, what it might answer if it were rounded otherwise, by the same names.
    """

    arrays: dict[str, np.ndarray]
    prediction: Prediction
    rounded: int
    others: Callable[[], Iterator[Answers]] = lambda: iter(())


@torch.inference_mode()
def reference(
    model: VisionModel, path: Path, cut: Cut | None = None, *, raw: bool = False, ties: float = 0.0
) -> Reference:
    """The model's own answer for a file, as `toolkit predict` makes it.

    Where the resizing of the program and that of the data part by one level, at values half-way between two levels or in at
    most `ROUNDED` of the bytes, the model gets the program's bytes, so that the nets are compared. Any other difference
    stays, and is found in the answers.

    Args:
        model: the model, in eval mode.
        path: file of a picture, which is answered for.
        cut: lowest scores that count; None: all do.
        raw: whether only the head's outputs are wanted.
        ties: how near to a limit a score, an overlap or a rank lies where rounding decides.
    """
    batch, rounded = shown(model, path, raw=raw)
    if model.samples > 1 and not raw:
        moments = seeded_moments(model, batch, model.samples)
        (prediction,) = predictions_of(model.head, *moments, batch)  # type: ignore[arg-type]
        named = {name: one.numpy() for name, one in zip((MEAN, VARIANCE), moments, strict=True)}
        return Reference({**arrays_of(prediction, cut), **named}, prediction, rounded)
    pyramid = model.pyramid(model.prepared(batch), model.prepared_sizes(batch))
    scored, model.head.with_scores = model.head.with_scores, True
    try:
        (prediction,) = model.head.predict(pyramid, batch)
    finally:
        model.head.with_scores = scored
    arrays = {} if raw else arrays_of(prediction, cut)
    if model.head.max_detections is None:
        output = model.head(pyramid)
        arrays[RAW] = output.float().numpy()

    def others() -> Iterator[Answers]:
        for one in model.head.near_limits(pyramid, batch, ties):
            for step in (0.0,) if cut is None else (-ties / 2, ties / 2):
                limit = cut and replace(cut, thresholds=tuple(value + step for value in cut.thresholds))
                yield arrays_of(one, limit)

    return Reference(arrays, prediction, rounded, others)


def shown(model: VisionModel, path: Path, *, raw: bool = False) -> tuple[Batch, int]:
    """What a model is shown of a file: a batch of one; and how many of its bytes are the program's, which rounds them otherwise.

    Args:
        model: the model, whose transforms are applied.
        path: file of the picture that is read.
        raw: whether the program begins behind the model's transforms.
    """
    picture = Picture(path, path.name)
    given = picture.read(model.in_channels, model.value_range)
    sample = Pipeline([] if raw else model.transforms)(sample_of(picture, given, 0), 0)
    image, rounded = (sample.image, 0) if raw else as_resized_inside(model, given, sample.image)
    return collate([sample._replace(image=image)]), rounded


def as_resized_inside(model: VisionModel, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
    """The bytes that the program makes of a picture, if they are the data's but for a few roundings, and their number.

    Args:
        model: the model, whose transforms are tried.
        given: (H, W, C) uint8, the picture's bytes.
        wanted: (h, w, C) uint8, what the data's own transforms make of it.
    """
    pictures = torch.from_numpy(given.copy())[None]
    inside = ExportGraph(model).resized(pictures)[0].permute(1, 2, 0).numpy()
    if inside.shape != wanted.shape:
        return wanted, 0
    gaps = np.abs(inside.astype(np.int16) - wanted)
    count = int((gaps > 0).sum())
    others = int(((gaps > 0) & ~half_levels(given, (wanted.shape[0], wanted.shape[1]))).sum())
    few = others <= ROUNDED * gaps.size and gaps.max(initial=0) <= 1
    return (inside, count) if few and count else (wanted, 0)

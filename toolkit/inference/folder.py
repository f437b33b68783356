"""A model over pictures on disk or in memory: results stream in order, one unreadable file does not stop the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.analysis.forecast import LOOKED_AT_FROM, forecast_prediction
from toolkit.analysis.out_of_memory import memory_explained
from toolkit.contracts import DenseHead
from toolkit.data.images.pictures import Picture, Sources, find_pictures, sample_of
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import DataError, Problem, UserError
from toolkit.inference.tiling.tiled import TiledPrediction, TileSide
from toolkit.models.modes import evaluating
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction, Sample, collate


class ImageResult(NamedTuple):
    """What came of one picture.

    Args:
        path: file of the picture, as it was found.
        name: name of the picture below the folder it was found in.
        image: (H, W, C) uint8 as read, None when it could not be.
        prediction: in the picture's own pixels, None when it failed; `result.prediction.draw(result.image)` draws it.
        reason: why it failed, "" when it did not.
    """

    path: Path | None
    name: str
    image: np.ndarray | None
    prediction: Prediction | None
    reason: str = ""


Answer = Callable[[Batch], Sequence[Prediction]]


def predict(
    model: VisionModel, sources: Sources, *, batch_size: int = 1, ahead: int = 4, tile: TileSide | None = None
) -> Iterator[ImageResult]:
    """Streams an `ImageResult` for each picture, in order.

    The model is used on the device it is on, in eval mode (its flags are put back), after the transforms it was
    evaluated with (`model.transforms`). Pictures of equal size share a batch, so the batch size changes nothing but the
    speed.

    Args:
        model: what predicts; `load_model` gives one.
        sources: the path of a file or folder, a glob, an array (H, W, 3) RGB or (H, W) gray of uint8, a PIL image, a
            tensor (C, H, W) or (N, C, H, W), or a list of such; floats 0..1 are rounded to 256 levels. See
            `find_pictures`.
        batch_size: how many pictures of equal size, one after the other, go through the net at once.
        ahead: how many pictures are read by other threads while the model works.
        tile: side of a tile in pixels, or `auto`, for pictures too large to be shown to the net whole
            (`TiledPrediction`); None shows it every picture whole.

    Raises:
        DataError: at once, when a source does not exist or is no picture. A file that cannot be read gives a result
            with its reason.
        PartsError: the model cannot be tiled.
    """
    pictures = find_pictures(sources)
    answer: Answer = _fitting(
        model, model.predict if tile is None else TiledPrediction(model, tile), tile is not None, batch_size
    )
    return _stream(model, answer, pictures, batch_size, ahead)


def _fitting(model: VisionModel, answer: Answer, tiled: bool, batch_size: int) -> Answer:
    """The answer, with a sentence in place of too little memory, if possible before it is tried; the next may be smaller."""
    remedies = [] if batch_size == 1 else ["--batch-size 1"]
    if isinstance(model.head, DenseHead) and not tiled:
        remedies.insert(0, "predict with --tile auto")
    forecast = cache(lambda: forecast_prediction(model))  # made for the first picture that is large enough

    def guarded(batch: Batch) -> Sequence[Prediction]:
        if not tiled and len(batch.images) * batch.images.shape[-2] * batch.images.shape[-1] >= LOOKED_AT_FROM:
            forecast().refuse_too_large(batch.images, remedies)
        with memory_explained("this picture", model, remedies or ["shrink it"]):
            return answer(batch)

    return guarded


def _stream(
    model: VisionModel, answer: Answer, pictures: Sequence[Picture], batch_size: int, ahead: int
) -> Iterator[ImageResult]:
    device = next(model.parameters()).device
    with evaluating(model), ThreadPoolExecutor(max_workers=2) as readers:
        waiting: list[tuple[Picture, Sample, np.ndarray]] = []
        for picture, outcome in _read_ahead(readers, model, pictures, ahead + batch_size):
            if isinstance(outcome, UserError):
                yield from _predicted(answer, device, waiting)
                waiting = []
                yield ImageResult(picture.path, picture.name, None, None, _reason(outcome))
                continue
            image, sample = outcome
            if waiting and (len(waiting) == batch_size or waiting[0][1].image.shape != sample.image.shape):
                yield from _predicted(answer, device, waiting)
                waiting = []
            waiting.append((picture, sample, image))
        yield from _predicted(answer, device, waiting)


def _read_ahead(
    readers: ThreadPoolExecutor, model: VisionModel, pictures: Sequence[Picture], ahead: int
) -> Iterator[tuple[Picture, Any]]:
    pipeline = Pipeline(model.transforms)
    queue: deque[tuple[Picture, Future[Any]]] = deque()
    upcoming = iter(enumerate(pictures))
    while True:
        while len(queue) < ahead and (entry := next(upcoming, None)) is not None:
            position, picture = entry
            queue.append((picture, readers.submit(_read, picture, position, model, pipeline)))
        if not queue:
            return
        picture, future = queue.popleft()
        yield picture, future.result()


def _read(
    picture: Picture, position: int, model: VisionModel, pipeline: Pipeline
) -> tuple[np.ndarray, Sample] | UserError:
    """The picture and what the model gets of it, or why there is none."""
    try:
        sample = sample_of(picture, position, model.in_channels, model.value_range)
        return sample.image, pipeline(sample, 0)
    except UserError as error:
        return error
    except (MemoryError, OSError) as error:
        return DataError(Problem(picture.path or picture.name, f"cannot be read: {error}"))


def _predicted(
    answer: Answer, device: torch.device, waiting: Sequence[tuple[Picture, Sample, np.ndarray]]
) -> Iterator[ImageResult]:
    if not waiting:
        return
    batch = collate([sample for _, sample, _ in waiting])
    try:
        predictions = answer(batch._replace(images=batch.images.to(device)))
    except UserError as error:
        for picture, _, image in waiting:
            yield ImageResult(picture.path, picture.name, image, None, _reason(error))
        return
    for (picture, _, image), prediction in zip(waiting, predictions, strict=True):
        yield ImageResult(picture.path, picture.name, image, prediction)


def _reason(error: UserError) -> str:
    return "; ".join("; ".join(filter(None, (problem.message, problem.suggestion))) for problem in error.problems)

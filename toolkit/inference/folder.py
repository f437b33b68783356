"""A model over pictures on disk or in memory: results stream in order, one unreadable file does not stop the rest."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.analysis.forecast import LOOKED_AT_FROM, forecast_prediction
from toolkit.analysis.out_of_memory import memory_explained
from toolkit.contracts import DenseHead
from toolkit.data.images.pages import Pages, bands_of_pages
from toolkit.data.images.picture import Picture, sample_of
from toolkit.data.images.picture_files import PictureList
from toolkit.data.images.pictures import Sources, find_pictures
from toolkit.data.images.traits import said_of_pages
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import DataError, Problem, UserError
from toolkit.inference.several_looks import several_looks
from toolkit.inference.shares import Share, blocks
from toolkit.inference.tiling.tiled import MEMORY, Mirrorings, TileSide
from toolkit.models.modes import evaluating
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction, Sample, collate

_LOG = logging.getLogger(__name__)
_MUCH = 4
"""Pixels of a picture for one that the net gets to see, above which it is said that tiles do not help that."""
_SHRUNK = (
    "pictures are shrunk to less than half their sides before they are cut into tiles, as when the model was evaluated (%s): "
    "what is small in them may be lost; data.val.transforms=[] shows them in their own size"
)


class ImageResult(NamedTuple):
    """What came of one picture.

    Args:
        path: file of the picture, as it was found.
        name: name of the picture below the folder it was found in.
        image: (H, W, C) uint8 as read, None when it could not be.
        prediction: in the picture's own pixels, None when it failed; `result.prediction.draw(result.image)` draws it.
        reason: why it failed, "" when it did not.
        left: how many pages of its file were not read.
    """

    path: Path | None
    name: str
    image: np.ndarray | None
    prediction: Prediction | None
    reason: str = ""
    left: int = 0


Answer = Callable[[Batch], Sequence[Prediction]]


def predict(
    model: VisionModel,
    sources: Sources,
    *,
    batch_size: int = 1,
    ahead: int = 4,
    tile: TileSide | None = None,
    pages: Pages = "first",
    overlap: int | None = None,
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
        batch_size: how many pictures of equal size, of four times as many that follow one another, go through the net at
            once.
        ahead: how many pictures are read by other threads while the model works.
        tile: side of a tile in pixels, or `auto`, for pictures too large to be shown to the net whole
            (`TiledPrediction`, `TiledBoxes`); None shows it every picture whole.
        overlap: pixels that a detector's tiles share at least; None follows from the objects of its training.
        pages: "all" gives a result for each page of a TIFF and each frame of an animation; "first" leaves the others, and
            says how many (`ImageResult.left`).

    Raises:
        DataError: at once, when a source does not exist or is no picture. A file that cannot be read gives a result
            with its reason.
        PartsError: the model cannot be tiled.
    """
    pictures = find_pictures(sources, pages, bands_of_pages(model.in_channels, model.value_range))
    answer = answer_of(model, tile, batch_size, overlap=overlap)
    every = ((pictures[place] for place in block) for block in blocks(len(pictures), batch_size, Share()))
    return telling(predict_blocks(model, answer, every, batch_size, ahead), pictures)


def telling(results: Iterable[ImageResult], pictures: PictureList) -> Iterator[ImageResult]:
    """Hands on the results, and warns of what was passed over in the folders, and of pages that were left.

    Args:
        results: of the pictures, in order.
        pictures: what was found of the sources.
    """
    for note in pictures.notes:
        _LOG.warning("%s", note)
    left: list[tuple[Path, int]] = []
    for result in results:
        if result.left and result.path is not None:
            left.append((result.path, result.left))
        yield result
    for note in said_of_pages(left, 'pages="all" reads every page'):
        _LOG.warning("%s", note)


def answer_of(
    model: VisionModel,
    tile: TileSide | None,
    batch_size: int,
    mirrorings: Mirrorings = 1,
    scales: Sequence[float] = (1.0,),
    overlap: int | None = None,
    memory: int = MEMORY,
) -> Answer:
    """What answers for a batch, with a sentence in place of too little memory. Raises PartsError for tiles that do not suit.

    Args:
        model: the trained model, on its device.
        tile: side of a tile in pixels, or "auto"; None shows the model every picture whole.
        batch_size: how many pictures a batch holds at most.
        mirrorings: 2 or 4 make one answer of the picture and its mirror images (`inference/several_looks.py`).
        scales: sizes at which each picture is shown; the first, 1, is its own.
        overlap: pixels that a detector's tiles share at least; None follows from the objects of its training.
        memory: bytes that a picture may take beside the model, for "auto".
    """
    answer = several_looks(model, mirrorings, scales, tile, overlap, memory)
    return _fitting(model, answer, tile is not None, batch_size)


def _fitting(model: VisionModel, answer: Answer, tiled: bool, batch_size: int) -> Answer:
    """The answer, with a sentence in place of too little memory, if possible before it is tried; the next may be smaller."""
    remedies = [] if batch_size == 1 else ["--batch-size 1"]
    can_tile = isinstance(model.head, DenseHead) or model.head.max_detections is not None
    if can_tile and not tiled:
        remedies.insert(0, "predict with --tile auto")
    forecast = cache(lambda: forecast_prediction(model))  # made for the first picture that is large enough
    shrunk = cache(partial(_LOG.warning, _SHRUNK, ", ".join(type(one).__name__ for one in model.transforms)))

    def guarded(batch: Batch) -> Sequence[Prediction]:
        if tiled and (batch.original_sizes.prod(1) > _MUCH * batch.sizes.prod(1)).any():
            shrunk()
        if not tiled and len(batch.images) * batch.images.shape[-2] * batch.images.shape[-1] >= LOOKED_AT_FROM:
            forecast().refuse_too_large(batch.images, remedies)
        with memory_explained("this picture", model, remedies or ["shrink it"]):
            return answer(batch)

    return guarded


def predict_blocks(
    model: VisionModel,
    answer: Answer,
    blocks: Iterable[Iterable[Picture]],
    batch_size: int,
    ahead: int = 4,
    readers: int = 2,
) -> Iterator[ImageResult]:
    """Streams the results of blocks of pictures in order; pictures of equal size within a block share batches.

    Args:
        model: what predicts, on its device.
        answer: predicts a batch, as `answer_of` makes it of the model.
        blocks: pictures that may go through the net together; how they are cut fixes every digit of the results.
        batch_size: how many pictures of equal size go through the net at once.
        ahead: how many pictures are read by other threads while the model works, beside those of the next batch.
        readers: how many threads read and decode pictures.
    """
    device = next(model.parameters()).device
    with evaluating(model), ThreadPoolExecutor(max_workers=readers) as pool:
        read = _read_ahead(pool, model, blocks, ahead + batch_size)
        for _, block in groupby(read, key=itemgetter(0)):
            yield from _in_order(_block_results(answer, device, block, batch_size))


def _block_results(
    answer: Answer, device: torch.device, block: Iterable[tuple[int, int, Picture, Any]], batch_size: int
) -> Iterator[tuple[int, ImageResult]]:
    """The results of a block with their places in it, a batch at a time."""
    waiting: dict[tuple[int, ...], list[_Waiting]] = {}
    for _, place, picture, outcome in block:
        if isinstance(outcome, UserError):
            yield place, ImageResult(picture.path, picture.name, None, None, reason_of(outcome))
            continue
        image, sample, left = outcome
        batch = waiting.setdefault(sample.image.shape, [])
        batch.append(_Waiting(place, picture, sample, image, left))
        if len(batch) == batch_size:
            yield from _predicted(answer, device, waiting.pop(sample.image.shape))
    for batch in waiting.values():
        yield from _predicted(answer, device, batch)


def _in_order(results: Iterable[tuple[int, ImageResult]]) -> Iterator[ImageResult]:
    """The results by their places, each as soon as those before it are there."""
    early: dict[int, ImageResult] = {}
    following = 0
    for place, result in results:
        early[place] = result
        while following in early:
            yield early.pop(following)
            following += 1


def _read_ahead(
    readers: ThreadPoolExecutor, model: VisionModel, blocks: Iterable[Iterable[Picture]], ahead: int
) -> Iterator[tuple[int, int, Picture, Any]]:
    """Block, place in the block, picture and what reading it gave, in order; `ahead` of them are being read."""
    pipeline = Pipeline(model.transforms)
    queue: deque[tuple[int, int, Picture, Future[Any]]] = deque()
    upcoming = ((number, place, picture) for number, block in enumerate(blocks) for place, picture in enumerate(block))
    while True:
        while len(queue) < ahead and (entry := next(upcoming, None)) is not None:
            queue.append((*entry, readers.submit(_read, entry[2], entry[1], model, pipeline)))
        if not queue:
            return
        number, place, picture, future = queue.popleft()
        yield number, place, picture, future.result()


def _read(
    picture: Picture, position: int, model: VisionModel, pipeline: Pipeline
) -> tuple[np.ndarray, Sample, int] | UserError:
    """The picture, what the model gets of it, and how many pages are left; or why there is none."""
    try:
        image, left = picture.read_and_count(model.in_channels, model.value_range)
        return image, pipeline(sample_of(picture, image, position), 0), left
    except UserError as error:
        return error
    except (MemoryError, OSError) as error:
        return DataError(Problem(picture.path or picture.name, f"cannot be read: {error}"))


class _Waiting(NamedTuple):
    """A picture that was read, and waits for a batch of its size to be full."""

    place: int
    picture: Picture
    sample: Sample
    image: np.ndarray
    left: int


def _predicted(answer: Answer, device: torch.device, waiting: Sequence[_Waiting]) -> Iterator[tuple[int, ImageResult]]:
    batch = collate([one.sample for one in waiting])
    try:
        predictions: Sequence[Prediction | None] = answer(batch._replace(images=batch.images.to(device)))
        reason = ""
    except UserError as error:
        predictions, reason = [None] * len(waiting), reason_of(error)
    for one, prediction in zip(waiting, predictions, strict=True):
        yield one.place, ImageResult(one.picture.path, one.picture.name, one.image, prediction, reason, one.left)


def reason_of(error: UserError) -> str:
    """Why a picture has no result, in one line."""
    return "; ".join("; ".join(filter(None, (problem.message, problem.suggestion))) for problem in error.problems)

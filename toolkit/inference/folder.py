"""A model over files, folders and globs: results stream in order, one unreadable picture does not stop the rest."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.analysis.out_of_memory import memory_explained
from toolkit.data.images.read import IMAGE_SUFFIXES, read_image
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import DataError, Problem, UserError, missing_path
from toolkit.inference.tiling.tiled import TiledPrediction, TileSide
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction, Sample, collate


class Picture(NamedTuple):
    """A file to predict on. name: its place below the folder that was named, with `/`; used for output files."""

    path: Path
    name: str


class ImageResult(NamedTuple):
    """What came of one picture.

    image: (H, W, C) uint8 as read, None when it could not be. prediction: in the picture's own pixels, None when it
    failed. reason: why it failed, "" when it did not.
    """

    path: Path
    name: str
    image: np.ndarray | None
    prediction: Prediction | None
    reason: str = ""


Sources = str | Path | Iterable[str | Path | Picture]
Answer = Callable[[Batch], Sequence[Prediction]]


def find_pictures(sources: Sources) -> list[Picture]:
    """Pictures named by files, folders (searched recursively) and globs (`**` too), in sorted order within each source.

    A picture named twice is taken once. Raises DataError listing every source that does not exist or holds no
    picture.
    """
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    found: dict[Path, Picture] = {}
    problems = []
    for source in named:
        if isinstance(source, Picture):
            found.setdefault(source.path.absolute(), source)
            continue
        path = Path(source)
        if path.is_dir():
            pictures = [Picture(file, file.relative_to(path).as_posix()) for file in _below(path)]
            empty = f"holds no picture ({', '.join(sorted(IMAGE_SUFFIXES))})"
        elif path.is_file():
            pictures, empty = [Picture(path, path.name)], ""
        else:
            pictures = _matching(str(source))
            empty = "matches no picture" if glob.has_magic(str(source)) else ""
        if not pictures:
            problems.append(Problem(source, empty) if empty else missing_path("file or folder", path))
        for picture in pictures:
            found.setdefault(picture.path.absolute(), picture)
    if problems:
        raise DataError(problems)
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def _matching(pattern: str) -> list[Picture]:
    """Files of a glob, named below its fixed part."""
    fixed = Path(*_fixed_parts(Path(pattern).parts[:-1]))
    files = sorted(Path(file) for file in glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns too
    pictures = [file for file in files if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES]
    return [Picture(file, file.relative_to(fixed).as_posix()) for file in pictures]


def _fixed_parts(parts: Sequence[str]) -> list[str]:
    fixed = []
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def predict(
    model: VisionModel, sources: Sources, *, batch_size: int = 1, ahead: int = 4, tile: TileSide | None = None
) -> Iterator[ImageResult]:
    """Streams an `ImageResult` for each picture, in order.

    The model is used on the device it is on, in eval mode (its flags are put back), after the transforms it was
    evaluated with (`model.transforms`). Pictures of equal size share a batch of up to `batch_size`, so the batch size
    changes nothing but the speed. ahead: pictures read by other threads while the model works. tile: for large pictures,
    the side of a tile or `auto` (`TiledPrediction`); None shows the net every picture whole.

    Raises DataError at once when a source does not exist, PartsError when the model cannot be tiled; an unreadable
    picture gives a result with its reason.
    """
    pictures = find_pictures(sources)
    answer: Answer = _fitting(model, model.predict if tile is None else TiledPrediction(model, tile))
    return _stream(model, answer, pictures, batch_size, ahead)


def _fitting(model: VisionModel, answer: Answer) -> Answer:
    """The answer, with a sentence in place of PyTorch's when memory runs out; later pictures may be smaller."""

    def guarded(batch: Batch) -> Sequence[Prediction]:
        with memory_explained("this picture", model, ["predict with --tile auto", "--batch-size 1"]):
            return answer(batch)

    return guarded


def _stream(
    model: VisionModel, answer: Answer, pictures: Sequence[Picture], batch_size: int, ahead: int
) -> Iterator[ImageResult]:
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with ThreadPoolExecutor(max_workers=2) as readers:
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
    finally:
        model.train(training)


def _read_ahead(
    readers: ThreadPoolExecutor, model: VisionModel, pictures: Sequence[Picture], ahead: int
) -> Iterator[tuple[Picture, Any]]:
    pipeline = Pipeline(model.transforms)
    queue: deque[tuple[Picture, Future[Any]]] = deque()
    upcoming = iter(enumerate(pictures))
    while True:
        while len(queue) < ahead and (entry := next(upcoming, None)) is not None:
            position, picture = entry
            queue.append((picture, readers.submit(_read, picture, position, model.in_channels, pipeline)))
        if not queue:
            return
        picture, future = queue.popleft()
        yield picture, future.result()


def _read(picture: Picture, position: int, channels: int, pipeline: Pipeline) -> tuple[np.ndarray, Sample] | UserError:
    """The picture and what the model gets of it, or why there is none."""
    try:
        image = read_image(picture.path, channels)
        sample = Sample(image, picture.name, position, (image.shape[0], image.shape[1]))
        return image, pipeline(sample, 0)
    except UserError as error:
        return error
    except (MemoryError, OSError) as error:
        return DataError(Problem(picture.path, f"cannot be read: {error}"))


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

"""A trained model with all that decides its answers: for pictures in Python, and for processes that share a job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.data.images.pages import Pages, bands_of_pages
from toolkit.data.images.picture import Picture
from toolkit.data.images.picture_files import PictureList
from toolkit.data.images.pictures import Sources, find_pictures
from toolkit.data.images.videos import Every
from toolkit.engine.process import pick_device
from toolkit.errors import ConfigError, PartsError, Problem, did_you_mean
from toolkit.export.engine_model import EngineModel
from toolkit.export.engines import with_engine
from toolkit.export.metadata import EXPORT
from toolkit.inference.folder import Answer, ImageResult, answer_of, predict_blocks, telling
from toolkit.inference.several_looks import looks_of
from toolkit.inference.shares import Share, blocks
from toolkit.inference.tiling.boxes import unlimited
from toolkit.inference.tiling.tiled import MEMORY, Mirrorings, TileSide
from toolkit.jobs.restore import Restored, restore
from toolkit.models.monte_carlo import refuse_without_dropout
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import tensors_digest
from toolkit.results.operating_points import StoredPoints, stored_points
from toolkit.samples import IGNORE_INDEX, Batch, Detections, LabelMap, Prediction


class Predictor:
    """Predicts pictures as `toolkit predict` does. It can be pickled: a model that was named by its path is loaded by
    each process for itself, when it is first used.

        predictor = toolkit.Predictor("runs/mine", tile="auto")
        for result in predictor.stream("photos/"): ...
        dataset.map_batches(toolkit.Predictor, fn_constructor_kwargs={"model": "runs/mine"}, concurrency=2)  # Ray

    Args:
        model: a run folder, a weights file, or a model that is loaded already.
        batch_size: how many pictures of equal size go through the net at once.
        device: auto, cpu, cuda or mps; of several processes that torchrun started, each takes the GPU of its number. None
            leaves the model where it is.
        tile: side of a tile in pixels, or "auto", for pictures too large to be shown to the net whole
            (`TiledPrediction`, `TiledBoxes`).
        overlap: pixels that a detector's tiles share at least; None follows from the objects of its training.
        memory: bytes that a picture may take beside the model, for tiles of "auto".
        pages: "all" gives a result for each page of a TIFF and each frame of an animation; "first" leaves the others, and
            says how many (`ImageResult.left`).
        every: which frames of videos are taken: of every so many ("10"), or so many seconds ("0.5s"), the first; None: all.
        tta: "flips", "scales" or "flips+scales": one answer of the picture, its mirror image and other sizes; "none"
            shows it once. None does as the weights were evaluated (`evaluate.mirrorings`, `scales`).
        samples: forward passes with dropout that one answer is the mean of; None is `model.samples` of the weights.
        score: detections below it, 0..1, are left out; None takes the weights' operating points, and without these what
            the model was evaluated with.
        max_detections: the most detections of an image, best first; None is what the model was evaluated with.
        iou: overlap, 0..1, above which the worse of two boxes of a class goes; None is what the model was evaluated with.
        classes: names of the classes that are answered; boxes of others are left out, pixels of others belong to no
            class. None: all.
        thresholds: whether the operating points that the weights keep (`toolkit thresholds`) are used: detections below
            their class' threshold are left out, pixels below it become the fallback. A `score` takes their place.
        overrides: changes of the config that the weights carry, each `key=value`, as of the head's `test` settings.
        probabilities: whether label maps carry the probabilities of all classes, (K, H, W) float16.
        uncertainty: whether label maps carry the entropy of the probabilities, in bits, and where the model draws
            Monte-Carlo samples (`model.samples`) the mutual information.
        threads: threads of one operation of PyTorch on the CPU; None leaves them as they are.
        readers: how many threads read and decode pictures.
        engine: torch, onnxruntime, openvino, compile, bf16, or auto, which measures them (`export/engines.py`).
        trust_code: whether code that the weights name may be imported and run.

    Raises:
        ConfigError: options that do not suit the model, when it is loaded.
        CheckpointError: weights that are missing, damaged or foreign, when they are loaded.
    """

    def __init__(
        self,
        model: str | Path | Restored | VisionModel,
        *,
        batch_size: int = 1,
        device: str | None = "auto",
        tile: TileSide | None = None,
        memory: int = MEMORY,
        pages: Pages = "first",
        overlap: int | None = None,
        every: str | None = None,
        tta: str | None = None,
        samples: int | None = None,
        score: float | None = None,
        max_detections: int | None = None,
        iou: float | None = None,
        classes: Sequence[str] | None = None,
        thresholds: bool = True,
        overrides: Sequence[str] = (),
        probabilities: bool = False,
        uncertainty: bool = False,
        threads: int | None = None,
        readers: int = 2,
        engine: str = "torch",
        trust_code: bool = False,
    ) -> None:
        self._given = model
        self._asked = {name for name, is_so in (("probabilities", probabilities), ("entropy", uncertainty)) if is_so}
        self.engine = engine
        self.batch_size, self.tile, self.threads, self.readers = batch_size, tile, threads, readers
        self.score, self.max_detections, self.thresholds = score, max_detections, thresholds
        self.tta, self.pages, self.overlap = tta, pages, overlap
        self.samples, self.memory = samples, memory
        self.iou, self.classes, self.overrides = iou, classes, tuple(overrides)
        self._device, self._trust_code = device, trust_code
        self.every = None if every is None else Every.parse(every)

    def ask(self, measures: Iterable[str]) -> None:
        """Has label maps carry more: "scores", "probabilities", "entropy". Raises ConfigError for a model without label maps."""
        self._asked |= set(measures)
        if "model" in vars(self):
            _ask(self.model, self._asked)

    def stream(self, sources: Sources) -> Iterator[ImageResult]:
        """An `ImageResult` for each picture, in order. sources: as `toolkit.predict` takes them."""
        pictures = self.pictures(sources)
        every = ((pictures[place] for place in block) for block in blocks(len(pictures), self.batch_size, Share()))
        yield from telling(self.of_blocks(every), pictures)

    def pictures(self, sources: Sources) -> PictureList:
        """The pictures that somebody means, a file of several pages as `pages` says, a video as `every` does."""
        if self.pages == "first":
            return find_pictures(sources, every=self.every)
        bands = bands_of_pages(self.model.in_channels, self.model.value_range)
        return find_pictures(sources, self.pages, bands, self.every)

    def of_blocks(self, pictures: Iterable[Iterable[Picture]]) -> Iterator[ImageResult]:
        """Results of blocks of pictures in order (`inference/shares.py`): how they are cut fixes every digit."""
        for result in predict_blocks(
            self.model, self._answer, pictures, self.batch_size, readers=self.readers, ahead=2 * self.readers
        ):
            kept = self.kept(result.prediction) if result.prediction is not None else None
            yield result._replace(prediction=kept)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of columns, as Ray Data hands it on, with the columns of the answers beside them.

        batch: a column `image` of (H, W, 3) uint8 arrays, or `path` of files. Added are `failed` (why, or ""), and
        `labels` (a label map an image; `probabilities`, `entropy` where they are asked for), `values`, or, of detections,
        `boxes`, `scores` and `classes`.

        Raises ConfigError for a batch without such a column.
        """
        column = next((name for name in ("image", "path") if name in batch), None)
        if column is None:
            message = f"wanted a column 'image' or 'path', found {', '.join(map(repr, batch)) or 'none'}"
            raise ConfigError(Problem("Predictor", message, "rename the column"))
        sources = [str(one) if column == "path" else np.asarray(one) for one in batch[column]]
        found = [result for source in sources for result in self._one(source)]
        return {**batch, **_columns(found)}

    def _one(self, source: Any) -> list[ImageResult]:
        if isinstance(source, str):
            if self.pages != "first":
                message = "a row has one answer, so a column 'path' takes the first page of each file"
                raise ConfigError(Problem("Predictor", message, "leave `pages` out, or read the pages into 'image'"))
            picture = Picture(Path(source), Path(source).name)
            return list(self.of_blocks([[picture]]))
        return list(self.stream(source))

    @cached_property
    def restored(self) -> Restored | None:
        """What was saved beside the weights; None for a model that was built in this process."""
        if isinstance(self._given, VisionModel):
            return None
        if isinstance(self._given, Restored):
            return self._given
        return restore(self._given, self.overrides, trust_code=self._trust_code)

    @cached_property
    def model(self) -> VisionModel:
        """The model on its device, with the limits that were asked for."""
        found = self.restored
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        self.threads = torch.get_num_threads()  # those of processes that it is sent to
        model = found.model if found is not None else self._given
        if not isinstance(model, VisionModel):
            raise TypeError(f"wanted a path, a Restored or a VisionModel, not {type(model).__name__}")
        if self._device is not None and not isinstance(model, EngineModel):
            model = model.to(self._own_device(self._device))
        _set_samples(model, self.samples)
        _set_limits(model, self.score, self.max_detections, self.iou)
        _refuse_unknown_classes(model, self.classes)
        if self._stored(model) is not None:
            model.head.with_scores = True
        _ask(model, self._asked)
        return with_engine(model, self.engine, self.threads)

    @cached_property
    def points(self) -> StoredPoints | None:
        """The operating points that are used; None where there are none, or a score takes their place."""
        return self._stored(self.model)

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """All that decides the answers, of JSON's kinds: what results of one folder must share."""
        model = self.model
        return {
            "weights": self._digest(model),
            "classes": list(model.classes),
            "palette": [list(color) for color in model.palette],
            "options": {
                "batch_size": self.batch_size,
                "classes": list(self.classes) if self.classes is not None else None,
                "device": next(model.parameters()).device.type,
                "engine": model.run.engine if isinstance(model, EngineModel) else self.engine,
                "iou": self.iou,
                "max_detections": model.head.max_detections,
                "overrides": list(self.overrides),
                "every": None if self.every is None else str(self.every),
                "pages": self.pages,
                "score": self.score,
                "thresholds": self.points._asdict() if self.points is not None else None,
                "threads": self.threads,
                "mirrorings": self.looks[0],
                "samples": model.samples,
                "scales": list(self.looks[1]),
                "tile": self.tile,
                "overlap": self.overlap,
                "memory": self.memory if self.tile == "auto" else None,
            },
        }

    @cached_property
    def _answer(self) -> Answer:
        answer = answer_of(self.model, self.tile, self.batch_size, *self.looks, self.overlap, self.memory)
        if self.classes is None or self.model.head.max_detections is None:
            return answer

        def of_all_classes(batch: Batch) -> Sequence[Prediction]:
            with unlimited(self.model.head):  # the limit is of the classes that are wanted
                return answer(batch)

        return of_all_classes

    def refuse_unfit(self) -> None:
        """Raises ConfigError, before the first picture, for what does not suit the model."""
        self._answer  # noqa: B018 - it is made

    @cached_property
    def looks(self) -> tuple[Mirrorings, tuple[float, ...]]:
        """Mirrorings and sizes at which each picture is shown."""
        if self.tta == "none":
            return 1, (1.0,)
        if self.tta is not None:
            return looks_of(self.tta)
        found = self.restored
        if found is None or found.config is None:
            return 1, (1.0,)
        return found.config.evaluate.mirrorings, (1.0, *found.config.evaluate.scales)

    def _stored(self, model: VisionModel) -> StoredPoints | None:
        found = self.restored
        if not self.thresholds or self.score is not None or found is None:
            return None
        points = stored_points(found.metadata, model.classes, found.path)
        return points if model.head.gives in (LabelMap, Detections) else None

    def _digest(self, model: VisionModel) -> str:
        """What tells these weights from others; an exported file carries that of the weights it was made of."""
        exported = self.restored.metadata.get(EXPORT) if self.restored is not None else None
        if isinstance(exported, dict) and isinstance(exported.get("weights"), str):
            return exported["weights"]
        return tensors_digest(model.state_dict())

    def _own_device(self, wanted: str) -> str:
        device = pick_device(wanted)
        local = os.environ.get("LOCAL_RANK", "")
        return f"cuda:{local}" if device == "cuda" and Share.of_launcher() is not None and local.isdigit() else device

    def answer(self, batch: Batch) -> list[Prediction]:
        """The answers for pictures of one size, on the model's device, as results have them."""
        return [self.kept(prediction) for prediction in self._answer(batch)]

    def kept(self, prediction: Prediction) -> Prediction:
        """One picture's answer, or that for a rectangle of it, without what stays below the score or its class' threshold."""
        points, classes = self.points, self.model.classes
        if self.classes is not None:
            wanted = [classes.index(name) for name in self.classes]
            prediction = _only(prediction, wanted, self.model.head.max_detections)
        if isinstance(prediction, Detections) and (self.score is not None or points is not None):
            return prediction.at_least(points.values(classes) if points else self.score or 0.0)
        if isinstance(prediction, LabelMap) and points is not None:
            return prediction.at_least(points.values(classes), points.label(classes))
        return prediction

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: what was given, nothing that was made of it."""
        made = {name for name, value in vars(type(self)).items() if isinstance(value, cached_property)}
        return {name: value for name, value in vars(self).items() if name not in made}


def _only(prediction: Prediction, labels: Sequence[int], limit: int | None) -> Prediction:
    """The answer without other classes: boxes of them are left out, pixels of them belong to no class.

    limit: the most boxes that stay, best first.
    """
    if isinstance(prediction, Detections):
        keep = torch.isin(prediction.labels, torch.tensor(labels)).nonzero()[:limit, 0]
        kept = Detections(prediction.boxes[keep], prediction.scores[keep], prediction.labels[keep])
        return kept.of_classes(prediction.classes)
    if isinstance(prediction, LabelMap):
        known = torch.isin(prediction.labels, torch.tensor(labels, dtype=torch.uint8))
        return prediction.labelled(prediction.labels.masked_fill(~known, IGNORE_INDEX))
    return prediction


def _ask(model: VisionModel, measures: set[str]) -> None:
    """Sets what the head's label maps carry. Raises ConfigError for a head that gives none."""
    if measures and model.head.gives is not LabelMap:
        message = "are of every pixel's classes, and this model gives no label maps"
        raise ConfigError(Problem("probabilities and uncertainty", message, "leave them out"))
    model.head.with_scores |= "scores" in measures
    model.head.with_probabilities |= "probabilities" in measures
    model.head.with_entropy |= "entropy" in measures


def _refuse_unknown_classes(model: VisionModel, classes: Sequence[str] | None) -> None:
    """Raises ConfigError for names that are no classes of the model, or a model whose answers have none to leave out."""
    if classes is None:
        return
    problems = [
        Problem("--classes", f"the model has no class '{name}'", did_you_mean(name, model.classes))
        for name in classes
        if name not in model.classes
    ]
    if model.head.gives not in (LabelMap, Detections):
        problems = [Problem("--classes", "leaves out boxes and pixels, and this model answers neither", "leave it out")]
    if problems:
        raise ConfigError(problems)


def _set_samples(model: VisionModel, samples: int | None) -> None:
    """Raises ConfigError for samples of a model whose answers cannot be sampled."""
    if samples is None:
        return
    if isinstance(model, EngineModel):
        if samples != model.passes:
            message = f"{model.run.path.name} answers from {model.passes} pass{'es' if model.passes > 1 else ''}"
            remedy = "leave it out, or export the checkpoint with it"
            raise ConfigError(Problem("--samples-mc", message, remedy))
        return
    try:
        if samples > 1:
            refuse_without_dropout(model)
    except PartsError as error:
        raise ConfigError(problem.at("--samples-mc") for problem in error.problems) from error
    model.samples = samples


def _set_limits(model: VisionModel, score: float | None, max_detections: int | None, iou: float | None) -> None:
    """Raises ConfigError for options of detectors beside a model that is none."""
    given = {"--score": score, "--max-detections": max_detections, "--iou": iou}
    if all(value is None for value in given.values()):
        return
    if model.head.max_detections is None:
        names = " and ".join(name for name, value in given.items() if value is not None)
        message = f"cut{'s' if ' and ' not in names else ''} detections, and this model predicts none"
        raise ConfigError(Problem(names, message, "leave it out"))
    model.head.limit_detections(score=score, count=max_detections, nms_iou=iou)


def _columns(results: Sequence[ImageResult]) -> dict[str, Any]:
    """The answers as columns of arrays, one an image; None where there is none."""
    answers = [_answers(result) for result in results]
    names = dict.fromkeys(name for answer in answers for name in answer)
    columns = {name: _objects([answer.get(name) for answer in answers]) for name in names}
    return {"failed": _objects([result.reason for result in results]), **columns}


def _answers(result: ImageResult) -> dict[str, Any]:
    prediction = result.prediction
    if prediction is None:
        return {}
    if isinstance(prediction, Detections):
        boxes, scores, labels = prediction.numpy()
        return {"boxes": boxes, "scores": scores, "classes": labels}
    if isinstance(prediction, LabelMap):
        more = {"probabilities": prediction.probabilities, "entropy": prediction.entropy}
        return {"labels": prediction.numpy(), **{name: map.numpy() for name, map in more.items() if map is not None}}
    return {"values": prediction.numpy()}


def _objects(values: Sequence[Any]) -> np.ndarray:
    """A column of anything, arrays of different shapes too."""
    column = np.empty(len(values), object)
    for place, value in enumerate(values):
        column[place] = value
    return column

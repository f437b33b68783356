"""The whole job of predicting pictures: restore, stream, write; what cannot be done is listed, the rest is done."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from toolkit.data.images.pictures import Picture, find_pictures
from toolkit.data.images.traits import unread_pages
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.process import keep_freed_memory, pick_device
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.files import cannot_write
from toolkit.inference.folder import ImageResult, predict
from toolkit.inference.tiling.tiled import TileSide
from toolkit.inference.writers.outputs import Outputs, stems_of
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.jobs.restore import Restored, restore
from toolkit.models.vision_model import VisionModel
from toolkit.progress import Progress
from toolkit.results.operating_points import StoredPoints, stored_points
from toolkit.samples import Detections, LabelMap

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def run_prediction(
    checkpoint: str | Path | Restored,
    sources: Sequence[str | Path],
    out: str | Path,
    formats: Sequence[str] | None = None,
    *,
    batch_size: int = 1,
    device: str = "auto",
    tile: TileSide | None = None,
    score: float | None = None,
    max_detections: int | None = None,
    trust_code: bool = False,
    thresholds: bool = True,
) -> dict[str, Any]:
    """Predicts on files, folders and globs and writes the results under `out`.

    A picture that cannot be read, predicted or written costs nothing else: it is listed, and the others are done. Ctrl-C
    ends the job after the picture it is at; tables of all pictures are then written as far as it came.

    Args:
        checkpoint: a run folder, a weights file, or a model that is restored already.
        sources: files, folders (searched recursively) and globs.
        out: folder of the results, not inside a folder of pictures; sub-folders as in the sources.
        formats: names of output formats; None writes those that suit what the model predicts.
        batch_size: how many pictures of equal size go through the net at once.
        device: auto, cpu, cuda or mps.
        tile: side of a tile in pixels, or "auto", for pictures too large to be shown to the net whole
            (`TiledPrediction`).
        score: detections below it, 0..1, are left out of every format; None takes the weights' operating points, and
            without these what the model was evaluated with.
        max_detections: the most detections of an image, best first; None is what the model was evaluated with.
        trust_code: whether code that the checkpoint names may be imported and run.
        thresholds: whether the operating points that the weights keep (`toolkit thresholds`) are used: detections below
            their class' threshold are left out, pixels below it become the fallback. A `score` takes their place.

    Returns:
        {"images", "written" (files), "failed": [{"file", "reason"}], "images_per_second", "limited" (pictures that reached
        `limit`, the most detections of an image), "limit", "renamed": [{"file", "as"}], "unread" (sentences on pages that
        were left), "formats" (that were written), "classes", "drawn_from", "thresholds" (goal, split,
        fallback and {class: threshold or None} of those that were used, or None), "stopped"}.

    Raises:
        UserError: a bad checkpoint, no pictures, a format that does not suit the model, a folder that cannot be written,
            a full disk; files written before stay.
    """
    pictures = find_pictures(sources)
    _refuse_inside(Path(out), sources)
    restored = checkpoint if isinstance(checkpoint, Restored) else restore(checkpoint, trust_code=trust_code)
    model = restored.model.to(pick_device(device))
    keep_freed_memory()
    _set_limits(model, score, max_detections)
    points = _points(restored) if thresholds and score is None else None
    model.head.with_scores = model.head.with_scores or points is not None
    outputs = _outputs(
        Path(out), formats, model, pictures, points.values(model.classes) if points is not None else score
    )
    stems = stems_of([picture.name for picture in pictures])
    failed: list[dict[str, str]] = []
    limited: list[str] = []
    began, number = time.monotonic(), 0
    results = predict(model, pictures, batch_size=batch_size, tile=tile)
    try:
        with closing(results), StopRequest() as stop, Progress("predict", len(pictures), "img") as progress:  # type: ignore[type-var]
            for number, (stem, result) in enumerate(zip(stems, results, strict=True), 1):
                _write(outputs, stem, _kept(result, score, points, model.classes), failed)
                if _is_cut(result, model.head.max_detections):
                    limited.append(result.name)
                progress.update(number)
                if stop.requested:
                    break
    finally:
        outputs.finish()
    seconds = max(time.monotonic() - began, 1e-9)
    overlay = outputs.writers.get("overlay")
    return {
        "images": len(pictures),
        "written": len(outputs.written),
        "failed": failed,
        "images_per_second": round((number - len(failed)) / seconds, 3),
        "limited": limited,
        "limit": model.head.max_detections,
        "renamed": _renamed(pictures, stems),
        "unread": unread_pages(picture.path for picture in pictures if picture.path is not None),
        "formats": outputs.used_for(model.head.gives) if model.head.gives else outputs.formats or [],
        "classes": list(model.classes),
        "drawn_from": overlay.min_score if isinstance(overlay, OverlayWriter) and points is None else None,
        "thresholds": points._asdict() if points is not None else None,
        "stopped": number < len(pictures),
        "done": number - len(failed),
    }


def _set_limits(model: VisionModel, score: float | None, max_detections: int | None) -> None:
    """Raises ConfigError for options of detectors beside a model that is none."""
    given = {"--score": score, "--max-detections": max_detections}
    if all(value is None for value in given.values()):
        return
    if model.head.max_detections is None:
        names = " and ".join(name for name, value in given.items() if value is not None)
        message = "cuts detections, and this model predicts none"
        raise ConfigError(Problem(names, message, "leave it out"))
    model.head.limit_detections(score=score, count=max_detections)


def _outputs(
    folder: Path,
    formats: Sequence[str] | None,
    model: VisionModel,
    pictures: Sequence[Picture],
    score: float | Sequence[float] | None,
) -> Outputs:
    """The writers, in a folder that is there. Raises before the first picture for formats that do not suit the model."""
    inputs = [picture.path for picture in pictures if picture.path is not None]
    outputs = Outputs(folder, formats, model.classes, model.palette, inputs, model.category_ids)
    if model.head.gives is not None:
        outputs.refuse_unfitting(model.head.gives)
    overlay = outputs.writers.get("overlay")
    if score is not None and isinstance(overlay, OverlayWriter):
        overlay.min_score = score
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return outputs


def _points(restored: Restored) -> StoredPoints | None:
    """The operating points of the weights, where the model answers something that thresholds cut."""
    points = stored_points(restored.metadata, restored.model.classes, restored.path)
    return points if restored.model.head.gives in (LabelMap, Detections) else None


def _kept(result: ImageResult, score: float | None, points: StoredPoints | None, classes: Sequence[str]) -> ImageResult:
    """One picture's answer without what stays below the score or its class' threshold."""
    prediction = result.prediction
    if isinstance(prediction, Detections) and (score is not None or points is not None):
        return result._replace(prediction=prediction.at_least(points.values(classes) if points else score or 0.0))
    if isinstance(prediction, LabelMap) and points is not None:
        return result._replace(prediction=prediction.at_least(points.values(classes), points.label(classes)))
    return result


def _write(outputs: Outputs, stem: str, result: ImageResult, failed: list[dict[str, str]]) -> None:
    """One picture's files, or an entry in `failed`. Raises UserError for a full disk, which the next would meet too."""
    prediction = result.prediction
    if prediction is None or result.image is None:
        failed.append({"file": str(result.path), "reason": result.reason})
        return
    try:
        outputs.add(stem, result.image, prediction)
    except ConfigError:
        raise
    except UserError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL_DISK:
            raise
        failed.append({"file": str(result.path), "reason": "; ".join(str(problem) for problem in error.problems)})


def _is_cut(result: ImageResult, limit: int | None) -> bool:
    """Whether a detector found so many objects that more may have been left out."""
    return limit is not None and isinstance(result.prediction, Detections) and len(result.prediction.boxes) >= limit


def _renamed(pictures: Sequence[Picture], stems: Sequence[str]) -> list[dict[str, str]]:
    """Pictures whose results are not called after them alone."""
    pairs = zip(pictures, stems, strict=True)
    return [{"file": picture.name, "as": stem} for picture, stem in pairs if stem != picture.name.rpartition(".")[0]]


def _refuse_inside(out: Path, sources: Sequence[str | Path]) -> None:
    """Results never go into a folder of pictures: the next run, or the next training, would take them for pictures."""
    place = out.resolve()
    for source in map(Path, sources):
        if source.is_dir() and source.resolve() in (place, *place.parents):
            raise ConfigError(
                Problem("--out", f"{out} lies in the folder of the pictures, {source}", "choose another folder")
            )

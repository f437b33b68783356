"""The proof that an exported file answers as its model does: both begin with the bytes of real pictures.

The model's side is this package, as `toolkit predict` runs it. The other side is a process that has never heard of it
(`fresh_side.py`): the file, its `run.py`, an engine, numpy and Pillow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from toolkit.data.images.picture import Picture, sample_of
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import Problem, UserError
from toolkit.export import fresh_side
from toolkit.export.answers import arrays_of, prediction_of
from toolkit.export.comparison import Answers, Bounds, Difference, compared, total
from toolkit.export.detector import DetectorGraph
from toolkit.export.faults import Fault, first_fault, other_classes
from toolkit.export.graph import ALL, MEAN, RAW, VARIANCE, Cut, ExportGraph
from toolkit.export.inside import with_blocks
from toolkit.export.metric_lost import Measure, metric_lost
from toolkit.export.pooling_ties import choices_of, unpooled
from toolkit.models.modes import evaluating
from toolkit.models.monte_carlo import predictions_of, seeded_moments
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections, Prediction, collate

_ROUNDED = 1e-3
"""Share of bytes that two ways of summing floats in a resize may round to neighbouring levels: far above what was seen."""
MOST = 32
"""Pictures at most."""


class Proved(NamedTuple):
    """A picture that both sides answered.

    Args:
        name: the name of the picture's file.
        size: (height, width) in pixels, as the file was given to both.
        difference: how far apart they were.
        mine: what the model predicted for it.
        theirs: what the exported file predicted for it.
        rounded: bytes that the program's own resizing rounds to the neighbouring level; the model was given these, too.
    """

    name: str
    size: tuple[int, int]
    difference: Difference
    mine: Prediction
    theirs: Prediction
    rounded: int = 0


class Certificate(NamedTuple):
    """What came of a proof.

    Args:
        ok: whether everything is within the bounds.
        bounds: how far apart the answers may be.
        whole: the worst of all pictures.
        rows: the answers for each picture, in order.
        problems: what exceeds the bounds, in words.
        fault: where the programs part, if they do.
        metric: {"name", "model", "export", "difference"} on annotated pictures; None without.
        seconds: what the export took for the pictures at their own size, in mean.
    """

    ok: bool
    bounds: Bounds
    whole: Difference
    rows: list[Proved]
    problems: list[str]
    fault: Fault | None
    metric: dict[str, Any] | None
    seconds: float


def three_sizes(pictures: Sequence[Path], folder: Path, size: tuple[int, int] | None, smallest: int = 33) -> list[Path]:
    """Files for both sides: each picture as it is, at three quarters of its sides, and a piece of its middle; odd sides.

    Args:
        pictures: the files to start from, at least one.
        folder: where the others are written, as PNG.
        size: (height, width) that all must have; then each picture has that one size.
        smallest: least side of those that are made, in pixels.
    """
    made: list[Path] = []
    for number, path in enumerate(pictures):
        picture = ImageOps.exif_transpose(Image.open(path))
        if picture.mode not in ("L", "RGB", "I;16"):
            picture = picture.convert("RGB")
        how = Image.Resampling.NEAREST if picture.mode == "I;16" else Image.Resampling.BICUBIC
        if size is not None:
            kinds = [("fixed", picture.resize((size[1], size[0]), how))] if picture.size != (size[1], size[0]) else []
            made += [] if kinds else [path]
        else:
            made.append(path)
            width, height = (max(smallest, int(side * 0.75)) | 1 for side in picture.size)
            piece = tuple(max(smallest, side // 2) | 1 for side in picture.size)
            if piece == (width, height):  # of a small picture: wider than it, black around
                piece = (width + 8, height + 8)
            left, top = ((side - part) // 2 for side, part in zip(picture.size, piece, strict=True))
            cut = picture.crop((left, top, left + piece[0], top + piece[1]))
            kinds = [("smaller", picture.resize((width, height), how)), ("piece", cut)]
        for kind, one in kinds:
            target = folder / f"{number}_{kind}_{path.stem}.png"
            one.save(target)
            made.append(target)
    return made


def prove(
    model: VisionModel,
    file: Path,
    target: str,
    pictures: Sequence[Path],
    bounds: Bounds,
    *,
    cut: Cut | None = None,
    size: tuple[int, int] | None = None,
    raw: bool = False,
    measure: Measure | None = None,
) -> Certificate:
    """Lets model and export answer for pictures and compares what they say.

    Args:
        model: the model, in eval mode on the CPU, in float32.
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        pictures: files of pictures, in formats that Pillow reads.
        bounds: how far apart they may be.
        cut: thresholds that are inside the export.
        size: (height, width) of an export for one size.
        raw: whether the export begins at pixels and ends with logits.
        measure: annotations of pictures, for the metric.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = three_sizes(pictures, folder, size)
        found, notes, seconds = run_fresh(file, target, files, folder)
        rows = []
        with evaluating(model):
            for path, theirs in zip(files, found, strict=True):
                mine, prediction, rounded, others = reference(model, path, cut, raw=raw, ties=bounds.ties)
                pair = compared(mine, theirs, bounds, others)
                if pair.problems(bounds) and unpooled(model) and not bounds.relative:
                    pair = _with_its_choices(model, file, target, path, theirs, pair, bounds, cut=cut, raw=raw)
                given = theirs["given"].shape
                shape = (given[1], given[2]) if not raw else (given[2], given[3])
                if not raw:
                    prediction = prediction_of(mine, model.head.gives)
                answer = prediction if raw else prediction_of(theirs, model.head.gives)
                rows.append(Proved(path.name, shape, pair, prediction, answer, rounded))
            whole = total([row.difference for row in rows])
            metric = metric_lost(measure, files, rows) if measure is not None and not raw else None
            stale = other_classes(list(model.classes), notes.get("classes", []))
            problems = whole.problems(bounds) + ([stale.why] if stale else [])
            if metric is not None and metric["difference"] > bounds.metric:
                problems.append(f"{metric['name']} differs by {metric['difference']:.3g}, allowed {bounds.metric:g}")
            fault = stale
            if problems and stale is None:
                worst = _worst(rows, bounds)
                try:
                    fault = bisect(model, file, target, files[worst], folder, cut=cut, raw=raw, coarse=bounds.relative)
                    more = None if fault else "in a second run that shows the values inside, no value differs"
                except UserError as error:
                    more = f"the values inside cannot be looked at: {error.problems[0].message}"
                problems += [f"{rows[worst].name}: {more}"] if more else []
    own = [second for path, second in zip(files, seconds, strict=True) if path in pictures]
    mean = float(np.mean(own or seconds))
    return Certificate(not problems, bounds, whole, rows, problems, fault, metric, mean)


def _with_its_choices(
    model: VisionModel, file: Path, target: str, picture: Path, theirs: Answers, pair: Difference, bounds: Bounds, *,
    cut: Cut | None, raw: bool,
) -> Difference:  # fmt: skip
    """The difference that is left when the model unpools to where the export did, if all other places are ties.

    Labels are compared without that, over all pictures together, so that those which ties change still count.

    Args:
        model: a model with unpooling, in eval mode.
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        picture: file of the picture that differs.
        theirs: the export's answer for it.
        pair: the difference, which is given back when ties do not explain it.
        bounds: how far apart the answers may be, and how near to each other two values of a window are a tie.
        cut: thresholds that are inside the export.
        raw: whether the export begins at pixels and ends with logits.
    """
    names = unpooled(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, *_ = run_fresh(with_blocks(file, target, names, folder / "opened"), target, [picture], folder)
        inside = next(found)
    with choices_of(model, inside) as chosen:
        again = compared(reference(model, picture, cut, raw=raw).arrays, theirs, bounds)
    if not chosen.windows or chosen.gap > bounds.ties or again.logit is None or pair.logit is None:
        return pair
    left = pair._replace(logit=again.logit, unmatched=chosen.windows, ties=chosen.windows)
    return pair if left._replace(labels=None).problems(bounds) else left


def run_fresh(
    file: Path, target: str, pictures: Sequence[Path], folder: Path
) -> tuple[Iterator[dict[str, np.ndarray]], dict[str, Any], list[float]]:
    """Answers of an exported file from a fresh process: arrays of each picture, the file's metadata, seconds of each.

    The arrays are read as they are asked for, while the folder is there.

    Raises UserError with what the process said when it fails.

    Args:
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        pictures: files of pictures, in formats that Pillow reads.
        folder: for what is handed over.
    """
    out = Path(tempfile.mkdtemp(dir=folder))
    without = ["toolkit", "cv2"] + ([] if target == "torch" else ["torch"])
    job = {
        "runner": str(file.with_name("run.py").absolute()),
        "file": str(file.absolute()),
        "pictures": [str(Path(path).absolute()) for path in pictures],
        "out": str(out),
        "without": without,
    }
    told = out / "job.json"
    told.write_text(json.dumps(job))
    command = [sys.executable, "-I", str(Path(fresh_side.__file__)), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        message = f"cannot be run by a process of its own: {last[-1] if last else f'exit {done.returncode}'}"
        raise UserError(Problem(file, message))
    return (
        _answers(out, len(pictures)),
        json.loads((out / "notes.json").read_text()),
        json.loads((out / "seconds.json").read_text()),
    )


def _answers(folder: Path, count: int) -> Iterator[dict[str, np.ndarray]]:
    for number in range(count):
        with np.load(folder / f"{number}.npz") as arrays:
            yield {name.replace("|", "/"): arrays[name] for name in arrays.files}


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

    Where the resizing of the program and that of the data part by one level in at most `_ROUNDED` of the bytes (sums that
    end half-way between two levels), the model gets the program's bytes, so that the nets are compared. Any other
    difference stays, and is found in the answers.

    Args:
        model: the model, in eval mode.
        path: file of a picture, which is answered for.
        cut: lowest scores that count; None: all do.
        raw: whether only the head's outputs are wanted.
        ties: how near to a limit a score, an overlap or a rank lies where rounding decides.
    """
    picture = Picture(path, path.name)
    given = picture.read(model.in_channels, model.value_range)
    transforms = [] if raw else model.transforms  # a raw program begins behind them
    sample = Pipeline(transforms)(sample_of(picture, given, 0), 0)
    image, rounded = (sample.image, 0) if raw else _as_resized_inside(model, given, sample.image)
    batch = collate([sample._replace(image=image)])
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


def _as_resized_inside(model: VisionModel, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
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
    few = count <= _ROUNDED * gaps.size and gaps.max(initial=0) <= 1
    return (inside, count) if few and count else (wanted, 0)


def bisect(
    model: VisionModel,
    file: Path,
    target: str,
    picture: Path,
    folder: Path,
    *,
    cut: Cut | None,
    raw: bool,
    coarse: bool,
) -> Fault | None:
    """The first value inside the two programs that differs for a picture; None where none does.

    Raises UserError when the program cannot be run with the values inside shown.

    Args:
        model: the model, in eval mode.
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        picture: the picture that differs most.
        folder: for files that are made.
        cut: lowest scores that count inside the export; None: all do.
        raw: whether the program begins at pixels.
        coarse: whether roundings of half precision or of eight bits are no difference.
    """
    kind = DetectorGraph if model.head.gives is Detections else ExportGraph
    graph = kind(model, cut=cut, blocks=True, samples=1 if raw else model.samples).eval()
    given = Picture(picture, picture.name).read(model.in_channels, model.value_range)[None]
    with torch.no_grad():
        example = torch.from_numpy(np.ascontiguousarray(given))
        values = graph(example, *graph.more(example).values())
    named = {name: value.numpy() for name, value in zip(graph.names, values, strict=True)}
    blocks = [name for name in graph.names if name not in graph.answers]
    answers = graph.answers[::-1]
    last = [name for name in answers if name.startswith(ALL)]
    order = [*blocks, *(name for name in answers if name not in last), *last]
    wanted = {"given": given} | {name: named[name] for name in order}
    opened = with_blocks(file, target, blocks, folder / "opened")
    again, *_ = run_fresh(opened, target, [picture], folder)
    found = next(again)
    stats = {"mean": model.pixel_stats.mean, "std": model.pixel_stats.std, "bgr": model.pixel_stats.bgr}
    if raw:
        wanted.pop("given")
        found[next(name for name in wanted if name.endswith("input"))] = found.pop("given")
    return first_fault(wanted, found, stats, 0.05 if coarse else 1e-3)


def _worst(rows: Sequence[Proved], bounds: Bounds) -> int:
    """The picture that differs most: of those beyond the bounds the smallest is enough, and quicker."""
    beyond = [place for place, row in enumerate(rows) if row.difference.problems(bounds)]
    return min(beyond or range(len(rows)), key=lambda place: rows[place].size[0] * rows[place].size[1])

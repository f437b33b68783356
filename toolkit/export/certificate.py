"""The proof that an exported file answers as its model does: both begin with the bytes of real pictures.

The model's side is this package, as `toolkit predict` runs it. The other side is a process that has never heard of it
(`fresh_side.py`): the file, its `run.py`, an engine, numpy and Pillow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from toolkit.errors import UserError, listed
from toolkit.export.answers import prediction_of
from toolkit.export.bisection import bisect
from toolkit.export.comparison import Answers, Bounds, Difference, compared, total
from toolkit.export.exact import exact_model, explained, explained_boxes
from toolkit.export.faults import Fault, other_classes
from toolkit.export.fresh_process import run_fresh
from toolkit.export.graph import Cut
from toolkit.export.inside import values_inside, with_blocks
from toolkit.export.metric_lost import Measure, metric_lost
from toolkit.export.pooling_ties import choices_of, unpooled
from toolkit.export.reference import reference
from toolkit.models.modes import evaluating
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Prediction

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
        lacks: dict[str, None] = {}
        exact: VisionModel | None = None
        with evaluating(model):
            for path, theirs in zip(files, found, strict=True):
                mine, prediction, rounded, others = reference(model, path, cut, raw=raw, ties=bounds.ties)
                pair = compared(mine, theirs, bounds, others)
                lacks |= dict.fromkeys(name for name in mine if name not in theirs)
                if pair.problems(bounds) and unpooled(model) and not bounds.relative:
                    pair = _with_its_choices(model, file, target, path, theirs, pair, bounds, cut=cut, raw=raw)
                elif pair.problems(bounds) and not bounds.relative:
                    exact = exact or exact_model(model)
                    boxes = model.head.max_detections is not None
                    pair = (
                        explained_boxes(exact, path, mine, theirs, pair, cut)
                        if boxes
                        else explained(exact, path, mine, theirs, pair, raw=raw)
                    )
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
            problems += [f"it has no output {listed(list(lacks))}"] if lacks else []
            if metric is not None and metric["difference"] > bounds.metric:
                problems.append(f"{metric['name']} differs by {metric['difference']:.3g}, allowed {bounds.metric:g}")
            fault = stale
            if problems and stale is None:
                worst = _worst(rows, bounds)
                try:
                    fault = bisect(model, file, target, files[worst], folder, bounds, cut=cut, raw=raw)
                    ties = rows[worst].difference.ties and unpooled(model)
                    but = f" but for {rows[worst].difference.ties} pooling windows of two equal values" if ties else ""
                    more = None if fault else f"in a second run that shows the values inside, no value differs{but}"
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
    if target == "torch":
        inside = values_inside(file, names, theirs["given"])
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found, *_ = run_fresh(with_blocks(file, target, names, folder / "opened"), target, [picture], folder)
            inside = next(found)
    with choices_of(model, inside) as chosen:
        mine = reference(model, picture, cut, raw=raw).arrays
    again = compared(mine, theirs, bounds)
    if again._replace(labels=None).problems(bounds):
        exact = exact_model(model)
        with choices_of(exact, inside):
            again = explained(exact, picture, mine, theirs, again, raw=raw)
    if chosen.gap > bounds.ties or again.logit is None or pair.logit is None:
        return pair
    left = again._replace(labels=pair.labels, unmatched=chosen.windows, ties=chosen.windows)
    return pair if left._replace(labels=None).problems(bounds) else left


def _worst(rows: Sequence[Proved], bounds: Bounds) -> int:
    """The picture that differs most: of those beyond the bounds the smallest is enough, and quicker."""
    beyond = [place for place, row in enumerate(rows) if row.difference.problems(bounds)]
    return min(beyond or range(len(rows)), key=lambda place: rows[place].size[0] * rows[place].size[1])

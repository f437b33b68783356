"""Where inside a program an export begins to differ from its model: both run again with the values between layers shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from toolkit.data.images.picture import Picture
from toolkit.export.comparison import Bounds
from toolkit.export.detector import DetectorGraph
from toolkit.export.faults import Fault, first_fault
from toolkit.export.fresh_process import run_fresh
from toolkit.export.graph import ALL, Cut, ExportGraph
from toolkit.export.inside import with_blocks
from toolkit.export.pooling_ties import choices_of, unpooled
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections


def bisect(
    model: VisionModel,
    file: Path,
    target: str,
    picture: Path,
    folder: Path,
    bounds: Bounds,
    *,
    cut: Cut | None,
    raw: bool,
) -> Fault | None:
    """The first value inside the two programs that differs for a picture; None where none does.

    Where the export only took the other one of two equal values of a pooling window, so does the model here.

    Raises UserError when the program cannot be run with the values inside shown.

    Args:
        model: the model, in eval mode.
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        picture: the picture that differs most.
        folder: for files that are made.
        bounds: whether roundings of half precision or of eight bits are a difference, and what a tie is.
        cut: lowest scores that count inside the export; None: all do.
        raw: whether the program begins at pixels.
    """
    kind = DetectorGraph if model.head.gives is Detections else ExportGraph
    graph = kind(model, cut=cut, blocks=True, samples=1 if raw else model.samples).eval()
    given = Picture(picture, picture.name).read(model.in_channels, model.value_range)[None]
    example = torch.from_numpy(np.ascontiguousarray(given))

    @torch.no_grad()
    def values() -> dict[str, np.ndarray]:
        made = graph(example, *graph.more(example).values())
        return {name: value.numpy() for name, value in zip(graph.names, made, strict=True)}

    named = values()
    blocks = [name for name in graph.names if name not in graph.answers]
    answers = graph.answers[::-1]
    last = [name for name in answers if name.startswith(ALL)]
    order = [*blocks, *(name for name in answers if name not in last), *last]
    opened = with_blocks(file, target, blocks, folder / "opened")
    again, *_ = run_fresh(opened, target, [picture], folder)
    found = next(again)
    if unpooled(model):
        with choices_of(model, found) as chosen:
            chosen_alike = values()
        named = chosen_alike if chosen.windows and chosen.gap <= bounds.ties else named
    wanted = {"given": given} | {name: named[name] for name in order}
    stats = {"mean": model.pixel_stats.mean, "std": model.pixel_stats.std, "bgr": model.pixel_stats.bgr}
    if raw:
        wanted.pop("given")
        found[next(name for name in wanted if name.endswith("input"))] = found.pop("given")
    return first_fault(wanted, found, stats, 0.05 if bounds.relative else 1e-3)

"""A checkpoint as a file of another engine, with the proof that it answers the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from toolkit.errors import ConfigError, Problem
from toolkit.export.detector import DetectorGraph, OnnxDetectorGraph
from toolkit.export.graph import Cut, ExportGraph
from toolkit.export.metadata import metadata_of
from toolkit.export.onnx import OPSET, write_onnx
from toolkit.export.program import Program, write_down
from toolkit.jobs.restore import Restored, restore
from toolkit.models.weights import tensors_digest
from toolkit.results.operating_points import stored_points
from toolkit.samples import Detections, LabelMap

log = logging.getLogger(__name__)
Target = Literal["onnx", "openvino", "torch"]
ENDINGS: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


class Wishes(NamedTuple):
    """What is asked of an export.

    Args:
        size: (height, width) that all pictures will have; None: any.
        half: whether weights and maps are float16.
        raw: whether the program begins at normalised pixels and ends with the head's outputs.
        thresholds: whether the operating points that the weights keep are applied inside.
    """

    size: tuple[int, int] | None = None
    half: bool = False
    raw: bool = False
    thresholds: bool = True


def run_export(
    checkpoint: str | Path,
    to: Target = "onnx",
    out: str | Path | None = None,
    wishes: Wishes | None = None,
    *,
    overrides: Sequence[str] = (),
    trust_code: bool = False,
) -> dict[str, Any]:
    """Writes a checkpoint as a program; returns {"file", ...}.

    Args:
        checkpoint: a run folder or weights file.
        to: the format.
        out: path of the file; None is beside the weights.
        wishes: size, precision and what is inside.
        overrides: changes of the config that the weights carry, each `key=value`.
        trust_code: whether parts of the form module:Class that the file names are imported.

    Raises:
        UserError: a bad checkpoint, a size that is not legal, a package that is not installed, a net that cannot be
            exported.
    """
    wishes = wishes or Wishes()
    restored = restore(checkpoint, overrides, trust_code=trust_code)
    path = out_path(restored.path, to, out)
    graph = graph_of(restored, wishes, to, blocks=True)
    program = write_down(graph, wishes.size)
    write(program, path, to, about(restored, program, wishes))
    return {"file": str(path)}


def out_path(weights: Path, to: Target, out: str | Path | None) -> Path:
    """Where an export goes. Raises ConfigError for an ending of another format."""
    ending = ENDINGS[to]
    if out is None:
        return weights.with_suffix(ending)
    path = Path(out)
    if path.suffix.lower() != ending:
        message = f"a file for --to {to} ends with {ending}, found {path.name}"
        raise ConfigError(Problem("--out", message, f"--out {path.with_suffix(ending)}"))
    return path


def graph_of(restored: Restored, wishes: Wishes, to: Target = "onnx", *, blocks: bool = False) -> ExportGraph:
    """The graph of a restored model.

    Args:
        restored: the model and its metadata.
        wishes: size, precision and what is inside.
        to: the format it will be written in.
        blocks: whether values between its parts can be looked at.
    """
    detects = restored.model.head.gives is Detections and not wishes.raw
    kind = (DetectorGraph if to == "torch" else OnnxDetectorGraph) if detects else ExportGraph
    graph = kind(
        restored.model,
        raw=wishes.raw,
        half=wishes.half,
        cut=cut_of(restored) if wishes.thresholds else None,
        blocks=blocks,
    )
    return graph.eval()


def cut_of(restored: Restored) -> Cut | None:
    """The operating points that weights keep, where the answers have scores to compare with."""
    model = restored.model
    points = stored_points(restored.metadata, model.classes, restored.path)
    if points is None or model.head.gives not in (LabelMap, Detections):
        return None
    return Cut(tuple(points.values(model.classes)), points.label(model.classes))


def about(restored: Restored, program: Program, wishes: Wishes) -> dict[str, Any]:
    """The metadata of an export."""
    more = {
        "weights": tensors_digest(restored.model.state_dict()),
        "raw": wishes.raw,
        "half": wishes.half,
        "thresholds": wishes.thresholds and cut_of(restored) is not None,
        "opset": OPSET,
    }
    return metadata_of(restored.model, restored.metadata, program, **more)


def write(program: Program, path: Path, to: Target, metadata: dict[str, Any]) -> None:
    """Writes a program in a format."""
    write_onnx(program, path, metadata)

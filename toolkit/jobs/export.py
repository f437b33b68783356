"""A checkpoint as a file of another engine, with the proof that it answers the same."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import Any, Literal, NamedTuple

from toolkit.errors import ConfigError, PartsError, Problem
from toolkit.export.certificate import MOST, Certificate, prove
from toolkit.export.comparison import BOUNDS, Bounds, Difference
from toolkit.export.detector import DetectorGraph, OnnxDetectorGraph
from toolkit.export.exact import FARTHER, MOST_OF_SIDE
from toolkit.export.exact import MOST as MOST_ROUNDED
from toolkit.export.graph import Cut, ExportGraph
from toolkit.export.installed import needed
from toolkit.export.int8 import quantise
from toolkit.export.metadata import metadata_of
from toolkit.export.metric_lost import Measure
from toolkit.export.onnx import OPSET, write_onnx
from toolkit.export.openvino import write_openvino
from toolkit.export.program import Program, write_down
from toolkit.export.programs import is_program
from toolkit.export.runner import PACKAGES, write_runner
from toolkit.export.torch_program import write_program
from toolkit.files import replacing
from toolkit.jobs.build import build_evaluators
from toolkit.jobs.export_samples import Samples, samples_of
from toolkit.jobs.restore import Restored, restore
from toolkit.models.monte_carlo import refuse_without_dropout
from toolkit.models.weights import tensors_digest
from toolkit.report.parity_page import write_parity_page
from toolkit.results.operating_points import stored_points
from toolkit.samples import Detections, LabelMap

Target = Literal["onnx", "openvino", "torch"]
ENDINGS: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
_FULL_WIDTH = 25_000_000
"""Parameters from which on a net is proved on two pictures only: SegNet, the dilated nets, U-Net of 2015."""


class Wishes(NamedTuple):
    """What is asked of an export.

    Args:
        size: (height, width) that all pictures will have; None: any.
        half: whether weights and maps are float16.
        raw: whether the program begins at normalised pixels and ends with the head's outputs.
        int8: whether convolutions compute in eight bits (ONNX only), with ranges from the pictures it is proved on.
        thresholds: whether the operating points that the weights keep are applied inside.
        samples: folder of pictures that it is proved on; None: the run's val, then train.
        passes: passes with dropout that the answer is the mean of, of models that sample; None: one without dropout.
    """

    size: tuple[int, int] | None = None
    half: bool = False
    raw: bool = False
    int8: bool = False
    thresholds: bool = True
    samples: str | Path | None = None
    passes: int | None = None


def run_export(
    checkpoint: str | Path,
    to: Target = "onnx",
    out: str | Path | None = None,
    wishes: Wishes | None = None,
    *,
    overrides: Sequence[str] = (),
    trust_code: bool = False,
    check: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Writes a checkpoint as a program, `run.py` beside it, and proves it: `parity.json` and `parity.html`.

    Args:
        checkpoint: a run folder or weights file.
        to: the format: onnx, openvino or torch.
        out: path of the file; None is `export/FORMAT/` beside the weights.
        wishes: size, precision, what is inside, and what it is proved on.
        overrides: changes of the config that the weights carry, each `key=value`.
        trust_code: whether parts of the form module:Class that the file names are imported.
        check: whether a file that is there already is proved, and none written.
        tell: takes a line before each step that may take minutes.

    Returns:
        {"file", "runner", "page", "parity": {"ok", "max_logit", "labels_equal", "max_box", "unmatched", "ties", "metric",
        "problems", "fault", "images", "seconds", "exact"}}.

    Raises:
        UserError: a bad checkpoint, a size that is not legal, a package that is not installed, a net that cannot be
            exported, nothing to prove it on.
    """
    wishes = wishes or Wishes()
    _needed(to)
    if wishes.int8 and (to != "onnx" or wishes.half):
        message = f"is onnxruntime's, of float32 programs: not with --to {to}" + (" and --half" if wishes.half else "")
        raise ConfigError(Problem("--int8", message, "--to onnx --int8"))
    if is_program(checkpoint):
        message = "is an exported file already"
        raise ConfigError(Problem(Path(checkpoint), message, "give the checkpoint it was made of"))
    restored = restore(checkpoint, overrides, trust_code=trust_code)
    _set_passes(restored, wishes, tell)
    path = out_path(restored.path, to, out)
    samples = samples_of(restored, wishes.samples, _count(restored), overrides)
    if check and not path.is_file():
        raise ConfigError(Problem(path, "there is no such file to prove", "leave --check out to write it"))
    if not check:
        _refuse_other(path)
        tell(f"writing {path}")
        write_runner(path, to, restored.model)
        write(restored, path, to, wishes, samples.pictures)
    sizes = "one size" if wishes.size is not None else "three sizes each"
    tell(f"proving it on {len(samples.pictures)} pictures of {samples.said}, {sizes}")
    return _proved(restored, path, to, wishes, samples)


def _set_passes(restored: Restored, wishes: Wishes, tell: Callable[[str], object]) -> None:
    """Sets how many passes the model's answer is the mean of. Raises ConfigError for what cannot be sampled, or be raw."""
    model = restored.model
    if wishes.raw and model.head.gives is Detections:
        message = "ends with what a head makes of maps, whose number and boxes follow from the picture in a detector"
        raise ConfigError(Problem("--raw", message, "leave it out: the program then answers with boxes"))
    if wishes.passes is not None and wishes.passes > 1:
        try:
            refuse_without_dropout(model)
        except PartsError as error:
            raise ConfigError(problem.at("--samples-mc") for problem in error.problems) from error
        if wishes.raw:
            message = "a raw program ends with the outputs of one pass"
            raise ConfigError(Problem("--samples-mc", message, "leave --raw out"))
    if model.samples > 1 and wishes.passes is None and not wishes.raw:
        tell(
            f"dropout is off; the checkpoint draws {model.samples} samples: --samples-mc {model.samples} exports their mean"
        )
    model.samples = wishes.passes or 1


def _needed(to: Target) -> None:
    wanted = {
        "onnx": ("onnx", "onnxscript", "onnxruntime"),
        "openvino": ("onnx", "onnxscript", "openvino"),
        "torch": (),
    }
    needed(*wanted[to])


def _count(restored: Restored) -> int:
    parameters = sum(one.numel() for one in restored.model.parameters())
    return 2 if parameters >= _FULL_WIDTH else MOST


def out_path(weights: Path, to: Target, out: str | Path | None) -> Path:
    """Where an export goes. Raises ConfigError for an ending of another format.

    Args:
        weights: file of the weights that are exported.
        to: the format: onnx, openvino or torch.
        out: the path that is asked for; None is `export/FORMAT/` beside the weights.
    """
    ending = ENDINGS[to]
    if out is None:
        return weights.parent / "export" / to / f"{weights.stem}{ending}"
    path = Path(out)
    if path.suffix.lower() != ending:
        message = f"a file for --to {to} ends with {ending}, found {path.name}"
        raise ConfigError(Problem("--out", message, f"--out {path.with_suffix(ending)}"))
    return path


def _refuse_other(path: Path) -> None:
    """Raises ConfigError where `run.py` and `parity.json` of another file would be replaced."""
    there = path.with_name("parity.json")
    if not there.is_file():
        return
    try:
        other = Path(json.loads(there.read_text())["file"]).name
    except (ValueError, KeyError, TypeError, OSError):
        other = "something else"
    if other != path.name:
        message = f"holds the certificate and run.py of {other}"
        raise ConfigError(Problem(path.parent, message, "choose another folder with --out"))


def graph_of(restored: Restored, wishes: Wishes, to: Target = "onnx", *, blocks: bool = False) -> ExportGraph:
    """The graph of a restored model.

    Args:
        restored: the model and its metadata.
        wishes: size, precision and what is inside.
        to: the format it will be written in.
        blocks: whether values between its layers can be looked at.
    """
    detects = restored.model.head.gives is Detections and not wishes.raw
    kind = (DetectorGraph if to == "torch" else OnnxDetectorGraph) if detects else ExportGraph
    cut = cut_of(restored) if wishes.thresholds and not wishes.raw else None
    samples = 1 if wishes.raw else restored.model.samples
    return kind(restored.model, raw=wishes.raw, half=wishes.half, cut=cut, blocks=blocks, samples=samples).eval()


def cut_of(restored: Restored) -> Cut | None:
    """The operating points that weights keep, where the answers have scores to compare with."""
    model = restored.model
    points = stored_points(restored.metadata, model.classes, restored.path)
    if points is None or model.head.gives not in (LabelMap, Detections):
        return None
    return Cut(tuple(points.values(model.classes)), points.label(model.classes))


def write(restored: Restored, path: Path, to: Target, wishes: Wishes, pictures: Sequence[Path] = ()) -> Program:
    """Writes a restored model as a program.

    Args:
        restored: the model, and what its weights say of themselves.
        path: where the file is written.
        to: the format: onnx, openvino or torch.
        wishes: size, precision and what is inside.
        pictures: files that ranges of eight bits are measured on.
    """
    graph = graph_of(restored, wishes, to, blocks=to != "torch")
    program = write_down(graph, wishes.size, comparing=to == "openvino")
    about = about_export(restored, program, graph, wishes)
    if to == "onnx" and not wishes.int8:
        write_onnx(program, path, about)
    elif to == "torch":
        write_program(program, path, about)
    else:
        with tempfile.TemporaryDirectory() as folder:
            between = Path(folder) / "between.onnx"
            write_onnx(program, between, {})
            if to == "onnx":
                quantise(between, path, pictures, path.with_name("run.py"), about)
            else:
                write_openvino(between, path, about, half=wishes.half)
    return program


def about_export(restored: Restored, program: Program, graph: ExportGraph, wishes: Wishes) -> dict[str, Any]:
    """The metadata of an export.

    Args:
        restored: the model, and what its weights say of themselves.
        program: what was written down of the graph.
        graph: what it was written down of.
        wishes: size, precision and what is inside.
    """
    model, run = restored.model, restored.path.parent
    receipt: dict[str, Any] = {
        name: restored.metadata[name] for name in ("step", "metrics", "receipt") if name in restored.metadata
    }
    with_environment = run / "environment.json"
    if with_environment.is_file():
        receipt["environment"] = json.loads(with_environment.read_text())
    more = {
        "weights": tensors_digest(model.state_dict()),
        "outputs": list(graph.answers),
        "raw": wishes.raw,
        "half": wishes.half,
        "int8": wishes.int8,
        "thresholds": dataclasses.asdict(graph.cut) if graph.cut is not None else None,
        "samples": graph.samples,
        "opset": OPSET,
        "receipt": receipt,
    }
    return metadata_of(model, restored.metadata, program, **more)


def _proved(restored: Restored, path: Path, to: Target, wishes: Wishes, samples: Samples) -> dict[str, Any]:
    model = restored.model
    truths = samples.truths
    measure = None
    if truths:
        evaluators = tuple(build_evaluators(restored.config, model.classes)[0] for _ in range(2))
        measure = Measure((evaluators[0], evaluators[1]), truths)
    kind = "int8" if wishes.int8 else "half" if wishes.half else "float32"
    cut = cut_of(restored) if wishes.thresholds and not wishes.raw else None
    found = prove(
        model, path, to, samples.pictures, BOUNDS[kind], cut=cut, size=wishes.size, raw=wishes.raw, measure=measure
    )
    parity = told(found, restored, path, to, kind, samples)
    target = path.with_name("parity.json")
    with replacing(target) as part:
        part.write_text(json.dumps(parity, indent=1, default=str))
    page = write_parity_page(path.with_name("parity.html"), parity)
    short = {name: parity[name] for name in (
        "ok", "max_logit", "labels_equal", "max_box", "unmatched", "ties", "metric", "problems", "fault", "images", "seconds",
        "exact",
    )}  # fmt: skip
    return {"file": str(path), "runner": str(path.with_name("run.py")), "page": str(page), "parity": short}


def told(found: Certificate, restored: Restored, path: Path, to: Target, kind: str, samples: Samples) -> dict[str, Any]:
    """What `parity.json` holds.

    Args:
        found: the certificate that the proof gave.
        restored: the model, and what its weights say of themselves.
        path: the exported file, as it is named.
        to: the format: onnx, openvino or torch.
        kind: the precision, a key of `BOUNDS`.
        samples: what it was proved on.
    """
    whole = found.whole
    engine = PACKAGES[to][1]
    names = ("torch", "numpy", "Pillow", *({engine} - {"torch"}))
    return {
        "ok": found.ok,
        "file": str(path),
        "weights": str(restored.path),
        "digest": tensors_digest(restored.model.state_dict()),
        "precision": kind,
        "passes": restored.model.samples,
        "opset": OPSET if to != "torch" else None,
        "engine": engine,
        "versions": ", ".join(f"{name} {packages.version(name)}" for name in names),
        "made": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "bounds": found.bounds._asdict(),
        "max_logit": whole.logit,
        "spread": whole.spread,
        "exact": _exact(whole, found.bounds),
        "labels_equal": whole.labels,
        "max_box": whole.boxes,
        "unmatched": whole.unmatched,
        "ties": whole.ties,
        "metric": found.metric,
        "problems": found.problems,
        "fault": str(found.fault) if found.fault else None,
        "block": found.fault.block if found.fault else None,
        "rounded_bytes": sum(row.rounded for row in found.rows),
        "images": len(samples.pictures),
        "samples": samples.said,
        "seconds": found.seconds,
        "pictures": [
            {
                "picture": row.name, "height": row.size[0], "width": row.size[1], "max_logit": row.difference.logit,
                "labels_equal": row.difference.labels, "max_box": row.difference.boxes,
                "unmatched": row.difference.unmatched, "ties": row.difference.ties, "rounded_bytes": row.rounded,
            }
            for row in found.rows
        ],
    }  # fmt: skip


def _exact(whole: Difference, bounds: Bounds) -> dict[str, Any] | None:
    """Distances from the net in float64, where something exceeds its bound: whether that is rounding of float32."""
    if whole.exact is None:
        return None
    model, export = whole.exact
    why = (
        f"where logits or boxes differ by more than the bound, both sides are compared with the net in float64: the export may "
        f"be {FARTHER:g} times as far from it as the model itself, which must be within {MOST_ROUNDED:g} of the logits' spread "
        f"(of boxes: of a score of 1, and {MOST_OF_SIDE:g} of the picture's longer side)"
    )
    explains = whole.left is not None and whole.left <= bounds.logit
    found = {"model": model, "export": export, "times": FARTHER, "explains": explains, "why": why, "boxes": None}
    if whole.exact_boxes is not None and whole.left_boxes is not None:
        found["boxes"] = dict(zip(("model", "export"), whole.exact_boxes, strict=True))
        found["explains"] = explains and whole.left_boxes <= bounds.boxes
    return found

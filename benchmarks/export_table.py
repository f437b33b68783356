"""Every system in every format: how far the export's answers are from the model's, and how fast each file is.

python -m benchmarks.export_table PICTURES --system NAME ...    adds rows to docs/export.md
python -m benchmarks.export_table PICTURES --system NAME=RUN    with the weights of a run, on pictures of its val
python -m benchmarks.export_table --certificate NAME=RUN ...    proves a run's ONNX file on pictures of its val
python -m benchmarks.export_table --list                        names the systems

Without a run weights are random with a fixed seed; PICTURES is a folder of real pictures. Speed is of the file in this process
on one thread, from bytes to answers, in turns with `predict` of the model in eager PyTorch: medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.receipt import ROOT
from benchmarks.untrained import settled
from toolkit.config.load import load_config
from toolkit.config.plain import to_yaml
from toolkit.data.images.picture import Picture, sample_of
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import UserError
from toolkit.export.certificate import prove
from toolkit.export.comparison import BOUNDS
from toolkit.export.metric_lost import Measure
from toolkit.export.openvino import write_openvino
from toolkit.export.pooling_ties import unpooled
from toolkit.export.programs import load_program
from toolkit.export.runner import write_runner
from toolkit.heads.rcnn import RcnnHead
from toolkit.jobs.build import build_evaluators, build_model
from toolkit.jobs.export import ENDINGS, Wishes, write
from toolkit.jobs.export_samples import samples_of
from toolkit.jobs.restore import Restored, restore
from toolkit.models.vision_model import VisionModel
from toolkit.samples import collate

PAGE = ROOT / "docs" / "export.md"
ROWS = ROOT / "benchmarks" / "results" / "export.json"


class System(NamedTuple):
    """A net of the table.

    Args:
        config: name of a config that ships, without its ending.
        overrides: what is changed of it, each `key=value`.
    """

    config: str
    overrides: tuple[str, ...] = ()


_SMALL_2015 = ("model.backbone.width=16", "model.head.roi.hidden=256")
SYSTEMS = {
    "U-Net, small": System("tiny/unet_camvid"),
    "U-Net 2015, valid convolutions": System("tiny/unet_em"),
    "U-Net on ResNet-34": System("unet_resnet34_camvid"),
    "U-Net on EfficientNet-Lite0": System("unet_lite_camvid"),
    "SegNet, a quarter as wide": System("tiny/segnet_camvid"),
    "SegNet": System("segnet_camvid"),
    "SegNet-Basic": System("segnet_basic_camvid"),
    "Bayesian SegNet-Basic, 2 samples": System("tiny/bayesian_segnet_shapes", ("model.samples=2",)),
    "Dilated front end, a quarter as wide": System("dilated_frontend_camvid", ("model.backbone.width=16",)),
    "Dilated context, a quarter as wide": System("tiny/dilated_camvid"),
    "GoogLeNet": System("classify/googlenet_bccd"),
    "AlexNet": System("classify/alexnet_bccd"),
    "VGG-11": System("classify/vgg11_bccd"),
    "LeNet-5": System("classify/lenet5_bccd"),
    "DenseNet-121": System("classify/densenet121_bccd"),
    "SMP: DeepLabV3+ on ResNet-18": System(
        "unet_resnet34_camvid",
        ("model.backbone={name: smp, encoder: resnet18}", "model.neck={name: smp, decoder: deeplabv3plus}"),
    ),
    "timm: U-Net on MobileNetV3": System(
        "unet_resnet34_camvid", ("model.backbone={name: timm, model: mobilenetv3_small_050}",)
    ),
    "Faster R-CNN, ResNet-18 and FPN": System("faster_rcnn_r18_fpn_bccd"),
    "Faster R-CNN 2015, a quarter as wide": System("faster_rcnn_vgg16_voc", _SMALL_2015),
}
NOTES = {
    "SegNet": "with random weights a few pooling windows of two values that are equal but for rounding change half a per cent of "
    "the labels, and those count. With the same choices logits agree to within rounding of float32",
    "Bayesian SegNet-Basic, 2 samples": "of nets with random weights each sample is sure of one class, so that the mean of two is "
    "the same for two classes but for rounding",
}
"""Why something is refused, where that was looked into, by the system's name."""
FORMATS = {"onnx": "ONNX, onnxruntime", "openvino": "OpenVINO", "torch": ".pt2, PyTorch"}
_ROUNDS = 3


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="?", type=Path)
    parser.add_argument("--system", action="append", default=[])
    parser.add_argument("--certificate", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--count", type=int, default=2, help="pictures, each at three sizes")
    given = parser.parse_args()
    if given.list or (given.pictures is None and not given.certificate):
        print("\n".join(SYSTEMS))
        return
    torch.set_num_threads(1)
    for asked in given.certificate:
        name, _, run = asked.partition("=")
        keep("certificates", name, certified(run, given.count))
    for asked in [] if given.certificate else given.system or list(SYSTEMS):
        name, _, run = asked.partition("=")
        keep("systems", name, measured(SYSTEMS[name], run, given.pictures, given.count))


def keep(kind: str, name: str, row: dict[str, Any]) -> None:
    """Adds a row to what is kept, and makes the page anew."""
    rows = json.loads(ROWS.read_text()) if ROWS.is_file() else {"systems": {}, "certificates": {}}
    rows[kind][name] = row
    rows["systems"] = {one: rows["systems"][one] for one in SYSTEMS if one in rows["systems"]}
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    ROWS.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(page(rows["systems"], rows["certificates"]))
    print(name, json.dumps(row), flush=True)


def certified(run: str, count: int) -> dict[str, Any]:
    """What the verb says of a run's ONNX file on so many pictures of its val, at three sizes each."""
    restored = restore(run)
    pictures = samples_of(restored, None, count)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        write_runner(path, "onnx", restored.model)
        write(restored, path, "onnx", Wishes())
        evaluators = tuple(build_evaluators(restored.config, restored.model.classes)[0] for _ in range(2))
        measure = Measure((evaluators[0], evaluators[1]), pictures.truths)
        proof = prove(restored.model, path, "onnx", pictures.pictures, BOUNDS["float32"], measure=measure)
    found = proof.whole._asdict() | {"ok": proof.ok, "metric": proof.metric, "problems": proof.problems}
    return found | {"pictures": len(pictures.pictures), "fault": str(proof.fault) if proof.fault else None}


def measured(system: System, run: str, folder: Path, count: int) -> dict[str, Any]:
    """A row: each format's certificate and speed.

    Args:
        system: the net.
        run: a run folder, or "" for random weights.
        folder: pictures that it is proved on, without a run.
        count: how many pictures are taken.
    """
    restored = restore(run) if run else _random(system)
    model = restored.model
    try:
        samples = samples_of(restored, None if run else folder, count)
    except UserError:  # a run on pieces of pictures, which are no files
        samples = samples_of(restored, folder, count)
    pictures = samples.pictures
    row: dict[str, Any] = {"weights": "trained" if run else "random", "pictures": len(pictures)}
    runs: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as name:
        for to in FORMATS:
            path = Path(name) / to / f"model{ENDINGS[to]}"
            path.parent.mkdir()
            measure = None
            if samples.truths:
                first, second = (build_evaluators(restored.config, model.classes)[0] for _ in range(2))
                measure = Measure((first, second), samples.truths)
            try:
                if to == "openvino" and "onnx" in runs and not unpooled(model):  # the program is the same
                    between = Path(name) / "onnx" / "model.onnx"
                    write_openvino(between, path, load_program(between).metadata, half=False)
                else:
                    write(restored, path, to, Wishes())  # type: ignore[arg-type]
                write_runner(path, to, model)
                proof = prove(model, path, to, pictures, BOUNDS["float32"], measure=measure)
            except UserError as error:
                row[to] = {"refused": str(error.problems[0])}
                continue
            whole = proof.whole
            row[to] = {
                "ok": proof.ok, "difference": whole.logit, "labels": whole.labels, "boxes": whole.boxes,
                "unmatched": whole.unmatched, "ties": whole.ties, "exact": whole.exact,
                "metric": proof.metric and proof.metric["difference"],
                "fault": str(proof.fault) if proof.fault else None,
            }  # fmt: skip
            runs[to] = _file_call(path, model, pictures[0])
        row["seconds"] = _seconds({"model": _model_call(model, pictures[0]), **runs})
    return row


def _given(model: VisionModel, picture: Path) -> np.ndarray:
    return Picture(picture, picture.name).read(model.in_channels, model.value_range)


def _model_call(model: VisionModel, picture: Path) -> Callable[[], object]:
    """The model's answer for a picture that is in memory."""
    given = _given(model, picture)

    def call() -> object:
        sample = Pipeline(model.transforms)(sample_of(Picture(picture, picture.name), given, 0), 0)
        return model.predict(collate([sample]))

    model.head.with_scores = True
    return call


def _file_call(path: Path, model: VisionModel, picture: Path) -> Callable[[], object]:
    """An exported file's answer for it."""
    run, given = load_program(path, 1), np.ascontiguousarray(_given(model, picture)[None])
    return lambda: run(given)


def _seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each call, in turns, after one that is not counted: medians."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for count in range(_ROUNDS + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if count:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def _random(system: System) -> Restored:
    """A net with random weights and settled statistics, and, of a detector, boxes and scores that are spread."""
    config = load_config(str(ROOT / "configs" / f"{system.config}.yaml"), list(system.overrides))
    torch.manual_seed(0)
    model = build_model(config, pretrained=False)
    settled(model)
    if isinstance(model.head, RcnnHead):
        rpn, roi = model.head.rpn, model.head.roi
        for layer, deviation in ((rpn.deltas, 0.02), (rpn.objectness, 1.0), (roi.classes, 0.6), (roi.deltas, 0.05)):
            nn.init.normal_(layer.weight, std=deviation)
    about = {"config": to_yaml(config), "classes": list(model.classes)}
    return Restored(model.eval(), config, Path(system.config), about)


def page(rows: dict[str, Any], certificates: dict[str, Any]) -> str:
    """The page as Markdown. rows: of the systems, by name. certificates: of trained nets, by name."""
    formats = " | ".join(FORMATS.values())
    lines = [*_INTRODUCTION, "", f"| system | weights | {formats} |", "|---|---|" + "---|" * len(FORMATS)]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['weights']} | {' | '.join(_cell(row[to]) for to in FORMATS)} |")
    refused = [name for name, row in rows.items() if not all(row[to].get("ok") for to in FORMATS)]
    if told := [name for name in refused if name in NOTES]:
        lines += ["", *(f"* {name}: {NOTES[name]}." for name in told)]
    if missing := [name for name in SYSTEMS if name not in rows]:
        lines += ["", f"Not measured yet: {'; '.join(missing)}."]
    exact = [(name, to, row[to]["exact"]) for name, row in rows.items() for to in FORMATS if row[to].get("exact")]
    if exact:
        lines += ["", *_ROUNDING]
        lines += [f"| {name} | {FORMATS[to]} | {mine:.1e} | {theirs:.1e} |" for name, to, (mine, theirs) in exact]
    lines += ["", *_SPEED, f"| system | {formats} |", "|---|" + "---:|" * len(FORMATS)]
    for name, row in rows.items():
        ratios = [
            f"{row['seconds']['model'] / row['seconds'][to]:.2f}" if to in row["seconds"] else "-" for to in FORMATS
        ]
        lines.append(f"| {name} | {' | '.join(ratios)} |")
    if certificates:
        lines += ["", *_CERTIFICATES]
    for name, one in certificates.items():
        alike = f"{100 * one['labels']:.5g} %" if one["labels"] is not None else (
            f"{one['boxes']:.1e} px, {one['unmatched']} ({one['ties']})"
        )  # fmt: skip
        metric = one["metric"]
        scores = [f"{100 * metric[side]:.4f}" for side in ("model", "export")]
        between = f"{metric['low']:+.2g} to {metric['high']:+.2g}" if metric["low"] is not None else "-"
        verdict = "proved" if one["ok"] else f"refused: {one['fault'] or one['problems'][0]}"
        cells = [name, one["pictures"], f"{one['logit']:.1e}", alike, metric["name"], *scores, between, verdict]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "# Exports, measured",
    "",
    "Is every system's file as good as its checkpoint, and how fast is it? Each net is exported in three formats, and each",
    "file is [proved](howto/export.md#how-it-is-proved) on a real picture at three sizes, from the bytes of image files on",
    "both sides: `python -m benchmarks.export_table PICTURES --count 1 --system NAME`, with `NAME=RUN` for trained nets.",
    "",
    "## The same answers?",
    "",
    "A cell has the largest difference of a logit, or of a box's score, and how many labels are equal, or how far apart boxes",
    "are. Metrics of trained nets are equal unless a difference is shown, in points. *Ties* are pooling windows of two values",
    "that are equal but for rounding, of which the export took the other one. What was not proved is marked as refused.",
)
_ROUNDING = (
    "Where logits differ by more than 0.0001 the net computes once more in float64. The model itself is as far from that as",
    "its export is, so that the difference is rounding of float32, which nets with random weights magnify:",
    "",
    "| system | format | model, from float64 | export, from float64 |",
    "|---|---|---:|---:|",
)
_SPEED = (
    "## How fast?",
    "",
    "How many times as fast as `predict` of the checkpoint in eager PyTorch a file answers a picture in memory, from bytes to",
    "labels or boxes, on one thread: medians of three in turns, on a machine that others used. Small nets lose what an engine",
    "needs for each call.",
    "",
)
_CERTIFICATES = (
    "## Certificates of trained nets",
    "",
    "ONNX files of runs on pictures of their val, three sizes each (made by the same module); the metric at their own size,",
    "in per cent, and what the export loses of it, with its 95 % interval over pictures. Of boxes: those without a partner,",
    "in brackets those of them at a limit, where the last bit decides.",
    "",
    "| run | pictures | difference | labels or boxes | metric | model | export | lost | |",
    "|---|---|---|---|---|---|---|---|---|",
)


def _cell(found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"refused: {found['refused']}"
    parts = [f"{found['difference']:.1e}"]
    if found["labels"] is not None:
        parts.append(f"{100 * found['labels']:.5g} %")
    if found["boxes"] is not None:
        lonely = f", {found['unmatched']} without a partner ({found['ties']} at a limit)" if found["unmatched"] else ""
        parts.append(f"{found['boxes']:.1e} px{lonely}")
    elif found["ties"]:
        parts.append(f"{found['ties']} ties")
    if found["metric"]:
        parts.append(f"metric {found['metric']:.2g}")
    return "; ".join(parts) + ("" if found["ok"] else "; **refused**")


if __name__ == "__main__":
    main()

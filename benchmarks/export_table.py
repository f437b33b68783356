"""Every system in every format: how far the export's answers are from the model's, and how fast each engine is.

python -m benchmarks.export_table PICTURES --system NAME ...   adds rows to docs/export.md
python -m benchmarks.export_table --list                        names the systems

Weights are random with a fixed seed where no run is given (NAME=RUN); PICTURES is a folder of real pictures. Speed is of the
forward pass alone on one thread, at the size of the first picture, in turns with eager PyTorch in inference mode: medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.receipt import ROOT
from toolkit.config.load import load_config
from toolkit.config.plain import to_yaml
from toolkit.data.images.pictures import find_pictures
from toolkit.errors import UserError
from toolkit.export.certificate import prove
from toolkit.export.comparison import BOUNDS
from toolkit.export.engines import run_of
from toolkit.export.graph import ExportGraph
from toolkit.export.runner import write_runner
from toolkit.jobs.build import build_model
from toolkit.jobs.export import ENDINGS, Wishes, write
from toolkit.jobs.restore import Restored, restore

PAGE = ROOT / "docs" / "export.md"
ROWS = ROOT / "benchmarks" / "results" / "export.json"
SYSTEMS = {
    "U-Net, small": "tiny/unet_camvid",
    "U-Net 2015, valid convolutions": "tiny/unet_em",
    "U-Net on EfficientNet-Lite0": "unet_lite_camvid",
    "U-Net on ResNet-34": "unet_resnet34_camvid",
    "SegNet, a quarter as wide": "tiny/segnet_camvid",
    "SegNet": "segnet_camvid",
    "SegNet-Basic": "segnet_basic_camvid",
    "Bayesian SegNet (dropout off)": "bayesian_segnet_camvid",
    "Dilated context, a quarter as wide": "tiny/dilated_camvid",
    "Dilated context": "dilated_context_camvid",
    "GoogLeNet": "classify/googlenet_bccd",
}
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}
_ROUNDS = 5


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="?", type=Path)
    parser.add_argument("--system", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--count", type=int, default=2)
    given = parser.parse_args()
    if given.list or given.pictures is None:
        print("\n".join(SYSTEMS))
        return
    torch.set_num_threads(1)
    rows = json.loads(ROWS.read_text()) if ROWS.is_file() else {}
    for asked in given.system or list(SYSTEMS):
        name, _, run = asked.partition("=")
        paths = [one.path for one in find_pictures(str(given.pictures)) if one.path is not None][: given.count]
        rows[name] = measured(name, run, paths)
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        ROWS.write_text(json.dumps(rows, indent=1))
        PAGE.write_text(page(rows))
        print(name, rows[name])


def measured(name: str, run: str, pictures: list[Path]) -> dict[str, Any]:
    """A row: each format's certificate and each engine's speed.

    Args:
        name: the system's name.
        run: a run folder, or "" for random weights.
        pictures: what it is proved on.
    """
    restored = restore(run) if run else _random(SYSTEMS[name])
    found: dict[str, Any] = {"weights": "trained" if run else "random"}
    model = restored.model
    model.samples = 1
    with tempfile.TemporaryDirectory() as folder:
        for to in ("onnx", "openvino", "torch"):
            path = Path(folder) / to / f"model{ENDINGS[to]}"
            path.parent.mkdir()
            try:
                write(restored, path, to, Wishes())  # type: ignore[arg-type]
                write_runner(path, to)
                proof = prove(model, path, to, pictures, BOUNDS["float32"])
            except UserError as error:
                found[to] = {"refused": str(error.problems[0])}
                continue
            found[to] = {"ok": proof.ok, "difference": proof.whole.logit, "labels": proof.whole.labels}
    found["speed"] = speeds(restored, pictures[0])
    return found


def speeds(restored: Restored, picture: Path) -> dict[str, float]:
    """Seconds of a forward pass by each engine, in turns: medians of five.

    picture: whose size is taken.
    """
    from PIL import Image

    width, height = Image.open(picture).size
    graph = ExportGraph(restored.model, raw=True).eval()
    pixels = graph.example((height, width), 1).numpy()
    runs = {name: run_of(restored.model, name, 1) for name in ("torch", *ENGINES.values())}
    for run in runs.values():
        run(np.array(pixels))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run(pixels)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def _random(config_name: str) -> Restored:
    """A model of a config with random weights and statistics that are not 0 and 1."""
    config = load_config(str(ROOT / "configs" / f"{config_name}.yaml"), [])
    torch.manual_seed(0)
    model = build_model(config, pretrained=False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    about = {"config": to_yaml(config), "classes": list(model.classes)}
    return Restored(model.eval(), config, Path(config_name), about)


def page(rows: dict[str, Any]) -> str:
    """The page as Markdown."""
    lines = [
        "# Exports, measured",
        "",
        "Made by `python -m benchmarks.export_table PICTURES`. Each cell: the largest difference of a logit and the share of",
        "equal labels over real pictures at three sizes each, both sides from the files' bytes ([how](howto/export.md)).",
        "Speed: the forward pass alone on one thread against eager PyTorch, medians of five in turns.",
        "",
        "| system | weights | ONNX | OpenVINO | .pt2 | onnxruntime | OpenVINO |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [_cell(row[to]) for to in ("onnx", "openvino", "torch")]
        speed = row["speed"]
        ratios = [f"{speed['torch'] / speed[engine]:.2f}x" for engine in ENGINES.values()]
        lines.append(f"| {name} | {row['weights']} | {' | '.join([*cells, *ratios])} |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"refused: {found['refused']}"
    labels = "" if found["labels"] is None else f", {100 * found['labels']:.4g} %"
    return f"{found['difference']:.1e}{labels}" + ("" if found["ok"] else " (beyond the bound)")


if __name__ == "__main__":
    main()

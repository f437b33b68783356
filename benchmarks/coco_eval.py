"""COCO's box AP on one synthetic set: ours against pycocotools, faster-coco-eval and hotcoco.

    python benchmarks/coco_eval.py --images 5000 --truths 36000 --detections 500000 --peers path/to/packages

Each tool gets the boxes in the form it takes; building that form is not timed, evaluate + accumulate is, in rounds of
one run a tool. Prints median times, the ratio of processor times to pycocotools, and the greatest difference of the
precision, recall and score arrays and of the twelve numbers. All are meant to use one thread (RAYON_NUM_THREADS=1 for
hotcoco). A tool that is not installed is left out (--peers adds a folder filled with `pip install --target`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.evaluators.coco import CocoEvaluator
from toolkit.ops.average_precision import DetectionTable, TruthTable, coco_precision_recall
from toolkit.samples import Boxes, Detections, Truth

CLASSES = 80
NUMBERS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
Arrays = dict[str, np.ndarray]


def synthetic(images: int, truths: int, detections: int) -> tuple[TruthTable, DetectionTable]:
    """Sizes, classes and numbers spread like COCO's; a third of the detections lie near a truth, 1 % are crowds."""
    random = np.random.default_rng(0)
    common = np.sort(random.zipf(1.6, truths) % CLASSES)
    random.shuffle(common)
    side = np.exp(random.normal(4.0, 1.0, (truths, 2))).clip(4, 600)
    corner = random.random((truths, 2)) * (np.array([640, 480]) - np.minimum(side, [600, 440]))
    xywh = np.concatenate([corner, side], 1).astype(np.float32).astype(np.float64)
    crowd = random.random(truths) < 0.01
    owners = np.sort(random.integers(0, images, truths))
    area = xywh[:, 2] * xywh[:, 3] * random.uniform(0.4, 0.9, truths)
    table = TruthTable(owners, common, xywh, crowd, crowd, crowd, area.astype(np.float32).astype(np.float64))

    near = random.integers(0, truths, detections // 3)
    noise = np.repeat(np.exp(random.normal(-2.5, 0.8, (len(near), 1))), 4, 1) * random.normal(0, 1, (len(near), 4))
    moved = xywh[near] + noise * np.tile(xywh[near][:, 2:], 2)
    rest = detections - len(near)
    extent = np.exp(random.normal(4.0, 1.0, (rest, 2))).clip(4, 600)
    stray = np.concatenate([random.random((rest, 2)) * [500, 400], extent], 1)
    boxes = np.concatenate([moved, stray]).astype(np.float32).astype(np.float64)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    labels = np.concatenate([common[near], random.zipf(1.6, rest) % CLASSES])
    images_of = np.concatenate([owners[near], random.integers(0, images, rest)])
    scores = np.concatenate([random.beta(2, 2, len(near)), random.beta(1, 6, rest)]).astype(np.float32)
    order = np.argsort(images_of, kind="stable")
    return table, DetectionTable(images_of[order], labels[order], boxes[order], scores[order].astype(np.float64))


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def ours(truths: TruthTable, detections: DetectionTable, images: int) -> tuple[Arrays, float, float]:
    curves, wall, processor = timed(lambda: coco_precision_recall(truths, detections, CLASSES))
    return {**curves._asdict(), "numbers": numbers_of(truths, detections, images)}, wall, processor


def numbers_of(truths: TruthTable, detections: DetectionTable, images: int) -> np.ndarray:
    """The twelve numbers through the evaluator, image by image."""
    evaluator = CocoEvaluator([str(label) for label in range(CLASSES)])
    ends = np.searchsorted(truths.images, np.arange(images + 1))
    found_ends = np.searchsorted(detections.images, np.arange(images + 1))
    corners = [np.concatenate([t.xywh[:, :2], t.xywh[:, :2] + t.xywh[:, 2:]], 1) for t in (truths, detections)]
    for image in range(images):
        own, found = slice(ends[image], ends[image + 1]), slice(found_ends[image], found_ends[image + 1])
        flags = np.zeros(own.stop - own.start, bool)
        boxes = Boxes(corners[0][own], truths.labels[own], truths.crowd[own], flags, truths.area[own])
        prediction: Any = Detections(corners[1][found], detections.scores[found], detections.labels[found])  # type: ignore[arg-type]
        evaluator.update([prediction], [Truth(str(image), image, (480, 640), boxes=boxes)])
    numbers = evaluator.compute()
    return np.array([-1.0 if numbers[name] is None else numbers[name] for name in NUMBERS])


def dataset_of(truths: TruthTable, images: int) -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": i + 1, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(images)],
        "categories": [{"id": i + 1, "name": str(i)} for i in range(CLASSES)],
        "annotations": [
            {"id": i + 1, "image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box, "area": area,
             "iscrowd": int(crowd)}
            for i, (image, label, box, crowd, area) in enumerate(
                zip(truths.images, truths.labels, truths.xywh.tolist(), truths.crowd, truths.area.tolist(), strict=True)
            )
        ],
    }  # fmt: skip


def results_of(detections: DetectionTable) -> list[dict[str, Any]]:
    return [
        {"image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box, "score": score}
        for image, label, box, score in zip(
            detections.images, detections.labels, detections.xywh.tolist(), detections.scores.tolist(), strict=True
        )
    ]


def peer(name: str, truths: TruthTable, detections: DetectionTable, images: int) -> tuple[Arrays, float, float]:
    """pycocotools or a package with its interface."""
    if name == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    elif name == "faster-coco-eval":
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    else:
        from hotcoco import COCO, COCOeval
    content = dataset_of(truths, images)
    with contextlib.redirect_stdout(io.StringIO()):
        if name == "pycocotools":
            coco = COCO()
            coco.dataset = content
            coco.createIndex()
        else:
            coco = COCO(content)
        found = coco.loadRes(results_of(detections))
        evaluation = COCOeval(coco, found, "bbox")

    def work() -> None:
        evaluation.evaluate()
        evaluation.accumulate()

    _, wall, processor = timed(work)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    arrays = {key: np.asarray(evaluation.eval[key]) for key in ("precision", "recall", "scores")}
    return {**arrays, "numbers": np.asarray(evaluation.stats)[:12]}, wall, processor


def difference(one: Arrays, other: Arrays) -> str:
    shown = []
    for key, array in one.items():
        if other[key].size != array.size:
            shown.append(f"{key} of another shape {other[key].shape}")
        else:
            shown.append(f"{key} {np.abs(other[key].reshape(array.shape) - array).max():.1e}")
    return ", ".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--truths", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--peers", default="", help="folder with further packages")
    parser.add_argument("--skip", nargs="*", default=[], help="names of tools to leave out")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(arguments.peers)
    truths, detections = synthetic(arguments.images, arguments.truths, arguments.detections)
    tools = [name for name in ("ours", "pycocotools", "faster-coco-eval", "hotcoco") if name not in arguments.skip]
    arrays: dict[str, Arrays] = {}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tools}
    for _ in range(arguments.rounds):
        for name in [name for name in tools if name in times]:
            try:
                run = ours if name == "ours" else functools.partial(peer, name)
                arrays[name], *seconds = run(truths, detections, arguments.images)
            except ImportError as error:
                print(f"{name}: not installed ({error})")
                del times[name]
                continue
            times[name].append((seconds[0], seconds[1]))
            print(f"{name}: {seconds[0]:.1f} s", file=sys.stderr)
    medians = {name: [statistics.median(column) for column in zip(*own, strict=True)] for name, own in times.items()}
    print(
        f"{arguments.images} images, {arguments.truths} boxes, {arguments.detections} detections, {arguments.rounds} rounds"
    )
    for name, (wall, processor) in medians.items():
        ratio = f"{medians['pycocotools'][1] / processor:6.1f}x" if "pycocotools" in medians else ""
        differs = difference(arrays["ours"], arrays[name]) if name != "ours" and "ours" in arrays else ""
        print(f"{name:18} {wall:8.2f} s wall {processor:8.2f} s processor {ratio}  {differs}")


if __name__ == "__main__":
    main()

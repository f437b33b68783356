"""COCO's box AP on a synthetic set: ours against pycocotools, faster-coco-eval and hotcoco, to the digit.

Each tool gets the boxes in the form it takes; building that form is not timed, evaluate and accumulate are.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rows import Goal, Measured, Measurements, Row, Way, Work, from_package, measured
from toolkit.ops.average_precision import DetectionTable, TruthTable, coco_precision_recall

CLASSES = 80
Arrays = dict[str, np.ndarray]
Loader = tuple[Callable[[dict[str, Any]], Any], Any]


def rows() -> list[Row]:
    """pycocotools takes a hundred times longer, and has a row of its own with fewer images."""
    return [
        Row("coco_ap", "COCO box AP, 2,000 images, 14,400 boxes, 200,000 detections", against_fast_ones, grows=True),
        Row("coco_ap_pycocotools", "COCO box AP, 500 images, 3,600 boxes, 50,000 detections", against_pycocotools,
            budget=20, rounds=2, goals=(Goal("pycocotools", least=46),)),
    ]  # fmt: skip


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


def against_fast_ones(work: Work) -> Measurements:
    return coco_ap(work, 2000 * work.scale, {"faster-coco-eval": faster_coco_eval, "hotcoco": hotcoco})


def against_pycocotools(work: Work) -> Measurements:
    return coco_ap(work, 500, {"pycocotools": pycocotools})


def coco_ap(work: Work, images: int, peers: dict[str, Callable[[], Loader]]) -> Measurements:
    images = 20 if work.toy else images
    truths, detections = synthetic(images, images * 36 // 5, images * 100)
    answers: dict[str, Arrays] = {}

    def ours() -> None:
        answers["toolkit"] = coco_precision_recall(truths, detections, CLASSES)._asdict()

    ways: dict[str, Any] = {"toolkit": ours}
    if not work.only_ours:
        content, found = dataset_of(truths, images), results_of(detections)
        for package, load in peers.items():
            ways[package] = from_package(
                package, lambda load=load, name=package: evaluation(*load(), content, found, answers, name)
            )
    return work.in_turn(ways, lambda _: same_arrays(answers))


def pycocotools() -> Loader:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def loaded(content: dict[str, Any]) -> Any:
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        return coco

    return loaded, COCOeval


def faster_coco_eval() -> Loader:
    from faster_coco_eval import COCO, COCOeval_faster

    return COCO, COCOeval_faster


def hotcoco() -> Loader:
    from hotcoco import COCO, COCOeval

    return COCO, COCOeval


def evaluation(
    load: Callable[[dict[str, Any]], Any],
    evaluator: Any,
    content: dict[str, Any],
    found: list[dict[str, Any]],
    answers: dict[str, Arrays],
    name: str,
) -> Way:
    """pycocotools or a package with its interface: evaluate and accumulate of a fresh evaluation."""
    with contextlib.redirect_stdout(io.StringIO()):
        truths = load(content)
        detections = truths.loadRes(found)

    def run(made: Any) -> None:
        made.evaluate()
        made.accumulate()

    def way() -> Measured:
        with contextlib.redirect_stdout(io.StringIO()):
            made = evaluator(truths, detections, "bbox")
            taken = measured(lambda: run(made))
        answers[name] = {key: np.asarray(made.eval[key]) for key in ("precision", "recall", "scores")}
        return taken

    return way


def same_arrays(answers: dict[str, Arrays]) -> None:
    for name, arrays in answers.items():
        for key, array in answers["toolkit"].items():
            assert np.abs(arrays[key].reshape(array.shape) - array).max() < 1e-9, f"{key} of {name} differs"

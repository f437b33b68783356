"""What intervals cost, against evaluating the images they are of.

The rows' goals are the promise: an interval takes no longer than evaluating ten of 233 label maps, or the boxes 40 times.
"""

from __future__ import annotations

import numpy as np
import torch

import toolkit
from benchmarks.coco_eval import synthetic
from benchmarks.rows import Goal, Measured, Measurements, Row, Work, measured
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.ops.average_precision import DetectionTable, TruthTable, coco_precision_recall
from toolkit.results.bootstrap import spread
from toolkit.results.box_numbers import CocoNumbers
from toolkit.results.pixel_numbers import PixelNumbers
from toolkit.samples import LabelMap, Truth

CLASSES = 11
BOX_CLASSES = 80


def rows() -> list[Row]:
    return [
        Row("interval_maps", "interval of mIoU: 10,000 resamples of 233 label maps", interval_of_maps,
            goals=(Goal("evaluating ten of them", least=1),)),
        Row("interval_boxes", "interval of AP: 1,000 resamples of 250 images, 25,000 detections", interval_of_boxes, rounds=3,
            goals=(Goal("evaluating 40 times", least=1),)),
    ]  # fmt: skip


def interval_of_maps(work: Work) -> Measurements:
    images, resamples, size = (9, 50, (64, 96)) if work.toy else (233, 10_000, (360, 480))
    random = np.random.default_rng(0)
    true = random.integers(500, 20_000, (images, CLASSES))
    right = (true * random.beta(8, 3, true.shape)).astype(np.int64)
    counts = np.stack([right, true, right + random.integers(0, 4000, true.shape)], axis=1)
    names = [str(label) for label in range(CLASSES)]
    numbers = PixelNumbers(counts, np.arange(images), names)
    model = toolkit.unet("resnet18", num_classes=CLASSES).eval()
    pictures = torch.rand(10, 3, *size)
    truths = [random.integers(0, CLASSES, size).astype(np.uint8) for _ in range(10)]

    def evaluating() -> None:
        evaluator = SemanticEvaluator(names)
        with torch.inference_mode():
            for place, truth in enumerate(truths):
                labels = model(pictures[place : place + 1])[0].argmax(0).to(torch.uint8)
                evaluator.update([LabelMap(labels)], [Truth(str(place), place, size, truth)])

    return work.in_turn({"toolkit": lambda: spread(numbers, resamples=resamples), "evaluating ten of them": evaluating})


def interval_of_boxes(work: Work) -> Measurements:
    images, resamples = (20, 20) if work.toy else (250, 1000)
    tables = synthetic(images, images * 36 // 5, images * 100)
    arrays = flat(*tables, images)
    names = [str(label) for label in range(BOX_CLASSES)]

    def resampling() -> None:
        spread(CocoNumbers(arrays, np.arange(images), names), resamples=resamples)

    def forty() -> Measured:
        once = measured(lambda: coco_precision_recall(*tables, BOX_CLASSES))
        return Measured(40 * once.seconds, 40 * once.processor)

    return work.in_turn({"toolkit": resampling, "evaluating 40 times": forty})


def flat(truths: TruthTable, found: DetectionTable, images: int) -> dict[str, np.ndarray]:
    """The tables as a record holds them, image by image."""
    arrays = {"image_ids": np.arange(images)}
    for name, table in (("truth", truths), ("detection", found)):
        order = np.argsort(table.images, kind="stable")
        xywh = table.xywh[order]
        arrays |= {
            f"{name}_counts": np.bincount(table.images, minlength=images),
            f"{name}_boxes": np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            f"{name}_labels": table.labels[order],
        }
        if isinstance(table, TruthTable):
            arrays |= {"truth_crowd": table.crowd[order], "truth_difficult": np.zeros(len(order), bool)}
            arrays |= {"truth_area": table.area[order]}
        else:
            arrays |= {"detection_scores": table.scores[order]}
    return arrays

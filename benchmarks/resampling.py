"""What intervals cost, against evaluating the same images: ratios, interleaved in one run.

    python benchmarks/resampling.py

Two ratios, each wanted at 1 or below:

* 10,000 resamples of 233 label maps of 11 classes, against evaluating ten of the images (a small U-Net's pass over
  360x480 pixels, argmax and counting); beside it against argmax and counting alone, from logits;
* 1,000 resamples of COCO's AP on 5,000 images, 36,000 boxes and 500,000 detections, with making them ready and with the
  jackknife, against 40 evaluations of it by our own evaluator.

Times are the least of the rounds; a round measures one after the other, so that what else the machine does hits all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from coco_eval import synthetic

import toolkit
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.ops.average_precision import DetectionTable, TruthTable, coco_precision_recall
from toolkit.results.bootstrap import spread
from toolkit.results.box_numbers import CocoNumbers
from toolkit.results.pixel_numbers import PixelNumbers
from toolkit.samples import LabelMap, Truth

CLASSES = 11
BOX_CLASSES = 80


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def label_maps(images: int, resamples: int, rounds: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    true = random.integers(500, 20_000, (images, CLASSES))
    right = (true * random.beta(8, 3, true.shape)).astype(np.int64)
    counts = np.stack([right, true, right + random.integers(0, 4000, true.shape)], axis=1)
    numbers = PixelNumbers(counts, np.arange(images), [str(label) for label in range(CLASSES)])
    model = toolkit.unet("resnet18", num_classes=CLASSES).eval()
    pictures = torch.rand(10, 3, *size)
    truths = [random.integers(0, CLASSES, size).astype(np.uint8) for _ in range(10)]
    logits = torch.randn(10, CLASSES, *size)

    def count(values: torch.Tensor, place: int, evaluator: SemanticEvaluator) -> None:
        labels = values.argmax(0).to(torch.uint8)
        evaluator.update([LabelMap(labels)], [Truth(str(place), place, size, truths[place])])

    def from_logits() -> None:
        evaluator = SemanticEvaluator([str(label) for label in range(CLASSES)])
        for place in range(10):
            count(logits[place], place, evaluator)

    def evaluating() -> None:
        evaluator = SemanticEvaluator([str(label) for label in range(CLASSES)])
        with torch.inference_mode():
            for place in range(10):
                count(model(pictures[place : place + 1])[0], place, evaluator)

    works = (lambda: spread(numbers, resamples=resamples), evaluating, from_logits)
    ours, whole, counting = np.min([[seconds(work) for work in works] for _ in range(rounds)], axis=0)
    print(f"{resamples} resamples of {images} label maps, {CLASSES} classes: {1000 * ours:.0f} ms")
    print(f"  evaluating ten images {1000 * whole:.0f} ms, ratio {ours / whole:.3f}")
    print(f"  argmax and counting of ten {1000 * counting:.0f} ms, ratio {ours / counting:.3f}")


def boxes(images: int, resamples: int, rounds: int, truths: int, detections: int) -> None:
    tables = synthetic(images, truths, detections)
    arrays = flat(*tables, images)
    names = [str(label) for label in range(BOX_CLASSES)]

    def resampling() -> None:
        spread(CocoNumbers(arrays, np.arange(images), names), resamples=resamples)

    works = (lambda: coco_precision_recall(*tables, BOX_CLASSES), resampling)
    once, ours = np.min([[seconds(work) for work in works] for _ in range(rounds)], axis=0)
    print(f"{resamples} resamples of AP, {images} images, {truths} boxes, {detections} detections: {ours:.1f} s")
    print(f"  40 evaluations {40 * once:.1f} s (one {once:.2f} s), ratio {ours / (40 * once):.3f}")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=233)
    parser.add_argument("--map-resamples", type=int, default=10_000)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--truths", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    label_maps(arguments.maps, arguments.map_resamples, arguments.rounds, tuple(arguments.size))
    boxes(arguments.images, arguments.resamples, arguments.rounds, arguments.truths, arguments.detections)


if __name__ == "__main__":
    main()

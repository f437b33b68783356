"""Small records of made-up evaluations, with the images they are of."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.engine.evaluate import counted_rows
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.diagnosis import diagnosis
from toolkit.results.record import Record
from toolkit.samples import Boxes, Detections, LabelMap, Sample, Truth

CLASSES = ["background", "cat", "dog", "<b>cow</b>"]
SIZE = (48, 64)


def label_samples(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> list[Sample]:
    """Images with three rectangles of classes 1 to 3."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(count):
        labels = np.zeros(size, np.uint8)
        for label in (1, 2, 3):
            top, left = rng.integers(0, size[0] - 12), rng.integers(0, size[1] - 12)
            labels[top : top + 12, left : left + 12] = label
        labels[0] = 255
        image = np.repeat((40 + 50 * labels)[..., None], 3, axis=2).astype(np.uint8)
        found.append(Sample(image, f"images/{place:03d}.png", place, size, label_map=labels))
    return found


def label_record(samples: list[Sample], shift: int = 2, **about: Any) -> Record:
    """A record of predictions that are the truth, moved to the right the more, the later the image comes."""
    evaluator = SemanticEvaluator(CLASSES)
    predictions = []
    for sample in samples:
        assert sample.label_map is not None
        labels = np.where(sample.label_map == 255, 0, sample.label_map)
        moved = np.roll(labels, shift * (1 + sample.position), axis=1)
        predictions.append(LabelMap(torch.from_numpy(moved.astype(np.uint8))))
    return _record(evaluator, predictions, samples, "segmentation", "mIoU", about)


def box_samples(count: int) -> list[Sample]:
    """Images with two boxes of classes 1 and 2."""
    image = np.full((120, 160, 3), 90, np.uint8)
    boxes = Boxes.of([[10, 10, 60, 60], [80, 40, 150, 110]], [1, 2])
    return [Sample(image, f"{place}.jpg", place, (120, 160), boxes=boxes) for place in range(count)]


def box_record(samples: list[Sample], **about: Any) -> Record:
    """A record of detections: the first box found, the second missed in every other image, one invented."""
    evaluator = CocoEvaluator(CLASSES)
    predictions = []
    for sample in samples:
        dog = [80, 40, 150, 109] if sample.position % 2 else [100, 2, 110, 12]
        boxes = [[11, 11, 60, 60], dog, [2, 90, 30, 118]]
        scores = [0.9, 0.8 if sample.position % 2 else 0.1, 0.7]
        predictions.append(Detections(torch.tensor(boxes).float(), torch.tensor(scores), torch.tensor([1, 2, 1])))
    return _record(evaluator, predictions, samples, "detection", "AP", about)


def _record(
    evaluator: Any, predictions: list[Any], samples: list[Sample], task: str, metric: str, about: dict[str, Any]
) -> Record:
    rows = counted_rows([evaluator], predictions, [Truth.of(sample) for sample in samples])
    said = {"task": task, "metric": metric, "classes": CLASSES, "palette": [], "split": "val", "weights": "0f" * 32}
    said |= {"command": ["toolkit", "evaluate", "runs/mine run"], "checkpoint": "runs/mine run/best.safetensors"}
    record = Record.of(rows, {**said, **about})
    metrics = evaluator.compute()
    interval = {"value": metrics[metric], "low": 0.1234, "high": 0.9876, "groups": len(samples)}
    intervals = {metric: interval}
    baseline = [{"answer": "'background' everywhere", "metrics": {metric: 0.2222}}]
    return record.with_numbers(metrics=metrics, intervals=intervals, baseline=baseline, **diagnosis(record))


def write_record(record: Record, folder: Path, scores: list[float]) -> Path:
    """A record in a folder, with the table of its images."""
    record.write(folder)
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "group", record.about["metric"]])
        writer.writerows([name, name, score] for name, score in zip(record.images, scores, strict=True))
    return folder


def comparison_of(records: list[Record], changes: list[float]) -> dict[str, Any]:
    """What a comparison of two records says, with made-up numbers."""
    row = {"metric": "mIoU", "a": 0.5, "b": 0.6, "difference": 0.1, "low": 0.02, "high": 0.18, "p": 0.01, "p_adjusted": 0.02,
           "groups": 5, "verdict": "better", "pair": [0, 1]}  # fmt: skip
    of_class = {
        **row,
        "metric": f"IoU/{CLASSES[3]}",
        "difference": -0.01,
        "low": None,
        "high": None,
        "verdict": "within noise",
    }
    images = [{"image": records[0].images[place], "place": place, "values": [0.5, 0.5 + change], "difference": change}
              for place, change in enumerate(changes)]  # fmt: skip
    return {"measured": "images", "said": "measured: the sample of images", "names": ["first", "second"], "metric": "mIoU",
            "differences": [row, {**of_class, "why": "no interval: 1 group"}], "within": None, "images": images, "percent": True,
            "records": ["runs/first", "runs/second"], "weights": ["ab" * 32, None], "notes": ["mind the <gap>"]}  # fmt: skip

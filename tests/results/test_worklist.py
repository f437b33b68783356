"""Planted faults of named kinds stand at the top of the worklist, no lower than in cleanlab's ranking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from toolkit.errors import DataError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.image_rows import ImageRow
from toolkit.results.record import Record
from toolkit.results.worklist import worklist
from toolkit.samples import Boxes, Detections, LabelMap, Truth

CLASSES = ["cat", "dog", "cow"]
Fault = tuple[str, str, list[float]]
"""Name of the image, kind, and box of a planted fault."""


def iou(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def precision_at(found: list[dict[str, Any]], faults: list[Fault], overlap: float = 0.3) -> float:
    """Share of the first k entries that point at one of the k faults, each fault once."""
    left = list(faults)
    for entry in found[: len(faults)]:
        hit = next(
            (fault for fault in left if fault[0] == entry["image"] and iou(fault[2], entry["box"]) >= overlap), None
        )
        if hit:
            left.remove(hit)
    return 1 - len(left) / len(faults)


def images_first(found: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(entry["image"] for entry in found))


# --------------------------------------------------------------------------- boxes


def grid_boxes(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four to eight boxes in the nine fields of an image of 300 x 300, and their classes."""
    fields = random.permutation(9)[: random.integers(4, 9)]
    corner = np.stack([fields % 3, fields // 3], 1) * 100 + random.uniform(5, 35, (len(fields), 2))
    boxes = np.concatenate([corner, corner + random.uniform(30, 60, (len(fields), 2))], 1)
    return boxes, random.integers(0, 3, len(fields))


def good_detector(random: np.random.Generator, boxes: np.ndarray, labels: np.ndarray) -> Detections:
    """Of 100 objects 1 is not found and 4 hardly, 98 are found by their class, the others with less score.

    In every third image a doubtful one is found where none is.
    """
    seen = random.random(len(boxes)) < 0.99
    near = boxes[seen] + random.normal(0, 1.5, (int(seen.sum()), 4))
    named = np.where(random.random(len(near)) < 0.97, labels[seen], random.integers(0, 3, len(near)))
    scores = np.where(
        random.random(len(near)) < 0.96, random.beta(9, 1.5, len(near)), random.uniform(0.05, 0.4, len(near))
    )
    scores = np.where(named == labels[seen], scores, 0.7 * scores)
    if random.random() < 1 / 3:
        corner = random.uniform(0, 240, 2)
        near = np.concatenate([near, [[*corner, *(corner + random.uniform(20, 50, 2))]]])
        named, scores = np.append(named, random.integers(0, 3)), np.append(scores, random.beta(2, 4))
    order = np.argsort(-scores)
    return Detections(*(torch.from_numpy(np.ascontiguousarray(part[order])) for part in (near, scores, named)))


def with_fault(
    random: np.random.Generator, name: str, kind: str, boxes: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Fault]:
    """One box of an image made wrong."""
    boxes, labels, chosen = boxes.copy(), labels.copy(), int(random.integers(len(boxes)))
    place = boxes[chosen].tolist()
    if kind == "class":
        labels[chosen] = (labels[chosen] + random.integers(1, 3)) % 3
    elif kind == "missing":
        boxes, labels = np.delete(boxes, chosen, 0), np.delete(labels, chosen)
    elif kind == "box":
        side = boxes[chosen, 2:] - boxes[chosen, :2]
        boxes[chosen] += np.tile(side * random.uniform(0.25, 0.5, 2) * random.choice([-1, 1], 2), 2)
        place = boxes[chosen].tolist()
    else:
        corner = random.uniform(0, 240, 2)
        place = [*corner.tolist(), *(corner + random.uniform(30, 60, 2)).tolist()]
        boxes, labels = np.concatenate([boxes, [place]]), np.append(labels, random.integers(0, 3))
    return boxes, labels, (name, kind, place)


def boxes_with_faults(seed: int, images: int = 80) -> tuple[Record, list[Fault], list[dict[str, Any]], list[Any]]:
    """A record, its faults (a tenth of the boxes, one an image at most), and the same for cleanlab."""
    random = np.random.default_rng(seed)
    evaluator, rows, faults = CocoEvaluator(CLASSES), [], []
    labels_of, found_of = [], []
    for number in range(images):
        boxes, labels = grid_boxes(random)
        detections = good_detector(random, boxes, labels)
        name = f"{number:03}.png"
        if number % 5 < 3:
            kind = ("class", "box", "missing", "extra")[number % 4]
            boxes, labels, fault = with_fault(random, name, kind, boxes, labels)
            faults.append(fault)
        truth = Truth(name, number, (300, 300), boxes=Boxes.of(boxes, labels))
        rows.append(ImageRow(name, number, (300, 300), evaluator.rows([detections], [truth])[0]))
        labels_of.append({"bboxes": boxes, "labels": labels})
        found = detections.numpy()
        pairs = np.concatenate([found.boxes, found.scores[:, None]], 1)
        found_of.append(np.array([pairs[found.labels == label] for label in range(3)], dtype=object))
    return Record.of(rows, {"task": "detection", "classes": CLASSES}), faults, labels_of, found_of


@pytest.mark.parametrize("seed", range(3))
def test_planted_faults_of_boxes_come_first_and_not_below_cleanlab(seed: int) -> None:
    ranking = pytest.importorskip("cleanlab.object_detection.rank")
    record, faults, labels, predictions = boxes_with_faults(seed)
    found = worklist([record])
    assert precision_at(found, faults) >= 0.7
    faulty = {name for name, *_ in faults}
    scores = ranking.get_label_quality_scores(labels, predictions, verbose=False)
    theirs = [record.images[place] for place in np.argsort(scores, kind="stable")[: len(faulty)]]
    assert len(faulty & set(images_first(found)[: len(faulty)])) >= len(faulty & set(theirs))


def test_faults_planted_in_real_boxes_come_first(real_data: Callable[[str], Path]) -> None:
    """A tenth of the boxes of crowded microscope images, several an image; the detector is the simulated one."""
    found = json.loads((real_data("bccd") / "annotations_coco" / "instances_val.json").read_text())
    random, evaluator = np.random.default_rng(0), CocoEvaluator(CLASSES)
    rows, faults = [], []
    for image in found["images"]:
        own = [entry for entry in found["annotations"] if entry["image_id"] == image["id"]]
        boxes = np.array(
            [[x, y, x + width, y + height] for x, y, width, height in (entry["bbox"] for entry in own)], float
        )
        labels = np.array([entry["category_id"] - 1 for entry in own])
        detections, name, size = (
            good_detector(random, boxes, labels),
            image["file_name"],
            (image["height"], image["width"]),
        )
        for _ in range(random.binomial(len(boxes), 0.1)):
            kind = ("class", "box", "missing", "extra")[len(faults) % 4]
            boxes, labels, fault = with_fault(random, name, kind, boxes, labels)
            faults.append(fault)
        truth = Truth(name, image["id"], size, boxes=Boxes.of(boxes, labels))
        rows.append(ImageRow(name, image["id"], size, evaluator.rows([detections], [truth])[0]))
    record = Record.of(rows, {"task": "detection", "classes": CLASSES})
    assert len(faults) > 50
    assert precision_at(worklist([record]), faults) >= 0.7


def test_every_kind_of_fault_is_found_under_its_name() -> None:
    record, faults, *_ = boxes_with_faults(11)
    found = worklist([record])[: len(faults)]
    for kind in ("class", "box", "missing", "extra"):
        own = [fault for fault in faults if fault[1] == kind]
        named = [
            entry
            for entry in found
            if entry["kind"] == kind
            and any(entry["image"] == name and iou(entry["box"], box) > 0.3 for name, _, box in own)
        ]
        assert len(named) >= 0.6 * len(own), kind


def test_an_entry_says_where_what_and_why() -> None:
    truth = Truth("a.png", 0, (100, 100), boxes=Boxes.of([[60, 60, 90, 90]], [0]))
    answer = Detections(torch.tensor([[61.0, 60, 90, 90]]), torch.tensor([0.75]), torch.tensor([2]))
    row = CocoEvaluator(CLASSES).rows([answer], [truth])[0]
    record = Record.of([ImageRow("a.png", 0, (100, 100), row)], {"classes": CLASSES})
    assert worklist([record]) == [
        {
            "image": "a.png", "place": 0, "fold": 0, "box": [60.0, 60.0, 90.0, 90.0], "crop": [45, 45, 100, 100],
            "kind": "class", "label": "cat", "answer": "cow", "suspicion": 0.75,
            "reason": "this cat is found as cow (0.75)",
        }
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"a fold before it holds too: a\.png"):
        worklist([record, record])


# --------------------------------------------------------------------------- label maps


def scene(random: np.random.Generator) -> np.ndarray:
    """(64, 80) ground of class 0 with three discs or so of classes 1 and 2."""
    labels = np.zeros((64, 80), np.uint8)
    for field in random.permutation(6)[:4]:
        centre = (int(field % 3 * 26 + random.integers(10, 16)), int(field // 3 * 32 + random.integers(12, 20)))
        cv2.circle(labels, centre, int(random.integers(5, 9)), int(random.integers(1, 3)), -1)
    return labels


def good_segmenter(random: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """(3, 64, 80) probabilities: sure inside, unsure at borders, and now and then a weak blot that is wrong."""
    noise = [cv2.GaussianBlur(random.normal(size=labels.shape), (0, 0), 2) for _ in range(3)]
    logits = np.stack(
        [5.0 * cv2.GaussianBlur((labels == k).astype(np.float64), (0, 0), 1.5) + 2 * noise[k] for k in range(3)]
    )
    if random.random() < 0.5:
        y, x = random.integers(4, 56), random.integers(4, 72)
        logits[random.integers(0, 3), y - 3 : y + 4, x - 3 : x + 4] += random.uniform(3, 5)
    exp = np.exp(logits - logits.max(0))
    return (exp / exp.sum(0)).astype(np.float32)


def maps_with_faults(seed: int, images: int = 100) -> tuple[Record, list[Fault], np.ndarray, np.ndarray]:
    """A record, its faults (a region of every tenth image), and labels and probabilities for cleanlab."""
    random = np.random.default_rng(seed)
    evaluator, rows, faults, labels_of, found_of = SemanticEvaluator(CLASSES), [], [], [], []
    for number in range(images):
        labels, name = scene(random), f"{number:03}.png"
        probabilities = good_segmenter(random, labels)
        if number % 10 == 0:
            regions, parts = cv2.connectedComponents((labels > 0).astype(np.uint8))
            region = parts == random.integers(1, regions)
            kind = "class" if number % 20 else "missing"
            labels[region] = 3 - labels[region] if kind == "class" else 0
            x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
            faults.append((name, kind, [x, y, x + width, y + height]))
        answer = LabelMap(
            torch.from_numpy(probabilities.argmax(0).astype(np.uint8)), torch.from_numpy(probabilities.max(0))
        )
        row = evaluator.rows([answer], [Truth(name, number, labels.shape, labels)])[0]
        rows.append(ImageRow(name, number, (64, 80), row))
        labels_of.append(labels)
        found_of.append(probabilities)
    about = {"task": "segmentation", "classes": CLASSES}
    return Record.of(rows, about), faults, np.stack(labels_of), np.stack(found_of)


@pytest.mark.parametrize("seed", range(3))
def test_planted_faults_of_label_maps_come_first_and_not_below_cleanlab(seed: int) -> None:
    ranking = pytest.importorskip("cleanlab.segmentation.rank")
    record, faults, labels, probabilities = maps_with_faults(seed)
    found = worklist([record])
    assert precision_at(found, faults) >= 0.7
    kinds = {name: kind for name, kind, _ in faults}
    named = [entry for entry in found[: len(faults)] if kinds.get(entry["image"]) == entry["kind"]]
    assert len(named) >= 0.7 * len(faults)
    scores, _ = ranking.get_label_quality_scores(labels, probabilities, verbose=False)
    theirs = {record.images[place] for place in np.argsort(scores, kind="stable")[: len(faults)]}
    assert len(kinds.keys() & set(images_first(found)[: len(faults)])) >= len(kinds.keys() & theirs)

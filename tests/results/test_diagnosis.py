"""The sections on errors hold what the functions they are made of give, and JSON takes them."""

from __future__ import annotations

import json

import numpy as np
import torch

from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.diagnosis import diagnosis
from toolkit.results.image_rows import ImageRow
from toolkit.results.record import Record
from toolkit.samples import Boxes, Detections, LabelMap, Truth


def test_a_record_of_label_maps_has_the_errors_of_all_its_images() -> None:
    truth = np.zeros((2, 20, 30), np.uint8)
    truth[0, 5:15, 5:15] = 1
    answer = torch.zeros(2, 20, 30, dtype=torch.uint8)
    truths = [Truth(f"{place}.png", place, (20, 30), truth[place]) for place in range(2)]
    rows = SemanticEvaluator(["sky", "car"]).rows([LabelMap(answer[0]), LabelMap(answer[1])], truths)
    record = Record.of(
        [ImageRow(truth.name, truth.image_id, truth.size, row) for truth, row in zip(truths, rows, strict=True)],
        {"task": "segmentation", "classes": ["sky", "car"]},
    )
    sections = diagnosis(record, lambda: SemanticEvaluator(["sky", "car"]))
    assert set(sections) == {"errors", "confusion", "baseline"}  # it has no scores
    assert sections["errors"]["pixels"] == {"boundary": 0, "confusion": 0, "missed": 100, "false": 0}
    assert sections["errors"]["advice"].startswith("car loses 100.0 points of IoU by missed errors")
    assert sections["confusion"] == {
        "rows": ["sky", "car"],
        "columns": ["sky", "car", "no class"],
        "counts": [[1100, 0, 0], [100, 0, 0]],
    }
    json.dumps(sections)


def test_a_record_of_boxes_has_kinds_of_errors_and_a_row_for_what_was_invented() -> None:
    truth = Truth("a.png", 1, (40, 40), boxes=Boxes.of([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 1]))
    boxes = torch.tensor([[0.0, 0, 10, 10], [30, 0, 40, 10]])
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    rows = CocoEvaluator(["cat", "dog"]).rows([found], [truth])
    about = {"task": "detection", "classes": ["cat", "dog"]}
    sections = diagnosis(
        Record.of([ImageRow("a.png", 1, (40, 40), rows[0])], about), lambda: CocoEvaluator(["cat", "dog"])
    )
    assert set(sections) == {"errors", "confusion", "baseline", "operating_points", "calibration", "worklist"}
    assert sections["errors"]["count"]["background"] == sections["errors"]["count"]["missed"] == 1
    assert sections["confusion"]["counts"] == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert sections["confusion"]["rows"][-1] == "background"
    json.dumps(sections)


def test_another_task_has_no_such_sections() -> None:
    assert diagnosis(Record.of([], {"task": "values", "classes": []})) == {}

from __future__ import annotations

import csv
import io
import json

import numpy as np
import torch

from toolkit.coco_results import box_entries
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.yolo_files import read_yolo_labels
from toolkit.inference.writers.detections import coco_results_json, yolo_text
from toolkit.inference.writers.outputs import Outputs
from toolkit.inference.writers.tables import BOX_HEADER, csv_text, rows_of
from toolkit.labels import ClassTable
from toolkit.samples import Detections

FOUND = Detections(
    torch.tensor([[10.25, 20.0, 110.25, 220.0], [0.1, 0.2, 639.9, 479.7]]),
    torch.tensor([0.9, 0.123456789]),
    torch.tensor([1, 0]),
)
NONE = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def of(found: Detections, image_id: int) -> list[dict]:
    return box_entries(*found.numpy(), image_id=image_id, classes=ClassTable(("a", "b"), (), (7, 90)))


def test_coco_results_have_the_original_ids_and_every_digit() -> None:
    entries = json.loads(coco_results_json(of(FOUND, 40) + of(NONE, 41)))
    assert entries[0] == {
        "image_id": 40, "category_id": 90, "bbox": [10.25, 20.0, 100.0, 200.0], "score": float(FOUND.scores[0]),
    }  # fmt: skip
    assert entries[1]["category_id"] == 7
    back = np.array([entry["bbox"] for entry in entries])
    back[:, 2:] += back[:, :2]
    np.testing.assert_array_equal(back.astype(np.float32), FOUND.boxes.numpy())
    assert json.loads(coco_results_json([])) == []


def test_yolo_text_is_read_back(tmp_path) -> None:
    assert yolo_text(NONE, (480, 640)) == ""
    assert all(len(line.split()) == 6 for line in yolo_text(FOUND, (480, 640)).splitlines())
    path = tmp_path / "a.txt"
    path.write_text(yolo_text(FOUND, (480, 640), scores=False))
    rows = np.array([(row.label, *row.numbers) for row in read_yolo_labels(path, 2, ProblemList())])
    assert rows[:, 0].tolist() == [1, 0]
    center, extent = rows[:, 1:3], rows[:, 3:]
    xyxy = np.concatenate([center - extent / 2, center + extent / 2], 1) * [640, 480, 640, 480]
    np.testing.assert_allclose(xyxy, FOUND.boxes.numpy(), atol=1e-4)


def test_csv_quotes_awkward_names() -> None:
    text = csv_text(rows_of(FOUND, 'a, "b".jpg', ClassTable(("cat", "dog"), ())))
    rows = list(csv.reader(io.StringIO(text)))
    assert tuple(rows[0]) == BOX_HEADER
    assert rows[1] == ['a, "b".jpg', "dog", "0.900000", "10.25", "20.00", "110.25", "220.00"]
    assert len(rows) == 3


def test_writers_of_boxes(tmp_path) -> None:
    outputs = Outputs(tmp_path, ["coco", "yolo", "csv"], ["cat", "dog"])
    image = np.zeros((480, 640, 3), np.uint8)
    for stem, found in (("day/a", FOUND), ("b", NONE)):
        outputs.add(stem, image, found)
    outputs.finish()
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert [(e["image_id"], e["category_id"], e["category"], e["file"]) for e in entries] == [
        (1, 2, "dog", "day/a"),
        (1, 1, "cat", "day/a"),
    ]
    assert (tmp_path / "day/a.txt").read_text() == yolo_text(FOUND, (480, 640))
    assert (tmp_path / "b.txt").read_text() == ""
    assert (tmp_path / "detections.csv").read_text().count("\n") == 3


def test_coco_results_have_the_ids_of_the_training_data(tmp_path) -> None:
    outputs = Outputs(tmp_path, ["coco"], ["cat", "dog"], ids=[17, 90])
    outputs.add("a", np.zeros((480, 640, 3), np.uint8), FOUND)
    outputs.finish()
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert [(e["category_id"], e["category"]) for e in entries] == [(90, "dog"), (17, "cat")]

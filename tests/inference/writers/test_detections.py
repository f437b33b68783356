from __future__ import annotations

import csv
import io
import json

import numpy as np
import supervision as sv
import torch
from PIL import Image

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.labelme_file import read_labelme_file
from toolkit.data.formats.outlines import label_map, outline_box
from toolkit.data.formats.voc_file import read_voc_file
from toolkit.data.formats.yolo_files import names_of_yaml, read_yolo_labels
from toolkit.inference.writers.base import TableRow
from toolkit.inference.writers.detections import CocoWriter
from toolkit.inference.writers.outputs import Outputs
from toolkit.inference.writers.tables import BOX_HEADER, csv_line, rows_of
from toolkit.labels import ClassTable
from toolkit.samples import Detections, LabelMap

FOUND = Detections(
    torch.tensor([[10.25, 20.0, 110.25, 220.0], [0.1, 0.2, 639.9, 479.7]]),
    torch.tensor([0.9, 0.123456789]),
    torch.tensor([1, 0]),
)
NONE = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


IMAGE = np.zeros((480, 640, 3), np.uint8)


def write(outputs: Outputs, found: dict[str, Detections]) -> None:
    """All files of a job over these pictures."""
    written = {stem: outputs.add(stem, np.zeros((480, 640, 3), np.uint8), one) for stem, one in found.items()}

    def rows(name: str):
        for number, (stem, one) in enumerate(written.items(), 1):
            if name in one.rows:
                yield TableRow(number, stem, json.loads(json.dumps(one.rows[name])))

    outputs.finish(rows)


def test_coco_results_have_the_original_ids_and_every_digit(tmp_path) -> None:
    writer = CocoWriter(tmp_path, ["a", "b"], (), [7, 90])
    rows = [TableRow(40, "x", writer.rows("x", IMAGE, FOUND)), TableRow(41, "y", writer.rows("y", IMAGE, NONE))]
    (path,) = writer.finish(rows)
    entries = json.loads(path.read_text())
    extra = {"file": "x", "category": "b"}
    assert entries[0] == {
        "image_id": 40, "category_id": 90, "bbox": [10.25, 20.0, 100.0, 200.0], "score": float(FOUND.scores[0]),
        **extra,
    }  # fmt: skip
    assert entries[1]["category_id"] == 7
    back = np.array([entry["bbox"] for entry in entries])
    back[:, 2:] += back[:, :2]
    np.testing.assert_array_equal(back.astype(np.float32), FOUND.boxes.numpy())
    writer.finish(rows[1:])
    assert json.loads(path.read_text()) == []


def test_yolo_labels_are_read_back_and_have_a_score_when_asked(tmp_path) -> None:
    outputs = Outputs(tmp_path / "plain", ["yolo"], ["cat", "dog"])
    asked = Outputs(tmp_path / "scores", ["yolo_scores"], ["cat", "dog"])
    for one in (outputs, asked):
        write(one, {"a": FOUND, "b": NONE})
    assert all(len(line.split()) == 6 for line in (tmp_path / "scores" / "a.txt").read_text().splitlines())
    assert names_of_yaml(tmp_path / "plain" / "data.yaml") == ["cat", "dog"]
    assert (tmp_path / "plain" / "b.txt").read_text() == ""
    path = tmp_path / "plain" / "a.txt"
    rows = np.array([(row.label, *row.numbers) for row in read_yolo_labels(path, 2, ProblemList())])
    assert rows[:, 0].tolist() == [1, 0]
    center, extent = rows[:, 1:3], rows[:, 3:]
    xyxy = np.concatenate([center - extent / 2, center + extent / 2], 1) * [640, 480, 640, 480]
    np.testing.assert_allclose(xyxy, FOUND.boxes.numpy(), atol=1e-4)


def test_csv_quotes_awkward_names() -> None:
    lines = [BOX_HEADER, *rows_of(FOUND, 'a, "b".jpg', ClassTable(("cat", "dog"), ()))]
    text = "".join(map(csv_line, lines))
    rows = list(csv.reader(io.StringIO(text)))
    assert tuple(rows[0]) == BOX_HEADER
    assert rows[1] == ['a, "b".jpg', "dog", "0.900000", "10.25", "20.00", "110.25", "220.00"]
    assert len(rows) == 3


def test_writers_of_boxes(tmp_path) -> None:
    outputs = Outputs(tmp_path, ["coco", "yolo", "csv"], ["cat", "dog"])
    write(outputs, {"day/a": FOUND, "b": NONE})
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert [(e["image_id"], e["category_id"], e["category"], e["file"]) for e in entries] == [
        (1, 2, "dog", "day/a"),
        (1, 1, "cat", "day/a"),
    ]
    assert [line.split()[0] for line in (tmp_path / "day/a.txt").read_text().splitlines()] == ["1", "0"]
    assert (tmp_path / "b.txt").read_text() == ""
    assert (tmp_path / "detections.csv").read_text().count("\n") == 3


def test_coco_results_have_the_ids_of_the_training_data(tmp_path) -> None:
    outputs = Outputs(tmp_path, ["coco"], ["cat", "dog"], ids=[17, 90])
    write(outputs, {"a": FOUND})
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert [(e["category_id"], e["category"]) for e in entries] == [(90, "dog"), (17, "cat")]


def test_voc_and_labelme_files_of_a_prediction_are_read_by_our_own_readers(tmp_path) -> None:
    outputs = Outputs(tmp_path, ["voc", "labelme"], ["cat", "dog"])
    outputs.add("a", np.zeros((480, 640, 3), np.uint8), FOUND)
    problems = ProblemList()
    voc, labelme = read_voc_file(tmp_path / "a.xml", problems), read_labelme_file(tmp_path / "a.json", problems)
    assert not problems.so_far
    assert voc is not None
    assert labelme is not None
    assert [one.name for one in voc.objects] == [one.label for one in labelme.outlines] == ["dog", "cat"]
    boxes = np.array([outline_box(one) for one in labelme.outlines])
    np.testing.assert_allclose(boxes, FOUND.boxes.numpy(), atol=1e-4)


def test_a_predicted_label_map_is_polygons_and_masks_of_the_same_pixels(tmp_path) -> None:
    labels = np.zeros((30, 40), np.uint8)
    labels[5:20, 5:30], labels[10:14, 10:14] = 1, 2  # a hole that another class fills
    labels[25:, 35:] = 1
    Outputs(tmp_path, ["labelme"], ["background", "cat", "dog"]).add(
        "a", np.zeros((30, 40, 3), np.uint8), LabelMap(torch.from_numpy(labels))
    )
    found = read_labelme_file(tmp_path / "a.json", ProblemList())
    assert found is not None
    numbers = [{"cat": 1, "dog": 2}[one.label] for one in found.outlines]
    np.testing.assert_array_equal(label_map(found.outlines, numbers, (30, 40)), labels)


def test_another_library_reads_the_labels(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.fromarray(IMAGE).save(tmp_path / f"images/{name}.jpg")
    write(Outputs(tmp_path / "yolo", ["yolo"], ["cat", "dog"]), {"a": FOUND, "b": NONE})
    write(Outputs(tmp_path / "voc", ["voc"], ["cat", "dog"]), {"a": FOUND, "b": NONE})
    pictures = str(tmp_path / "images")
    yolo = sv.DetectionDataset.from_yolo(pictures, str(tmp_path / "yolo"), str(tmp_path / "yolo/data.yaml"))
    voc = sv.DetectionDataset.from_pascal_voc(pictures, str(tmp_path / "voc"))
    for read, within in ((yolo, 1e-3), (voc, 1.01)):
        boxes = {name.rsplit("/", 1)[1]: found for name, _, found in read}
        assert len(boxes["b.jpg"].xyxy) == 0
        np.testing.assert_allclose(boxes["a.jpg"].xyxy, FOUND.boxes.numpy(), atol=within)
        assert [read.classes[label] for label in boxes["a.jpg"].class_id] == ["dog", "cat"]

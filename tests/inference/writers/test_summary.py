"""One line of numbers a picture, and the tables beside masks."""

from __future__ import annotations

import csv
import json

import numpy as np
import torch
from PIL import Image

from toolkit.inference.writers.base import TableRow
from toolkit.inference.writers.label_maps import MaskWriter
from toolkit.inference.writers.summary import SummaryWriter, summary_of
from toolkit.labels import ClassTable
from toolkit.samples import Detections, ImageScores, ImageValues, LabelMap, ValueMap

TABLE = ClassTable(("sky", "road"), ())
LABELS = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 255]], dtype=torch.uint8)


def test_areas_add_up_to_the_picture() -> None:
    found = summary_of(LabelMap(LABELS, torch.full((2, 4), 0.5)), TABLE)
    assert found.numbers == {"sky": 0.5, "road": 0.375, "no class": 0.125, "mean score": 0.5}
    assert (found.labels, found.score) == ([0, 1], 0.5)
    assert found.words == "sky 50 %, road 38 %"


def test_boxes_are_counted_and_their_scores_averaged() -> None:
    boxes = Detections(torch.zeros(3, 4), torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 1, 1]))
    assert summary_of(boxes, TABLE).numbers == {
        "sky": 0, "sky: mean score": None, "road": 3, "road: mean score": 0.5,
    }  # fmt: skip
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert (summary_of(none, TABLE).words, summary_of(none, TABLE).score) == ("0 boxes", None)


def test_every_kind_of_answer_has_a_row(tmp_path) -> None:
    image = np.zeros((2, 4, 3), np.uint8)
    answers = [
        LabelMap(LABELS), ImageScores(torch.tensor([0.25, 0.75])), ImageValues(torch.tensor([3.5, 2.0])),
        ValueMap(torch.arange(8.0).reshape(2, 4)), Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()),
    ]  # fmt: skip
    for number, answer in enumerate(answers):
        writer = SummaryWriter(tmp_path / str(number), TABLE.names)
        cells = json.loads(json.dumps(writer.rows("=a", image, answer)))
        (path,) = writer.finish([TableRow(1, "=a", cells)])
        (row,) = csv.DictReader(path.open(newline=""))
        assert (row["image"], row["height"], row["width"]) == ("'=a", "2", "4")
        assert len(row) > 3


def test_masks_with_the_values_of_the_files(tmp_path) -> None:
    values = np.full(256, 255)
    values[:2] = 7, 40
    writer = MaskWriter(tmp_path, TABLE.names, [(1, 2, 3), (4, 5, 6)])
    writer.values = values
    (path,) = writer.add("a", np.zeros((2, 4, 3), np.uint8), LabelMap(LABELS))
    picture = Image.open(path)
    assert np.asarray(picture).tolist() == [[7, 7, 7, 40], [7, 40, 40, 255]]
    palette = picture.getpalette() or []
    assert palette[40 * 3 : 41 * 3] == [4, 5, 6]
    values[1] = 4000
    (path,) = writer.add("b", np.zeros((2, 4, 3), np.uint8), LabelMap(LABELS))
    assert np.asarray(Image.open(path)).tolist() == [[7, 7, 7, 4000], [7, 4000, 4000, 255]]
    (table,) = writer.finish([TableRow(1, "b", writer.rows("b", np.zeros((2, 4, 3), np.uint8), LabelMap(LABELS)))])
    assert table.read_text() == "value,name,red,green,blue,label\n7,sky,1,2,3,0\n4000,road,4,5,6,1\n"

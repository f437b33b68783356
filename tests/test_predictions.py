"""Predictions draw and convert themselves; the COCO entries are read back by pycocotools."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import toolkit
from toolkit.errors import UserError
from toolkit.labels import ClassTable
from toolkit.predictions import Detections, ImageScores, ImageValues, LabelMap, Prediction, ValueMap

TABLE = ClassTable(("cat", "dog", "cow"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)), (7, 90, 3))
IMAGE = np.full((400, 500, 3), 60, np.uint8)
LABELS = torch.from_numpy(np.random.default_rng(0).choice([0, 2, 255], (400, 500)).astype(np.uint8))
FOUND = Detections(
    torch.tensor([[10.25, 60.0, 90.5, 120.0], [200.0, 150.0, 300.0, 250.0]]),
    torch.tensor([0.9, 0.3]),
    torch.tensor([1, 0]),
)
ALL: list[Prediction] = [
    LabelMap(LABELS),
    FOUND,
    ImageScores(torch.tensor([0.1, 0.7, 0.2])),
    ImageValues(torch.tensor([3.5, -1.0, 0.0])),
    ValueMap(torch.linspace(0, 9, 200_000).reshape(400, 500)),
]


@pytest.mark.parametrize("prediction", ALL, ids=lambda found: type(found).__name__)
@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :, :1], IMAGE[:, :, 0]], ids=["rgb", "gray", "flat"])
def test_every_prediction_draws_itself(prediction: Prediction, image: np.ndarray) -> None:
    drawn = prediction.of_classes(TABLE).draw(image)
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    assert drawn.shape[0] >= 400
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1
    assert (image == 60).all()


def test_boxes_are_drawn_in_their_classes_colours_down_to_a_score() -> None:
    named = FOUND.of_classes(TABLE)
    assert (named.draw(IMAGE) == (0, 255, 0)).all(2).any()
    assert not (named.draw(IMAGE) == (255, 0, 0)).all(2).any()
    assert (named.draw(IMAGE, min_score=0.2) == (255, 0, 0)).all(2).any()


def test_a_score_of_each_class_decides_what_is_drawn() -> None:
    named = FOUND.of_classes(TABLE)
    drawn = named.draw(IMAGE, (0.2, 0.95, 0.0))
    assert (drawn == (255, 0, 0)).all(2).any()
    assert not (drawn == (0, 255, 0)).all(2).any()


def test_another_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"of an image of 400x500 .* found one of 300x500"):
        LabelMap(LABELS).draw(IMAGE[:300])
    with pytest.raises(UserError, match="draws on a uint8 image"):
        FOUND.draw(IMAGE.astype(float))


def test_arrays_are_those_of_the_tensors() -> None:
    assert [type(found.numpy()).__name__ for found in ALL] == ["ndarray", "DetectionArrays", *["ndarray"] * 3]
    assert np.array_equal(LabelMap(LABELS).numpy(), LABELS.numpy())
    boxes, scores, labels = FOUND.numpy()
    assert np.array_equal(boxes, FOUND.boxes.numpy())
    assert scores.dtype == np.float32
    assert labels.tolist() == [1, 0]


def test_boxes_in_coco_are_scored_as_perfect_by_pycocotools() -> None:
    entries = FOUND.of_classes(TABLE).to_coco(image_id=7)
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(7, 90), (7, 7)]
    assert _average_precision(entries, "bbox") == pytest.approx(1.0)
    assert [entry["category_id"] for entry in FOUND.to_coco(1)] == [2, 1]  # without ids, from 1 on


def test_label_maps_in_coco_are_scored_as_perfect_by_pycocotools() -> None:
    entries = LabelMap(LABELS, torch.full((400, 500), 0.25)).of_classes(TABLE).to_coco(image_id=7)
    assert [entry["category_id"] for entry in entries] == [7, 3]  # 255 is nobody's
    assert np.array_equal(codec.decode(entries[1]["segmentation"]), LABELS.numpy() == 2)
    assert [entry["score"] for entry in entries] == [0.25, 0.25]
    assert _average_precision(entries, "segm") == pytest.approx(1.0)


def _average_precision(entries: list[dict], kind: str) -> float:
    """AP of results against an annotation made of them."""
    area = [float(codec.area(e["segmentation"])) if kind == "segm" else e["bbox"][2] * e["bbox"][3] for e in entries]
    truth = COCO()
    truth.dataset = {
        "info": {}, "images": [{"id": 7, "height": 400, "width": 500}],
        "categories": [{"id": number} for number in TABLE.ids],
        "annotations": [{**e, "id": i + 1, "iscrowd": 0, "area": area[i]} for i, e in enumerate(entries)],
    }  # fmt: skip
    truth.createIndex()
    scores = COCOeval(truth, truth.loadRes([dict(entry) for entry in entries]), kind)
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    return float(scores.stats[0])


@pytest.mark.parametrize("prediction", ALL[2:], ids=lambda found: type(found).__name__)
def test_what_coco_cannot_hold_is_said(prediction: Prediction) -> None:
    with pytest.raises(UserError, match=f"holds boxes and masks, and {type(prediction).__name__} is neither"):
        prediction.to_coco(1)


def test_names_travel_with_copies_and_are_no_element() -> None:
    named = FOUND.of_classes(TABLE)
    assert len(named) == 3
    assert FOUND.classes.names == ()
    assert copy.deepcopy(named).classes == pickle.loads(pickle.dumps(named)).classes == TABLE
    assert named.at_least(0.5).classes == TABLE


def test_a_model_gives_its_answers_its_names() -> None:
    model = toolkit.segnet_basic(classes=["cat", "dog"])
    model.category_ids = (4, 5)
    (found,) = model.predict(IMAGE[:20, :20])
    assert found.classes == ClassTable(("cat", "dog"), model.palette, (4, 5))
    assert {entry["category_id"] for entry in found.to_coco(1)} <= {4, 5}

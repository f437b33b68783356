"""Evaluation counts what prediction gives: batch size, and which images share a batch, change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.contracts import Dataset, Evaluator
from toolkit.data.loading.loader import eval_loader
from toolkit.engine.evaluate import Evaluation, evaluate
from toolkit.jobs.build import build_evaluators, build_model
from toolkit.jobs.build_data import build_dataset
from toolkit.ops.confusion import confusion_matrix
from toolkit.samples import Sample, collate

SIZES = [(32, 40), (24, 40), (31, 37), (32, 40), (24, 40)]


class OfSeveralSizes(Dataset):
    """The images of another data set, cut to sizes of which no two neighbours are alike."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.classes, self.palette = dataset, dataset.classes, dataset.palette

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, index: int) -> Sample:
        height, width = SIZES[index]
        sample = self.dataset[index % len(self.dataset)]
        boxes = sample.boxes
        if boxes is not None:
            inside = (boxes.xyxy <= [width, height, width, height]).all(1)
            boxes = boxes.take(inside)
        maps = None if sample.label_map is None else sample.label_map[:height, :width]
        image = np.ascontiguousarray(sample.image[:height, :width])
        return sample._replace(
            image=image, label_map=maps, boxes=boxes, original_size=SIZES[index], name=f"{index}.png", image_id=index
        )


def measured(model: Any, dataset: Dataset, evaluators: Sequence[Evaluator], size: int) -> Evaluation:
    fabric = Fabric(accelerator="cpu", devices=1)
    return evaluate(fabric, model, eval_loader(dataset, [], size), evaluators, images=len(dataset), with_loss=True)


def test_a_dense_nets_numbers_are_those_of_its_predictions(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "masks")
    torch.manual_seed(0)
    model = build_model(config, pretrained=False).eval()
    dataset = OfSeveralSizes(build_dataset(config, "val"))
    found = [measured(model, dataset, build_evaluators(config, model.classes), size) for size in (1, 2, 5)]
    assert found[0].metrics == found[1].metrics == found[2].metrics
    for name, value in found[0].losses.items():
        assert [each.losses[name] for each in found] == [pytest.approx(value, rel=1e-5)] * 3
    matrix = np.zeros((len(model.classes), len(model.classes) + 1), np.int64)
    for sample in (dataset[index] for index in range(len(dataset))):
        labels = model.predict(collate([sample]))[0].labels.numpy()
        matrix += confusion_matrix(sample.label_map, labels, len(model.classes))
    right, union = np.diagonal(matrix), matrix.sum(1) + matrix[:, :-1].sum(0) - np.diagonal(matrix)
    assert found[0].metrics["mIoU"] == float(np.mean(right[union > 0] / union[union > 0]))


def test_a_detectors_numbers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    config = tiny_detection_config(tmp_path / "boxes", "model.head.test.score=0.0")
    torch.manual_seed(0)
    model = build_model(config, pretrained=False).eval()
    dataset = OfSeveralSizes(build_dataset(config, "val"))
    found = [measured(model, dataset, build_evaluators(config, model.classes), size).metrics for size in (1, 5)]
    for name, value in found[0].items():
        assert found[1][name] == (None if value is None else pytest.approx(value, abs=1e-6)), name

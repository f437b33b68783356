"""One batch of a training: all of it, or as much as can be done in seconds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import tiny_config
from torch import Tensor

from toolkit.backbones.lenet5 import LeNet5
from toolkit.data.loading.loader import train_loader
from toolkit.errors import DataError
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.heads.image import ImageHead
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import build_dataset, build_transforms
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report
from toolkit.preflight.model.first_batch import Extent, affordable, try_batch, try_evaluation
from toolkit.samples import Sample


@pytest.mark.parametrize(
    ("batch", "macs", "wanted"),
    [
        (4, 1e9, Extent(4, 1.0)),
        (256, 1e9, Extent(60, 1.0)),
        (1, 240e9, Extent(1, 0.5)),
        (2, 120e9, Extent(2, 0.5)),
        (16, 0.0, Extent(16, 1.0)),
    ],
)
def test_affordable(batch: int, macs: float, wanted: Extent) -> None:
    assert affordable(batch, macs, 60e9) == wanted


def test_the_loss_is_that_of_the_trainings_first_batch(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d", "model.backbone.dropout=0.0")
    dataset, transforms = build_dataset(config, "train"), build_transforms(config, "train")
    model, report = build_model(config), Report()
    try_batch(report, model, dataset, transforms, 2, config.seed)
    batch = next(iter(train_loader(dataset, transforms, 2, config.seed)))
    wanted = {name: loss.item() for name, loss in build_and_copy(config, model).train().loss(batch).items()}
    assert report.statistics["loss"] == pytest.approx(wanted, rel=1e-4)
    assert report.statistics["batch"] == {"images": 2, "of": 2, "size": [32, 40]}


def build_and_copy(config, model):  # type: ignore[no-untyped-def]
    other = build_model(config)
    other.load_state_dict(model.state_dict())
    return other


def test_a_heavy_model_gets_part_of_a_batch_and_says_so(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    report = Report()
    dataset, transforms = build_dataset(config, "train"), build_transforms(config, "train")
    try_batch(report, build_model(config), dataset, transforms, 4, 0, macs=20e9)
    assert report.statistics["batch"]["images"] == 2
    assert report.statistics["batch"]["size"] < [32, 40]
    assert "only 2 of 4 images, at 45% of their size, to be done in seconds" in report.facts[-1].text


class Broken(torch.autograd.Function):
    """Forward as it was, backward infinite."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return gradient * float("inf")


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_named_with_its_files(tmp_path: Path, where: str) -> None:
    config = tiny_config(tmp_path / "d")
    model = build_model(config)
    if where == "loss":
        torch.nn.init.constant_(next(model.head.parameters()), float("nan"))
    else:
        model.neck.register_forward_hook(  # type: ignore[union-attr]
            lambda module, inputs, pyramid: type(pyramid)(
                tuple(Broken.apply(m) for m in pyramid.maps), pyramid.spec, pyramid.image_size, pyramid.pools
            )
        )
    with pytest.raises(DataError) as caught:
        try_batch(Report(), model, build_dataset(config, "train"), build_transforms(config, "train"), 2, 0)
    (problem,) = caught.value.problems
    assert where in problem.message
    assert ".jpg" in problem.suggestion


def test_an_evaluator_that_wants_scores_is_tried_with_scores(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    model, seen = build_model(config), []
    evaluator: Any = SimpleNamespace(wants_scores=True, update=lambda answers, truths: seen.append(answers[0].scores))
    assert try_evaluation(model, [("thresholds", evaluator)], build_dataset(config, "val")[0], [])
    assert seen[0] is not None
    assert not model.head.with_scores


def test_a_head_that_takes_one_size_is_tried_at_that_size(tmp_path: Path) -> None:
    """LeNet-5 without pooling wants 5x5 cells, which a smaller copy of the picture does not give."""
    backbone = LeNet5(in_channels=3, padding=0)
    head = ImageHead(backbone.spec, 3, "none", 5)
    model = VisionModel(backbone, None, head, ("a", "b", "c")).train()
    sample = Sample(np.zeros((32, 32, 3), np.uint8), "a.png", 0, (32, 32), image_label=1)
    assert try_evaluation(model, [("classification", ClassificationEvaluator(["a", "b", "c"]))], sample, [])
    assert model.training

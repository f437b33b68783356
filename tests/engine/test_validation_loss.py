"""The validation loss is the mean of what each image would have alone, whatever batch, order or process it was in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from run_laws import events
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.config.sections import Config
from toolkit.data.loading.loader import eval_loader
from toolkit.engine.evaluate import ValidationLoss, predict_and_measure
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import build_dataset, build_transforms
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.train import run_training
from toolkit.models.vision_model import VisionModel


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "masks"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "boxes"


def model_of(config: Config) -> VisionModel:
    torch.manual_seed(0)
    return build_model(config, pretrained=False).eval()


def batches(config: Config, size: int) -> list[Any]:
    loader = eval_loader(build_dataset(config, "val"), build_transforms(config, "val"), size)
    return [batch._replace(truths=()) for batch in loader]


def measured(model: VisionModel, groups: list[Any]) -> dict[str, float | None]:
    loss = ValidationLoss()
    for batch in groups:
        predict_and_measure(model, batch, loss)
    return loss.compute()


SIZES = {
    "as they are": (),
    "mirrored to a legal size, with a border": ("model.backbone.padding=valid", "model.neck.padding=valid"),
}


@pytest.mark.parametrize("overrides", SIZES.values(), ids=SIZES)
def test_equal_to_the_training_loss_of_every_image_alone(data: Path, overrides: tuple[str, ...]) -> None:
    config = tiny_config(data, *overrides)
    model = model_of(config)
    with torch.no_grad():
        alone = [float(model.loss(batch)["cross_entropy"]) for batch in batches(config, 1)]
    for size in (1, 2, 3):
        found = measured(model, batches(config, size))
        assert found == {"loss": pytest.approx(sum(alone) / 3, rel=1e-5), "loss/cross_entropy": found["loss"]}


def test_predictions_are_those_of_predict(data: Path) -> None:
    config = tiny_config(data)
    model = model_of(config)
    (batch,) = batches(config, 3)
    shared = predict_and_measure(model, batch, ValidationLoss())
    for ours, theirs in zip(shared, model.predict(batch), strict=True):
        assert torch.equal(ours.labels, theirs.labels)


def test_one_pass_serves_both(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(data)
    model, passes = model_of(config), []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    predict_and_measure(model, batches(config, 3)[0], ValidationLoss())
    assert len(passes) == 1


def test_a_detectors_draws_are_its_images_own_and_leave_the_random_state(boxes: Path) -> None:
    """Which anchors and proposals are looked at is drawn by the image's name: order and neighbours change nothing."""
    config = tiny_detection_config(boxes)
    model = model_of(config)
    ones = batches(config, 1)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = measured(model, ones)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    assert measured(model, ones[::-1]) == first
    assert {"loss/rpn_objectness", "loss/rpn_boxes", "loss/roi_classes", "loss/roi_boxes"} < set(first)
    together = measured(model, batches(config, 3))
    for name, value in first.items():
        assert together[name] == pytest.approx(value, rel=1e-4), name


def test_merged_processes_are_one(data: Path) -> None:
    config = tiny_config(data)
    model = model_of(config)
    ones = batches(config, 1)
    first, second = ValidationLoss(), ValidationLoss()
    for place, batch in enumerate(ones):
        predict_and_measure(model, batch, (first, second)[place % 2])
    first.merge(second.terms, second.unlabelled)
    assert first.compute() == measured(model, ones)


def test_what_is_not_finite_is_null_and_nothing_is_nothing() -> None:
    loss = ValidationLoss()
    assert loss.compute() == {}
    loss.terms = {"a": [1.0, float("inf")], "b": [1.0, 2.0]}
    assert loss.compute() == {"loss": None, "loss/a": None, "loss/b": 1.5}


def test_logged_beside_the_metric_and_not_when_not_asked_for(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data), tmp_path / "run", quiet=True)
    last = events(tmp_path / "run")[-1]
    assert last["val/loss"] == last["val/loss/cross_entropy"]
    result = run_evaluation(tmp_path / "run" / "last.safetensors", overrides=["evaluate.batch_size=1"])
    assert result["losses"]["loss"] == pytest.approx(last["val/loss"], rel=1e-5)
    run_training(tiny_config(data, "evaluate.loss=false"), tmp_path / "without", quiet=True)
    without = events(tmp_path / "without")
    assert not any(name.startswith("val/loss") for event in without for name in event)
    with_loss = [{k: v for k, v in e.items() if not k.startswith("val/loss")} for e in events(tmp_path / "run")]
    assert without == with_loss


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "ohem", "{name: lovasz, per_image: true}"])
def test_an_image_without_a_label_is_in_no_mean(data: Path, loss: str) -> None:
    """Its loss is undefined and not 0; in a batch or alone, for every loss."""
    config = tiny_config(data, f"model.head.loss={loss}")
    model = model_of(config)
    ones = batches(config, 1)
    blank = ones[1]._replace(label_maps=torch.full_like(ones[1].label_maps, 255))
    expected = measured(model, [ones[0], ones[2]])
    counted = ValidationLoss()
    for batch in (ones[0], blank, ones[2]):
        predict_and_measure(model, batch, counted)
    assert counted.compute() == expected
    assert counted.unlabelled == 1
    (whole,) = batches(config, 3)
    labels = whole.label_maps.clone()
    labels[1] = 255
    assert measured(model, [whole._replace(label_maps=labels)])["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_an_image_whose_labels_weigh_nothing_is_in_no_mean(data: Path) -> None:
    config = tiny_config(data)
    classes = len(model_of(config).classes)
    weights = [0.0] + [1.0] * (classes - 1)
    config = tiny_config(data, f"model.head.loss={{name: cross_entropy, class_weights: {weights}}}")
    model, ones = model_of(config), batches(config, 1)
    background = ones[1]._replace(label_maps=torch.zeros_like(ones[1].label_maps))
    assert measured(model, [ones[0], background]) == measured(model, [ones[0]])


def test_no_image_with_a_label_gives_no_loss(data: Path) -> None:
    config = tiny_config(data)
    one = batches(config, 1)[0]
    assert measured(model_of(config), [one._replace(label_maps=torch.full_like(one.label_maps, 255))]) == {}

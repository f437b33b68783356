"""The detection configs build without data, count the published parameters, and say what the presets say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.config.load import load_config
from toolkit.config.sections import Config
from toolkit.data.classes.tables import class_table
from toolkit.data.loading.loader import train_loader
from toolkit.engine.parameters import parameter_groups
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.rcnn_presets import FASTER_RCNN_2015
from toolkit.heads.rpn import AnchorSettings
from toolkit.jobs.build import build_evaluators, build_model
from toolkit.jobs.build_data import build_dataset, build_transforms, classes_of
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Truth

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PARAMETERS = {
    # py-faster-rcnn's models/pascal_voc/VGG16/faster_rcnn_end2end, counted from its prototxt.
    "faster_rcnn_vgg16_voc": 137_078_239,
    # torchvision's 41,755,286 less ten unused classes of 1,025 weights for one score and four offsets each.
    "faster_rcnn_r50_fpn_coco": 41_755_286 - 10 * 5 * 1_025,
    "faster_rcnn_r18_fpn_bccd": 12_299_777,
    "tiny/faster_rcnn_shapes": None,
}


def config_of(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", overrides)


def on_meta(config: Config, names: list[str] | None = None) -> VisionModel:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return build_model(config, pretrained=False, classes=class_table(names) if names else classes_of(config))


@pytest.mark.parametrize("name", PARAMETERS)
def test_builds_without_data_and_counts(name: str) -> None:
    config = config_of(name)
    model = on_meta(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert PARAMETERS[name] in (None, count)
    assert len(build_transforms(config, "train")) > 0
    numbers = {key for evaluator in build_evaluators(config, model.classes) for key in evaluator.compute()}
    assert "AP50" in numbers


def test_the_evaluators_of_a_config_give_numbers_of_different_names() -> None:
    evaluators = build_evaluators(config_of("faster_rcnn_vgg16_voc"), ["a", "b"])
    names = [name for evaluator in evaluators for name in evaluator.compute()]
    assert len(names) == len(set(names)) > 12


def test_vgg16_is_the_net_of_2015() -> None:
    model = on_meta(config_of("faster_rcnn_vgg16_voc"))
    head = model.head
    assert isinstance(head, RcnnHead)
    assert head.rpn.settings == FASTER_RCNN_2015["rpn"]
    assert head.roi.settings == FASTER_RCNN_2015["roi"]
    assert head.test == FASTER_RCNN_2015["test"]
    assert head.plus_one
    assert head.unclear == "background"


def test_vgg16_trains_what_the_authors_trained() -> None:
    """136,818,079 parameters learn; biases at twice the rate, and everything decays."""
    config = config_of("faster_rcnn_vgg16_voc")
    settings = config.train
    groups = parameter_groups(
        on_meta(config), 0.001, bias_lr_factor=settings.bias_lr_factor, frozen=settings.frozen,
        decay_norm_and_bias=settings.decay_norm_and_bias,
    )  # fmt: skip
    counts = {group["lr"]: sum(parameter.numel() for parameter in group["params"]) for group in groups}
    assert sum(counts.values()) == 136_818_079
    assert set(counts) == {0.001, 0.002}
    assert not any("weight_decay" in group for group in groups)


def test_every_tensor_of_vgg16_has_its_place_in_the_model() -> None:
    """torchvision's vgg16 under the names of `init_rename`: everything fits but its last layer."""
    from torchvision.models import vgg16

    config = config_of("faster_rcnn_vgg16_voc")
    with torch.device("meta"):
        published = vgg16().state_dict()
    own = on_meta(config).state_dict()
    renames = config.model.init_rename
    for name, tensor in published.items():
        layer, _, kind = name.rpartition(".")
        if layer != "classifier.6":
            assert own[f"{renames[layer]}.{kind}"].shape == tensor.shape, name
    assert len(renames) == 15


def test_r50_has_torchvisions_values() -> None:
    config = config_of("faster_rcnn_r50_fpn_coco")
    head = on_meta(config).head
    assert isinstance(head, RcnnHead)
    defaults = RcnnHead(on_meta(config).spec, 80)
    assert head.rpn.settings == replace(defaults.rpn.settings, anchors=AnchorSettings(style="torchvision"))
    assert head.roi.settings == defaults.roi.settings
    assert head.test == defaults.test
    epoch = 117_266 / config.data.batch_size  # images of train2017 with a box
    assert config.train.steps == pytest.approx(26 * epoch, abs=26)
    assert config.train.schedule is not None
    assert config.train.schedule.arguments["milestones"] == pytest.approx([16 * epoch, 22 * epoch], abs=26)
    names = [f"class {number}" for number in range(90)]
    assert sum(p.numel() for p in on_meta(config, names).parameters()) == 41_755_286


@pytest.mark.slow
def test_the_tiny_detector_learns_one_batch_by_heart(tmp_path: Path) -> None:
    changes = ["data.batch_size=2", f"data.root={tmp_path / 'shapes'}", "data.train.transforms=[]"]
    changes += [f"data.{split}.dataset.count_train=2" for split in ("train", "val")]
    changes += [f"data.{split}.dataset.count_val=1" for split in ("train", "val")]
    config = config_of("tiny/faster_rcnn_shapes", *changes)
    dataset = build_dataset(config, "train")
    model = build_model(config).train()
    batch = next(iter(train_loader(dataset, [], 2, 0, 0, 1)))
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    order = {dataset[index].name: index for index in range(2)}
    truths = [Truth.of(dataset[order[name]]) for name in batch.names]
    for _ in range(30):
        model.train()
        for _ in range(50):
            optimizer.zero_grad()
            torch.stack(list(model.loss(batch).values())).sum().backward()
            optimizer.step()
        evaluator = CocoEvaluator(list(model.classes))
        with torch.no_grad():
            evaluator.update(model.eval().predict(batch), truths)
        ap50 = evaluator.compute()["AP50"]
        assert ap50 is not None
        if ap50 > 0.9:
            return
    pytest.fail(f"not learnt by heart in 1500 steps: AP50 {ap50}")

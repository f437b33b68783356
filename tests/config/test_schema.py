"""The whole file is checked before anything is built, and every problem is named at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_mutations import mutated
from jsonschema import Draft202012Validator

from toolkit.config.load import load_config, parse_config
from toolkit.config.overrides import override
from toolkit.config.parts import shipped_parts
from toolkit.config.plain import to_plain, to_yaml
from toolkit.config.schema import editor_schema
from toolkit.config.source import parse
from toolkit.errors import ConfigError
from toolkit.jobs.part_classes import part_class

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))

GOOD = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 8, depth: 3, padding: same}
  neck: skip
  head: {name: pixel, loss: {name: weighted_sum, losses: [cross_entropy, {name: dice}]}}
data:
  root: somewhere
  classes: [road, sky]
  train: {dataset: {name: image_masks, images: i, masks: m}, transforms: [{name: HorizontalFlip, p: 0.5}]}
train:
  steps: 10
  optimizer: {name: sgd, lr: 1e-2}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.yaml", overrides)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_config_round_trips_complete() -> None:
    config = parse_config(GOOD, "c.yaml")
    text = to_yaml(config)
    again = parse_config(text, "c.yaml")
    assert to_plain(again) == to_plain(config)
    assert to_plain(config)["model"]["neck"]["upsample"] == "transpose"  # defaults are written out
    assert to_plain(config)["data"]["train"]["dataset"]["root"] == "somewhere"  # from data.root
    assert config.name == "c"


def test_data_root_moves_a_saved_config_and_is_never_ignored() -> None:
    saved = to_yaml(parse_config(GOOD, "c.yaml"))
    moved = parse_config(saved, "c.yaml", ["data.root=elsewhere"])
    assert to_plain(moved)["data"]["train"]["dataset"]["root"] == "elsewhere"
    own = GOOD.replace("{name: image_masks,", "{name: image_masks, root: here,")
    assert any("changes nothing" in line for line in problems(own, "data.root=elsewhere"))


def test_every_problem_at_once_in_the_order_of_the_file() -> None:
    bad = GOOD.replace("width: 8", "widht: 8").replace("neck: skip", "neck: skp").replace("lr: 1e-2", 'lr: "fast"')
    found = problems(bad, "train.stps=3", "model.head.kernel_size=2", "data.batch_size=0", "trian.x=1")
    text = "\n".join(found)
    for words in (
        "c.yaml:3:50  model.backbone.widht: backbone 'unet_encoder' has no parameter 'widht'; did you mean 'width' or 'weights'?",
        "c.yaml:4:9  model.neck: no neck is called 'skp'; did you mean 'skip'",
        "train.optimizer.lr: wanted a number greater than 0, found 'fast' (text)",
        "command line  train.stps: section 'train' has no key 'stps'; did you mean 'steps'?",
        "command line  model.head.kernel_size: wanted 1 or 3, found 2 (a whole number)",
        "command line  data.batch_size: wanted a whole number greater than 0 or 'auto', found 0",
        "a config has no key 'trian'; did you mean 'train'?",
    ):
        assert words in text
    assert len(found) == 7
    assert [line.startswith("c.yaml") for line in found] == sorted([line.startswith("c.yaml") for line in found])[::-1]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.optimizer={name: sgd}", "needs 'lr'; wanted a number greater than 0"),
        ("train.optimizer=null", "an optimizer: a name, or a mapping with 'name', found null"),
        ("model.head.loss=[1]", "a loss: a name, or a mapping with 'name', found [1] (a list)"),
        ("model.head.loss.losses=dice", "wanted a list"),
        ("model.head.loss.losses=[dise]", "did you mean 'dice'?"),
        ("model.head.num_classes=3", "is not set by hand"),
        ("model.backbone.width=true", "wanted a whole number greater than 0, found True (true/false)"),
        ("model.backbone.width=8.5", "found 8.5 (a number)"),
        ("model.backbone.padding=sam", "did you mean 'same'?"),
        ("data.train.transforms=[{name: HorizontalFlp}]", "did you mean 'HorizontalFlip'?"),
        (
            "data.train.transforms=[{name: HorizontalFlip, prob: 1}]",
            "transform 'HorizontalFlip' has no parameter 'prob'",
        ),
        ("model.backbone=no_such_module:Net", "cannot import 'no_such_module'"),
        ("model.backbone=toolkit.errors:UserError", "must derive from Backbone"),
        ("model.backbone=toolkit.errors:Nothing", "has no 'Nothing'"),
        ("data=3", "wanted a mapping, found 3"),
        ("model={}", "section 'model' needs 'backbone'"),
        ("seed=-1", "at least 0"),
        ("data.classes=7", "found 7"),
    ],
)
def test_each_mistake_has_its_sentence(override: str, words: str) -> None:
    assert any(words in line for line in problems(GOOD, override)), problems(GOOD, override)


def test_module_and_class_reach_code_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_outside.py").write_text(
        "from toolkit.backbones.unet_encoder import UNetEncoder\n"
        "class Mine(UNetEncoder):\n    def __init__(self, wide: int = 4) -> None:\n"
        "        super().__init__(3, wide, 3, 'same')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = parse_config(GOOD, "c.yaml", ["model.backbone={name: 'mine_outside:Mine', wide: 6}"])
    assert part_class("backbone", config.model.backbone.name).__name__ == "Mine"
    assert any("did you mean 'wide'" in p for p in problems(GOOD, "model.backbone={name: 'mine_outside:Mine', wid: 6}"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(path.parents[1])))
def test_shipped_configs_are_well_formed(path: Path) -> None:
    config = load_config(path)
    assert to_plain(parse_config(to_yaml(config), str(path))) == to_plain(config)


def test_there_are_configs() -> None:
    assert len(CONFIGS) > 1


def test_json_schema_knows_the_parts() -> None:
    schema = editor_schema(shipped_parts())
    assert set(schema["required"]) == {"model", "data", "train"}
    backbones = {part["properties"]["name"].get("const") for part in schema["$defs"]["backbones"]["anyOf"][2:-1]}
    assert {"resnet", "unet_encoder", "timm", "smp"} <= backbones
    assert schema["properties"]["data"]["properties"]["workers"]["minimum"] == 0


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    return Draft202012Validator(json.loads(json.dumps(editor_schema(shipped_parts()))))


@pytest.mark.slow
def test_the_editor_schema_is_one() -> None:
    Draft202012Validator.check_schema(editor_schema(shipped_parts()))


def as_json(value: Any) -> Any:
    """As an editor sees YAML: keys are text."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(path.parents[1])))
def test_what_the_check_accepts_an_editor_accepts(path: Path, editor: Draft202012Validator) -> None:
    config = load_config(path)
    good = yaml.safe_load(path.read_text())
    accepted = 0
    for values in (good, to_plain(config), mutated(good, len(path.stem))):
        text = yaml.dump(values)
        try:
            parse_config(text, "c.yaml")
        except ConfigError:
            continue
        accepted += 1
        found = parse(text, "c.yaml").values
        assert [error.message[:200] for error in editor.iter_errors(as_json(found))] == []
    assert accepted >= 2


@pytest.mark.parametrize(
    "change",
    ["train.stps=3", "model.neck=skp", "train.steps=0", "model.backbone={name: resnet, dept: 18}"],
)  # fmt: skip
def test_an_editor_sees_mistakes(change: str, editor: Draft202012Validator) -> None:
    source = parse(GOOD, "c.yaml")
    assert editor.is_valid(as_json(source.values))
    override(source, [change])
    assert not editor.is_valid(as_json(source.values))


def test_every_property_has_a_description() -> None:
    def lacking(schema: Any, path: str) -> list[str]:
        if isinstance(schema, list):
            return [one for item in schema for one in lacking(item, path)]
        if not isinstance(schema, dict):
            return []
        properties = schema.get("properties")
        own = (
            [name for name, value in properties.items() if not value.get("description")]
            if isinstance(properties, dict)
            else []
        )
        return [f"{path}.{name}" for name in own] + [
            one for key, value in schema.items() for one in lacking(value, f"{path}.{key}")
        ]

    assert lacking(editor_schema(shipped_parts()), "") == []

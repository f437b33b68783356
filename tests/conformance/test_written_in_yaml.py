"""Every registered part can be written in a config: by its name with what it requires, and on the command line."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import yaml

from toolkit.config.load import parse_config
from toolkit.config.sections import Config, PartSpec
from toolkit.contracts import REGISTRIES, PyramidSpec
from toolkit.jobs.build_part import build_part

REQUIRED: dict[tuple[str, str], dict[str, Any]] = {
    ("backbone", "timm"): {"model": "resnet18"},
    ("backbone", "smp"): {"encoder": "resnet18"},
    ("neck", "smp"): {"decoder": "unet"},
    ("neck", "context"): {"channels": 3},
    ("loss", "weighted_sum"): {"losses": ["cross_entropy", {"name": "focal", "gamma": 1.0}]},
    ("dataset", "joined"): {"datasets": [{"name": "shapes", "root": "r", "split": "train"}]},
    ("dataset", "box_crops"): {"dataset": {"name": "voc", "root": "r", "split": "train"}},
    ("transform", "rare_class_crop"): {"classes": ["a"], "height": 64, "width": 64},
    ("transform", "resize_shorter"): {"shorter": 64},
}
"""Arguments without a default; those that are not here get the value of their type in `VALUES`."""

VALUES: dict[str, Any] = {
    "lr": 0.1, "root": "r", "split": "train", "images": "i", "annotations": "a", "masks": "m", "size": 64,
    "height": 64, "width": 64, "factor": 0.5, "stride": 16, "maps": "m", "labels": "l", "values": "v",
    "milestones": [1], "power": 0.9, "steps": 1, "step": 1, "channels": 16, "csv": "c", "data": "d", "file": "f",
}  # fmt: skip
SPECS = {
    "index_unpool": PyramidSpec((8, 8, 8), (1, 2, 4), pool_indices=True),
    "rcnn": PyramidSpec((8, 8, 8, 8), (4, 8, 16, 32)),
}
SPEC = PyramidSpec((16, 16, 16, 16, 16, 16), (1, 2, 4, 8, 16, 32))
PARTS = [
    pytest.param(registry, name, id=f"{registry.kind}-{name}")
    for registry in REGISTRIES.values()
    for name in registry.names()
]


def written(registry: Any, name: str) -> Any:
    """The part as it stands in a config: its name alone where it asks for nothing."""
    parameters = inspect.signature(registry.find(name)).parameters.values()
    asked = [p.name for p in parameters if p.default is p.empty and p.name not in registry.injected]
    given = REQUIRED.get((registry.kind, name), {})
    missing = [key for key in asked if key not in given and key not in VALUES]
    assert not missing, f"{registry.kind} '{name}' asks for {missing}: give it a value in REQUIRED"
    arguments = {key: VALUES[key] for key in asked if key not in given} | given
    return {"name": name, **arguments} if arguments else name


def config_with(kind: str, part: Any) -> dict[str, Any]:
    """A whole config in which the part stands where parts of its kind do."""
    config: dict[str, Any] = {
        "model": {"backbone": {"name": "vgg", "depth": 11}, "neck": "fpn", "head": {"name": "pixel", "loss": "dice"}},
        "data": {
            "root": "r",
            "classes": ["a", "b", "c"],
            "train": {"dataset": {"name": "camvid", "split": "train"}, "transforms": []},
        },
        "train": {"steps": 1, "optimizer": {"name": "sgd", "lr": 0.1}, "schedule": "constant"},
        "evaluate": {"evaluators": []},
    }
    match kind:
        case "backbone" | "neck" | "head":
            config["model"][kind] = part
        case "loss":
            config["model"]["head"]["loss"] = part
        case "dataset":
            config["data"]["train"]["dataset"] = part
        case "transform":
            config["data"]["train"]["transforms"] = [part]
        case "evaluator":
            config["evaluate"]["evaluators"] = [part]
        case _:
            config["train"][kind] = part
    return config


def place_of(kind: str, config: Config) -> PartSpec:
    """Where a config holds its part of a kind."""
    places: dict[str, Any] = {
        "backbone": lambda: config.model.backbone,
        "neck": lambda: config.model.neck,
        "head": lambda: config.model.head,
        "loss": lambda: config.model.head.arguments["loss"],
        "dataset": lambda: config.data.train.dataset,
        "transform": lambda: config.data.train.transforms[0],
        "evaluator": lambda: config.evaluate.evaluators[0],
        "optimizer": lambda: config.train.optimizer,
        "schedule": lambda: config.train.schedule,
    }
    found: PartSpec = places[kind]()
    return found


@pytest.mark.parametrize(("registry", "name"), PARTS)
def test_a_config_can_name_it_and_it_is_built(registry: Any, name: str) -> None:
    part = written(registry, name)
    config = parse_config(yaml.safe_dump(config_with(registry.kind, part)), "c.yaml")
    spec = place_of(registry.kind, config)
    assert spec.name == name
    if registry.kind == "dataset":  # reads the disk
        return
    context: dict[str, Any] = {"num_classes": 3, "classes": ["a", "b", "c"], "class_names": ["a", "b", "c"]}
    with torch.device("meta"):
        built = build_part(spec, pretrained=False, spec=SPECS.get(name, SPEC), **context)
    assert isinstance(built, registry.base)


@pytest.mark.parametrize("name", REGISTRIES["losses"].names())
def test_a_loss_can_be_named_on_the_command_line_and_in_a_sum(name: str) -> None:
    part = written(REGISTRIES["losses"], name)
    text = yaml.safe_dump(config_with("loss", {"name": "weighted_sum", "losses": [part, "dice"]}))
    assert place_of("loss", parse_config(text, "c.yaml")).arguments["losses"][0].name == name
    if isinstance(part, str):
        config = parse_config(yaml.safe_dump(config_with("loss", "dice")), "c.yaml", [f"model.head.loss.name={name}"])
        assert place_of("loss", config).name == name


def test_a_part_whose_argument_is_the_key_that_chooses_it_is_refused() -> None:
    """It could be named in no config."""

    class Wrapped(REGISTRIES["losses"].base):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__()

    with pytest.raises(TypeError, match="'name' is the key by which a config chooses the part"):
        REGISTRIES["losses"].register("wrapped")(Wrapped)

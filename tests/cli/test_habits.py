"""Words of other tools, on the command line and in configs, are answered with the word that is meant here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.cli.main import run
from toolkit.config.habits import _NAMES, _PLACES
from toolkit.config.parts import shipped_parts
from toolkit.config.sections import Config
from toolkit.config.validate import section_schema
from toolkit.config.values import without_null
from toolkit.config.words import part_kind

CONFIG = str(Path(__file__).resolve().parents[2] / "configs/tiny/unet_shapes.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("val runs/x", "write toolkit evaluate runs/x"),
        ("eval runs/x", "write toolkit evaluate runs/x"),
        ("test runs/x --split val", "write toolkit evaluate runs/x --split val"),
        ("infer runs/x a.png", "write toolkit predict runs/x a.png"),
        ("fit c.yaml", "write toolkit train c.yaml"),
        ("tran c.yaml", "did you mean 'train'?"),
        ("train C --epochs 3", "write train.epochs=3"),
        ("train C --batch=4", "write data.batch_size=4"),
        ("train C -b 4", "write data.batch_size=4"),
        ("train C -j 4", "write data.workers=4"),
        ("train C --lr 0.1", "write train.optimizer.lr=0.1"),
        ("train C --imgsz 640", "sizes are transforms"),
        ("train C --device 0", "write train.device=cuda"),
        ("train C --amp", "write train.precision=bf16-mixed"),
        ("train C --seed 3", "write seed=3"),
        ("train C --name x", "write --run x"),
        ("train C --weights a.pth", "write model.init_from=a.pth"),
        ("train --config C", "toolkit train CONFIG"),
        ("train C --train.steps 3", "write train.steps=3, without dashes"),
        ("train C --frobnicate", "toolkit train --help"),
        ("check C --ful", "did you mean '--full'?"),
        ("evaluate r --conf 0.4", "write --score 0.4"),
        ("evaluate r --max-det 300", "write model.head.test.per_image=300"),
        ("predict r a.png --output x", "write --out x"),
        ("predict r a.png --out x --batch 2", "write --batch-size 2"),
        ("predict r a.png --out x --save-txt", "write --format yolo"),
        ("predict --weights r --source a", "toolkit predict CHECKPOINT"),
        ("list --jsn", "did you mean '--json'?"),
    ],
)
def test_a_command_line_of_another_tool(arguments: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = [CONFIG if word == "C" else word for word in arguments.split()]
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert words in err.splitlines()[-1]
    assert out == ""
    assert run([*line, "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert words in f"{error['message']}; {error['suggestion']}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("lr=1", "it is train.optimizer.lr"),
        ("train.max_epochs=3", "did you mean 'epochs'?"),
        ("train.max_iters=3", "did you mean 'steps'?"),
        ("data.num_workers=3", "did you mean 'workers'?"),
        ("num_workers=3", "it is data.workers"),
        ("data.batch=2", "did you mean 'batch_size'?"),
        ("imgsz=640", "sizes are transforms: data.train.transforms"),
        ("data.image_size=640", "sizes are transforms: data.train.transforms"),
        ("model.pretrained=true", "it is model.backbone.weights"),
        ("model.backbone={name: resnet, pretrained: true}", "did you mean 'weights'?"),
        ("model.backbone={name: resnet, weights: true}", "name them: DEFAULT or imagenet"),
        ("model.backbone=resnet50", "write {name: resnet, depth: 50}"),
        ("model.backbone=vgg16_bn", "write {name: vgg, depth: 16, batch_norm: true}"),
        ("model.backbone={type: resnet, depth: 18}", "write name: resnet in the place of type"),
        ("train.optimizer={name: sgd, learning_rate: 0.1}", "did you mean 'lr'?"),
        ("train.optimizer={name: adamw, lr: 1.0, momentum: 0.1}", "known: 'betas'"),
        ("train.optimizer={name: Adam, lr: 1.0}", "did you mean 'adamw'?"),
        ("num_classes=3", "classes are named, in data.classes"),
        ("model.decode_head=pixel", "did you mean 'head'?"),
        ("model.head.loss=CrossEntropyLoss", "did you mean 'cross_entropy'?"),
        ("train.amp=true", "did you mean 'precision'?"),
        ("train.schedule=CosineAnnealingLR", "did you mean 'cosine'?"),
        ("evaluate.evaluators=[mIoU]", "did you mean 'semantic'?"),
        ("evaluate.metrics=[semantic]", "did you mean 'evaluators'?"),
        ("resume=true", "--resume"),
        ("work_dir=x", "--run FOLDER"),
        ("gpus=2", "it is train.devices"),
        ("val_interval=3", "it is train.evaluate_every"),
        ("data.ignore_index=255", "it is data.train.dataset.label_values"),
    ],
)
def test_a_key_of_another_tool(change: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", CONFIG, change]) == 2
    assert any(words in line for line in capsys.readouterr().err.splitlines())


def test_every_answer_names_what_exists() -> None:
    parts = shipped_parts()
    for kind, names in _NAMES.items():
        assert set(names.values()) <= set(parts.names(kind))
    for place in _PLACES:
        schemas = [section_schema(Config)]
        for key in place.split("."):
            inner = [without_null(schema["properties"][key])[0] for schema in schemas if key in schema["properties"]]
            assert inner, f"{place}: nothing has '{key}'"
            kinds = [kind for kind in map(part_kind, inner) if kind]
            schemas = [schema for schema in inner if "properties" in schema]
            schemas += [parts.part(kind, name) for kind in kinds for name in parts.names(kind)]

"""`data.split`: one folder becomes train, val and test, for the training, its continuation and its evaluation alike."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from broken_data import make_pairs, mask, picture, save
from click.testing import CliRunner
from run_laws import assert_same_run, stop_after

from toolkit.cli.main import command_line
from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.data.splits.lists import read_lists, write_lists
from toolkit.errors import ConfigError, DataError
from toolkit.jobs.build_data import build_dataset, build_transforms, division_of, transforms_to_measure
from toolkit.jobs.check import check_config
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.report import reader_of_run
from toolkit.jobs.train import run_training

TEXT = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 4, depth: 3, padding: same, norm: batch}
  neck: {name: skip, norm: batch}
  head: {name: pixel}
data:
  classes: [ground, thing, other]
  batch_size: 2
  workers: 0
  split: {val: 0.25, test: 0.25}
  train:
    dataset: {name: image_masks}
    transforms: [{name: resize, height: 32, width: 32}, {name: HorizontalFlip, p: 0.5}]
train:
  steps: 6
  optimizer: {name: adamw, lr: 0.01}
  log_every: 2
  evaluate_every: 3
  save_every: 2
  device: cpu
  threads: 1
evaluate: {evaluators: [semantic]}
name: divided
"""


def config_of(root: Path, *overrides: str) -> Config:
    return parse_config(TEXT, "divided.yaml", [f"data.root={root}", *overrides])


def parts_of(config: Config) -> dict[str, list[str]]:
    found = division_of(config)
    assert found is not None
    return dict(found)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "data", 12, 0)


def test_the_parts_are_disjoint_whole_and_those_of_each_data_set(root: Path) -> None:
    config = config_of(root)
    parts = parts_of(config)
    assert {split: len(own) for split, own in parts.items()} == {"train": 6, "val": 3, "test": 3}
    assert sorted(chain.from_iterable(parts.values())) == sorted(
        f"images/{path.name}" for path in (root / "images").iterdir()
    )
    for split, own in parts.items():
        assert [sample.name for sample in build_dataset(config, split)] == own


def test_what_else_the_config_says_changes_no_part(root: Path) -> None:
    changes = [
        "seed=7",
        "data.batch_size=1",
        "train.steps=9",
        "data.train.transforms=[]",
        "data.sampling=class_balanced",
    ]
    assert parts_of(config_of(root, *changes)) == parts_of(config_of(root))
    assert parts_of(config_of(root, "data.split.seed=1")) != parts_of(config_of(root))


def test_val_gets_the_transforms_that_evaluation_can_use(root: Path) -> None:
    config = config_of(root)
    assert [type(one).__name__ for one in build_transforms(config, "val")] == ["Resize"]
    assert len(build_transforms(config, "train")) == 2
    facts = [fact.text for fact in check_config(config).facts if fact.topic == "split"]
    assert any("HorizontalFlip" in text for text in facts)
    own = config_of(root, "data.val={dataset: {name: image_masks}, transforms: []}")
    assert build_transforms(own, "val") == []
    assert parts_of(own) == parts_of(config)


def test_a_copy_goes_where_its_original_goes(root: Path) -> None:
    scene = picture(0)
    save(root / "images" / "p07.jpg", np.ascontiguousarray(scene[:, ::-1]))
    save(root / "images" / "p11.jpg", scene // 2)
    for seed in range(4):
        parts = parts_of(config_of(root, f"data.split.seed={seed}"))
        home = [split for split, own in parts.items() if "images/p00.jpg" in own]
        assert all(name in parts[home[0]] for name in ("images/p07.jpg", "images/p11.jpg"))


def test_groups_of_the_config_stay_together(root: Path) -> None:
    parts = parts_of(config_of(root, "data.group=p([0-9])[0-5]"))
    together = [f"images/p{number:02d}.jpg" for number in range(6)]
    assert any(set(together) <= set(own) for own in parts.values())


def test_a_run_keeps_its_lists_goes_on_with_them_and_is_measured_by_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(root)
    whole = run_training(config, tmp_path / "whole", quiet=True)
    kept = read_lists(tmp_path / "whole" / "splits")
    assert kept == parts_of(config)
    stop_after(config, tmp_path / "cut", 3, monkeypatch)
    save(root / "images" / "p99.jpg", picture(99))  # with a new image all of them would be divided otherwise
    save(root / "masks" / "p99.png", mask(9))
    assert parts_of(config) != kept
    run_training(config, tmp_path / "cut", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    again = run_evaluation(tmp_path / "whole" / "last.safetensors", "val", quiet=True)
    assert again["metrics"] == whole["metrics"]
    read, notes = reader_of_run(tmp_path / "whole", "val")
    assert read is not None
    assert not notes
    assert all(read(name) is not None for name in kept["val"])


def test_folds_are_measured_once_each_and_share_their_test_images(root: Path) -> None:
    folds = [parts_of(config_of(root, f"data.split={{folds: 3, fold: {fold}, test: 0.25}}")) for fold in range(3)]
    assert len({tuple(one["test"]) for one in folds}) == 1
    measured = list(chain.from_iterable(one["val"] for one in folds))
    assert len(set(measured)) == len(measured) == 9
    assert all(sorted(one["train"] + one["val"]) == sorted(measured) for one in folds)


def test_a_share_is_of_the_training_images_alone(root: Path) -> None:
    config = config_of(root, "data.share=0.5")
    assert len(build_dataset(config, "train")) == 3
    assert len(build_dataset(config, "val")) == 3


def test_lists_say_it_all(root: Path, tmp_path: Path) -> None:
    names = [f"images/p{number:02d}.jpg" for number in range(12)]
    write_lists(tmp_path / "lists", {"train": names[:6], "val": names[6:11]})
    for place in ("lists", "lists/splits.csv"):
        config = config_of(root, f"data.split={{lists: {tmp_path / place}}}")
        assert [sample.name for sample in build_dataset(config, "val")] == names[6:11]
        assert config.data.test is None


@pytest.mark.parametrize(
    "change",
    ["data.split={val: 0.6, test: 0.4}", "data.split={val: 0}", "data.split={folds: 3, fold: 3}", "data.split={fold: 1}",
     "data.val={dataset: {name: image_masks, masks: others}}"],
)  # fmt: skip
def test_an_impossible_division_is_a_mistake_of_the_config(root: Path, change: str) -> None:
    with pytest.raises(ConfigError):
        config_of(root, change)


def test_a_part_without_images_is_refused(root: Path) -> None:
    with pytest.raises(DataError):
        division_of(config_of(root, "data.split={val: 0.01}"))


def test_the_verb_writes_lists_beside_the_config_once(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TEXT.replace("data:\n", f"data:\n  root: {root}\n", 1))
    command = ["split", str(tmp_path / "mine.yaml"), "--json"]
    result = CliRunner().invoke(command_line, command)
    assert json.loads(result.stdout)["splits"] == {"train": 6, "val": 3, "test": 3}
    assert read_lists(tmp_path / "divided_splits") == parts_of(config_of(root))
    assert isinstance(CliRunner().invoke(command_line, command).exception, ConfigError)
    inside = CliRunner().invoke(command_line, [*command, "--out", str(root / "lists")])
    assert isinstance(inside.exception, ConfigError)


def test_the_verb_divides_a_folder_that_is_recognised(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train.txt", "val.txt"):
        (root / name).unlink()
    monkeypatch.chdir(tmp_path)
    command = ["split", str(root), "--val", "0.25", "--test", "0.25", "--json"]
    result = CliRunner().invoke(command_line, command)
    assert result.exception is None
    assert json.loads(result.stdout)["splits"] == {"train": 6, "val": 3, "test": 3}
    assert read_lists(tmp_path / "data_splits").keys() == {"train", "val", "test"}


@pytest.mark.parametrize("divided", [True, False])
def test_training_images_are_measured_as_those_of_val(divided: bool, tmp_path: Path) -> None:
    """What changes them at random in a training is left out, whether there is a val or not."""
    make_pairs(tmp_path, 4)
    config = config_of(tmp_path, *([] if divided else ["data.split=null"]))
    assert [type(one).__name__ for one in transforms_to_measure(config, "train")] == ["Resize"]
    assert len(build_transforms(config, "train")) == 2

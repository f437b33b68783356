"""Mistyped keys at every level: named with their line and the nearest known one, by every verb, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mistake_data import masks, masks_config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    return masks_config(folder / "sound.yaml", masks(folder / "d"))


MISTAKES = [
    # (what is replaced, by what, the key that is named, the nearest one)
    ("\nevaluate:", "\nevalute:", "evalute", "evaluate"),
    ("\nname: tiny", "\nnmae: tiny", "nmae", "name"),
    ("  batch_size: 2", "  batchsize: 2", "batchsize", "batch_size"),
    ("  steps: 6", "  stpes: 6", "stpes", "steps"),
    ("optimizer: {name: adamw, lr: 0.01}", "optimizer: {name: adamw, lrr: 0.01}", "lrr", "lr"),
    ("  schedule:", "  scheduel:", "scheduel", "schedule"),
    ("  neck:", "  nekc:", "nekc", "neck"),
    ("depth: 3", "dpeth: 3", "dpeth", "depth"),
    ("head: {name: pixel}", "head: {name: pixel, los: cross_entropy}", "los", "loss"),
    ("head: {name: pixel}", "head: {name: pixel, loss: {name: dice, smoth: 1}}", "smoth", "smooth"),
    ("masks: masks/train", "mask: masks/train", "mask", "masks"),
    ("{name: HorizontalFlip, p: 0.5}", "{name: HorizontalFlip, prob: 0.5}", "prob", "p"),
    ("train:\n    dataset", "train:\n    datset", "datset", "dataset"),
]
NAMES = [
    ("name: unet_encoder", "name: unet_encodr", "no backbone is called 'unet_encodr'", "unet_encoder"),
    (
        "name: image_masks, images: images/train",
        "name: image_mask, images: images/train",
        "no dataset is called",
        "image_masks",
    ),
    ("name: HorizontalFlip", "name: HorizontlFlip", "no transform is called", "HorizontalFlip"),
    ("name: adamw", "name: adamww", "no optimizer is called", "adamw"),
    ("[semantic]", "[sematic]", "no evaluator is called", "semantic"),
    ("name: cosine", "name: cosin", "no schedule is called", "cosine"),
]


def broken(config: Path, tmp_path: Path, old: str, new: str) -> tuple[Path, int]:
    """The config with a mistake, and the line it is on."""
    text = config.read_text()
    assert old in text
    changed = text.replace(old, new, 1)
    path = tmp_path / "broken.yaml"
    path.write_text(changed)
    return path, changed[: changed.index(new) + len(new) - len(new.lstrip("\n"))].count("\n") + 1


@pytest.mark.parametrize(("old", "new", "key", "near"), MISTAKES, ids=[mistake[2] for mistake in MISTAKES])
def test_a_mistyped_key(old: str, new: str, key: str, near: str, config: Path, tmp_path: Path, toolkit: Any) -> None:
    path, _ = broken(config, tmp_path, old, new)
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if f"{key}:" in text)
    result = toolkit("train", path, "--run", tmp_path / "run")
    assert result.code == 2
    assert f"{path}:{line}:" in result.err
    assert f"'{key}'" in result.err
    assert f"'{near}'" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("old", "new", "words", "near"), NAMES, ids=[name[3] for name in NAMES])
def test_a_mistyped_name(old: str, new: str, words: str, near: str, config: Path, tmp_path: Path, toolkit: Any) -> None:
    path, _ = broken(config, tmp_path, old, new)
    result = toolkit("train", path, "--run", tmp_path / "run")
    assert result.code == 2
    assert words in result.err
    assert f"did you mean '{near}'" in result.err
    assert str(path) in result.err


def test_a_mistyped_override(config: Path, tmp_path: Path, toolkit: Any) -> None:
    for verb, more in (("train", ["--run", tmp_path / "run"]), ("check", [])):
        result = toolkit(verb, config, "train.optimzer.lr=3", "data.batchsize=1", *more)
        assert result.code == 2
        assert "'optimzer'" in result.err
        assert "did you mean 'batch_size'" in result.err


def test_check_tells_of_config_data_and_parts_at_once(config: Path, tmp_path: Path, toolkit: Any) -> None:
    path, _ = broken(config, tmp_path, "  steps: 6", "  stpes: 6")
    overrides = [
        "model.neck={name: fpn, strides: [32]}",
        "data.train.dataset.masks=msks/train",
        "data.val.dataset.root=/no/where",
    ]
    first = toolkit("check", path, *overrides)
    assert first.code == 2
    assert "'stpes'" in first.err  # at once, and only the config's mistakes
    assert "stride 32" not in first.err
    result = toolkit("check", path, *overrides, "--full")
    assert result.code == 2
    for words in ("'stpes'", "needs a map of stride 32", "no folder", "msks", "/no/where"):
        assert words in result.err, words
    found = toolkit("check", path, *overrides, "--json", "--full")
    assert found.code == 2
    assert {error["kind"] for error in found.json["errors"]} == {"config", "parts", "data"}
    assert len({error["message"] for error in found.json["errors"]}) == len(found.json["errors"]) == 4


def test_check_of_a_faulty_section_does_not_guess(config: Path, tmp_path: Path, toolkit: Any) -> None:
    """A model with a mistyped width would be another model: nothing is said of how its parts fit."""
    path, _ = broken(config, tmp_path, "width: 4", "widht: 4")
    result = toolkit("check", path, "model.neck={name: fpn, strides: [32]}", "--json", "--full")
    assert result.code == 2
    assert [error["kind"] for error in result.json["errors"]] == ["config"]
    assert any(fact.startswith("data") for fact in result.json["facts"])


def test_values_of_a_wrong_kind(config: Path, tmp_path: Path, toolkit: Any) -> None:
    result = toolkit("check", config, "train.steps=abc", "data.batch_size=0", "model.backbone.padding=smae")
    assert result.code == 2
    assert "train.steps: wanted a whole number greater than 0, found 'abc'" in result.err
    assert "data.batch_size" in result.err
    assert "did you mean 'same'" in result.err


def test_what_only_building_finds_is_a_config_error_too(config: Path, tmp_path: Path, toolkit: Any) -> None:
    flips = "data.train.transforms=[{name: HorizontalFlip, p: 2}, {name: RandomCrop, height: -1, width: 8}]"
    for verb, more in (("train", ["--run", tmp_path / "run"]), ("check", [])):
        result = toolkit(verb, config, flips, *more)
        assert result.code == 2
        assert "data.train.transforms.0.p: 'p' of transform 'HorizontalFlip': wanted at most 1" in result.err
        assert "data.train.transforms.1.height" in result.err
        assert "Schema" not in result.err

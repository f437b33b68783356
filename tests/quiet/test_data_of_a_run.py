"""A training says when its splits share pictures, and when its data are others than those it began with."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_laws import stop_after
from tiny_run import TINY

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.errors import ConfigError, DataError
from toolkit.jobs.train import run_training
from toolkit.preflight.data.copies import check_shared_images
from toolkit.preflight.findings import Report

SIZE = (24, 32)


def split_of(root: Path, seeds: dict[str, int], suffix: str = ".png") -> ImageMasks:
    for name, seed in seeds.items():
        numbers = np.random.default_rng(seed)
        for kind, pixels in (
            ("images", numbers.integers(0, 255, (*SIZE, 3), np.uint8)), ("masks", numbers.integers(0, 2, SIZE, np.uint8)),
        ):  # fmt: skip
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / kind / (name + (suffix if kind == "images" else ".png")))
    return ImageMasks(["no", "yes"], str(root))


def found(train: ImageMasks, val: ImageMasks, *, allowed: bool = False, name: str = "val") -> list[tuple[str, int]]:
    report = Report()
    check_shared_images(report, {"train": train, name: val}, allowed=allowed)
    return [(finding.severity, finding.number) for finding in report.findings]


@pytest.mark.parametrize("how", ["a renamed copy", "saved anew in another format", "a link"])
def test_a_picture_in_both_splits_is_refused(how: str, tmp_path: Path) -> None:
    train, val = split_of(tmp_path / "t", {"a": 1, "b": 2}), split_of(tmp_path / "v", {"c": 3, "d": 4})
    assert found(train, val) == []
    if how == "a renamed copy":
        shutil.copy(tmp_path / "t/images/a.png", tmp_path / "v/images/c.png")
    elif how == "a link":
        (tmp_path / "v/images/c.png").unlink()
        (tmp_path / "v/images/c.png").symlink_to(tmp_path / "t/images/a.png")
    else:
        split_of(tmp_path / "v", {"a": 1}, ".bmp")
    val = ImageMasks(["no", "yes"], str(tmp_path / "v"))
    assert found(train, val) == [("error", 1)]
    assert found(train, val, allowed=True) == [("warning", 1)]
    assert found(train, val, name="test") == [("warning", 1)]


def test_equal_names_and_sizes_are_not_equal_pictures(tmp_path: Path) -> None:
    train, val = split_of(tmp_path / "t", {"a": 1, "b": 2}), split_of(tmp_path / "v", {"a": 3, "b": 4})
    assert found(train, val) == []


def test_the_same_files_on_purpose_are_said(tmp_path: Path) -> None:
    train = split_of(tmp_path / "t", {"a": 1, "b": 2})
    assert found(train, train) == [("warning", 2)]


def own_config(root: Path, *overrides: str) -> Config:
    """A tiny training on images and masks below `root`, in folders a split."""
    text = re.sub(
        r"dataset: \{name: shapes, split: (\w+)[^}]*(\[.*\])?\}", r"dataset: {name: image_masks, root: ROOT/\1}", TINY
    )
    text = text.replace("classes: shapes", "classes: [no, yes]").replace("ROOT", str(root))
    return parse_config(text, "own.yaml", overrides)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, seeds in (("train", range(6)), ("val", range(6, 9))):
        split_of(tmp_path / "d" / split, {f"p{seed}": seed for seed in seeds})
    return tmp_path / "d"


def test_training_with_a_shared_picture_stops_unless_allowed(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "train/images/p0.png", root / "val/images/p6.png")
    with pytest.raises(DataError, match=r"'val' has 1 of its 3 images from 'train'.*data\.shared_images: allow"):
        run_training(own_config(root), tmp_path / "run", quiet=True)
    run_training(own_config(root, "data.shared_images=allow", "train.steps=1"), tmp_path / "run", quiet=True)
    assert "'val' has 1 of its 3 images" in (tmp_path / "run/train.log").read_text()


def test_a_resume_with_fewer_images_is_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(own_config(root), tmp_path / "run", 2, monkeypatch)
    assert json.loads((tmp_path / "run/environment.json").read_text())["images"] == {"train": 6, "val": 3}
    for kind in ("images", "masks"):
        (root / f"train/{kind}/p0.png").unlink()
    with pytest.raises(ConfigError, match=r"data\.train had 6 images when the run began, now there are 5"):
        run_training(own_config(root), tmp_path / "run", resume=True, quiet=True)

"""Masks that are wrong: the file, how much of it, and what to do, whichever verb meets it first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistake_data import masks, masks_config
from PIL import Image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return masks(tmp_path / "d")


def mask(data: Path, split: str = "train") -> Path:
    return data / "masks" / split / "02.png"


def value_30(path: Path) -> None:
    labels = np.asarray(Image.open(path)).copy()
    labels[3:9, 10:20] = 30
    Image.fromarray(labels).save(path)


def binary(path: Path) -> None:
    labels = np.asarray(Image.open(path))
    Image.fromarray(((labels > 0) * 255).astype(np.uint8)).save(path)


def in_colours(path: Path) -> None:
    labels = np.asarray(Image.open(path))
    palette = np.array([[128, 128, 128], [0, 128, 0], [128, 64, 128]], np.uint8)
    Image.fromarray(palette[labels]).save(path)


def smaller(path: Path) -> None:
    Image.open(path).resize((20, 16), Image.Resampling.NEAREST).save(path)


def turned(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)


FAULTS: list[tuple[Callable[[Path], None], list[str]]] = [
    (value_30, ["30", "60 pixel"]),
    (in_colours, ["colour"]),
    (smaller, ["16x20", "32x40"]),
    (turned, ["40x32", "32x40"]),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_training_stops_and_names_it(fault: Any, words: list[str], data: Path, tmp_path: Path, toolkit: Any) -> None:
    fault(mask(data))
    result = toolkit("train", masks_config(tmp_path / "c.yaml", data), "--run", tmp_path / "run")
    assert result.code == 1
    assert str(mask(data)) in result.err
    for word in words:
        assert word in result.err, word
    assert not (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_full_check_names_it_and_nothing_else(
    fault: Any, words: list[str], data: Path, tmp_path: Path, toolkit: Any
) -> None:
    fault(mask(data))
    result = toolkit("check", masks_config(tmp_path / "c.yaml", data), "--full", "--json")
    assert result.code == 1
    told = [
        f"{error['where']} {error['message']} {error['suggestion']} {error['files']}" for error in result.json["errors"]
    ]
    assert any(str(mask(data)) in one and all(word in one for word in words) for one in told), told
    assert all(mask(data).stem in one for one in told)
    assert all(error["suggestion"] for error in result.json["errors"])


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_an_evaluation_stops_and_names_it(fault: Any, words: list[str], tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "d", {"train": 2, "val": 3})
    config = masks_config(tmp_path / "c.yaml", data, steps=1)
    assert toolkit("train", config, "--run", tmp_path / "run").code == 0
    fault(mask(data, "val"))
    result = toolkit("evaluate", tmp_path / "run", "--json")
    assert result.code == 1
    (error,) = result.json["errors"]
    told = f"{error['where']} {error['message']} {error['suggestion']}"
    assert str(mask(data, "val")) in told
    assert all(word in told for word in words), told


def test_all_masks_0_and_255(data: Path, tmp_path: Path, toolkit: Any) -> None:
    """Read as they are: 255 does not count, and only one class is left. The check has to ask whether that is meant."""
    for split in ("train", "val"):
        for path in (data / "masks" / split).iterdir():
            binary(path)
    config = masks_config(tmp_path / "c.yaml", data, classes=("background", "cell"))
    result = toolkit("check", config, "--full")
    assert "255" in result.err
    assert "label_values" in result.err or "binary" in result.err


def test_more_values_than_classes_are_counted(data: Path, tmp_path: Path, toolkit: Any) -> None:
    config = masks_config(tmp_path / "c.yaml", data, classes=("sky", "tree"))
    result = toolkit("check", config, "--full", "--json")
    assert result.code == 1
    assert any("2" in error["message"] and error["number"] > 1 for error in result.json["errors"])

"""Class weights of a data set: counted once, kept outside the data, forgotten when a file changes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.classes import frequencies
from toolkit.data.classes.frequencies import ComputedWeights, cached_counts
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.files import cache_folder

CLASSES = ["a", "b", "c"]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    save(tmp_path / "data", "one", [[0, 0, 0, 1], [0, 0, 255, 1]])
    save(tmp_path / "data", "two", [[0, 2, 2, 2], [2, 2, 2, 2]])
    return tmp_path / "data"


def save(root: Path, name: str, labels: list[list[int]]) -> None:
    Image.fromarray(np.zeros((*np.shape(labels), 3), np.uint8)).save(root / f"images/{name}.png")
    Image.fromarray(np.array(labels, np.uint8)).save(root / f"masks/{name}.png")


def masks(root: Path, **arguments) -> ImageMasks:
    return ImageMasks(CLASSES, str(root), **arguments)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    calls: list[int] = []
    original = frequencies.class_counts
    monkeypatch.setattr(frequencies, "class_counts", lambda data: calls.append(len(data)) or original(data))
    return calls


def test_the_three_definitions(data):
    weights = ComputedWeights(masks(data))
    # Pixels 6, 2, 7; all pixels of the images that hold each 16, 8, 8; labelled ones 15, 7, 8; 15 labelled in all.
    shares = {
        "median_frequency": (6 / 16, 2 / 8, 7 / 8),
        "median_frequency_labelled": (6 / 15, 2 / 7, 7 / 8),
        "median_frequency_global": (6 / 15, 2 / 15, 7 / 15),
    }
    for name, share in shares.items():
        assert weights.of(name) == pytest.approx(np.median(share) / share, rel=1e-3)


def test_files_are_counted_once_and_nothing_is_written_beside_them(data, counted):
    files = sorted(path for path in data.rglob("*"))
    first = cached_counts(masks(data))
    second = cached_counts(masks(data))
    assert counted == [2]
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert sorted(path for path in data.rglob("*")) == files
    assert len(list(cache_folder().rglob("*.json"))) == 1


def test_a_changed_file_and_another_reading_are_counted_anew(data, counted):
    before = cached_counts(masks(data))
    save(data, "two", [[1, 1, 1, 1], [1, 1, 1, 1]])
    os.utime(data / "masks/two.png", ns=(1, 1))
    after = cached_counts(masks(data))
    assert before.pixels.tolist() == [6, 2, 7]
    assert after.pixels.tolist() == [5, 10, 0]
    swapped = cached_counts(masks(data, label_values={0: 1, 1: 0, 2: 2, 255: "ignore"}))
    assert swapped.pixels.tolist() == [10, 5, 0]
    assert counted == [2, 2, 2]


def test_a_damaged_cache_and_one_that_cannot_be_written_change_nothing(data, counted, monkeypatch, tmp_path):
    wanted = cached_counts(masks(data)).pixels.tolist()
    (file,) = cache_folder().rglob("*.json")
    file.write_text("[[1, 2]]")
    assert cached_counts(masks(data)).pixels.tolist() == wanted
    (tmp_path / "occupied").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "occupied"))
    assert cached_counts(masks(data)).pixels.tolist() == wanted
    assert counted == [2, 2, 2]

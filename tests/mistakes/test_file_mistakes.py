"""Files that are missing, empty, cut off or no images: named by every verb; a folder of predictions goes on without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistake_data import masks, masks_config


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no picture")


def missing(path: Path) -> None:
    path.unlink()


FAULTS: list[tuple[Callable[[Path], None], str, str]] = [
    (truncated, "images/train/03.jpg", "truncated"),
    (empty, "images/train/03.jpg", "empty"),
    (text, "images/train/03.jpg", "image"),
    (truncated, "masks/train/03.png", "truncated"),
    (empty, "masks/train/03.png", "empty"),
    (missing, "masks/train/03.png", "no mask"),
    (missing, "images/train/03.jpg", "no image"),
]


@pytest.mark.parametrize(("fault", "file", "words"), FAULTS, ids=[f"{f.__name__}-{file[:5]}" for f, file, _ in FAULTS])
@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_bad_file_is_named(verb: str, fault: Any, file: str, words: str, tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "d")
    fault(data / file)
    more = ["--run", tmp_path / "run"] if verb == "train" else ["--full"]
    result = toolkit(verb, masks_config(tmp_path / "c.yaml", data), *more)
    assert result.code == 1
    assert Path(file).stem in result.err
    assert words in result.err
    if fault is not missing:
        assert str(data / file) in result.err


@pytest.mark.parametrize("others", [[], ["02.jpg", "04.jpg"]])
def test_the_first_file_is_told_once_with_its_kind_and_path(others: list[str], tmp_path: Path, toolkit: Any) -> None:
    """It is also the one that the quick part of the check tries, before every file is read."""
    data = masks(tmp_path / "d")
    bad = [data / "images" / "train" / name for name in ["00.jpg", *others]]
    for path in bad:
        truncated(path)
    look = ["--preview", tmp_path / "look"]
    found = toolkit("check", masks_config(tmp_path / "c.yaml", data), "--full", "--json", *look).json
    (error,) = found["errors"]
    assert any(fact.startswith("preview not written") for fact in found["facts"])
    assert (error["kind"], error["files"], error["number"]) == ("truncated", [str(path) for path in bad], len(bad))


@pytest.mark.parametrize("fault", [truncated, empty, text])
def test_an_evaluation_names_it(fault: Any, tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "d", {"train": 2, "val": 3})
    assert toolkit("train", masks_config(tmp_path / "c.yaml", data, steps=1), "--run", tmp_path / "run").code == 0
    fault(data / "images" / "val" / "01.jpg")
    result = toolkit("evaluate", tmp_path / "run")
    assert result.code == 1
    assert str(data / "images" / "val" / "01.jpg") in result.err


def test_predictions_go_on_and_count_what_failed(tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "d", {"train": 2, "val": 4})
    assert toolkit("train", masks_config(tmp_path / "c.yaml", data, steps=1), "--run", tmp_path / "run").code == 0
    truncated(data / "images" / "val" / "01.jpg")
    empty(data / "images" / "val" / "02.jpg")
    result = toolkit(
        "predict", tmp_path / "run", data / "images" / "val", "--out", tmp_path / "out", "--format", "mask", "--json"
    )
    assert result.code == 1
    assert sorted(Path(failure["file"]).name for failure in result.json["failed"]) == ["01.jpg", "02.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["00.png", "03.png"]


def test_a_folder_that_is_not_there_has_a_near_name(tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "pictures")
    config = masks_config(tmp_path / "c.yaml", tmp_path / "picturs")
    result = toolkit("check", config, "--json")
    assert result.code == 1
    assert str(data) in result.json["errors"][0]["suggestion"]
    assert str(tmp_path / "picturs") in result.json["errors"][0]["message"]


def test_nothing_is_written_into_the_data_folder(tmp_path: Path, toolkit: Any) -> None:
    data = masks(tmp_path / "d")
    before = {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}
    config = masks_config(tmp_path / "c.yaml", data)
    assert toolkit("check", config, "--full", "--preview", tmp_path / "p").code == 0
    assert toolkit("train", config, "train.steps=1", "--run", tmp_path / "run").code == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))} == before

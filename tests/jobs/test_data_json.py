"""A run notes what it saw, and a check says what has become of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistake_data import boxes, boxes_config, masks, masks_config
from PIL import Image

from toolkit.data import file_hashes
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.inventory import changes, inventory, read_inventory
from toolkit.errors import DataError
from toolkit.jobs import data_of_a_run
from toolkit.jobs.data_of_a_run import data_noted


def trained(tmp_path: Path, toolkit: Any, monkeypatch: Any, kind: str = "masks") -> tuple[Path, Path]:
    """A run of a step, and its config."""
    monkeypatch.chdir(tmp_path)
    maker, writer = (masks, masks_config) if kind == "masks" else (boxes, boxes_config)
    config = writer(tmp_path / "own.yaml", maker(tmp_path / "data"))
    assert toolkit("train", config, "train.steps=1", "--run", tmp_path / "run").code == 0
    return tmp_path / "run", config


def test_a_run_holds_names_sizes_hashes_and_classes(tmp_path: Path, toolkit: Any, monkeypatch: Any) -> None:
    run, _ = trained(tmp_path, toolkit, monkeypatch)
    table = json.loads((run / "data.json").read_text())
    assert table["complete"]
    assert [table["splits"][split]["count"] for split in ("train", "val")] == [6, 3]
    split = table["splits"]["train"]
    assert split["classes"] == ["sky", "tree", "road"]
    assert split["samples"][0] == ["images/train/00.jpg", "masks/train/00.png", ""]
    for name, (size, _, known) in split["files"].items():
        content = (tmp_path / "data" / name).read_bytes()
        assert (size, known) == (len(content), hashlib.blake2b(content, digest_size=16).hexdigest())


def test_unchanged_data_is_said_to_be_so(tmp_path: Path, toolkit: Any, monkeypatch: Any) -> None:
    run, config = trained(tmp_path, toolkit, monkeypatch)
    for path in (tmp_path / "data").rglob("*.png"):  # another time, the same content
        os.utime(path, (1, 1))
    result = toolkit("check", config, "--against", run, "--json").json
    assert not result["statistics"]["against"]["changed"]
    assert any("the same images, annotations and classes" in fact for fact in result["facts"])


def test_what_changed_is_named(tmp_path: Path, toolkit: Any, monkeypatch: Any) -> None:
    run, config = trained(tmp_path, toolkit, monkeypatch)
    data = tmp_path / "data"
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (data / kind / "train/00.unused").unlink(missing_ok=True)
        (data / kind / f"train/00.{suffix}").unlink()
        (data / kind / f"train/new.{suffix}").write_bytes((data / kind / f"train/01.{suffix}").read_bytes())
    labels = np.asarray(Image.open(data / "masks/train/02.png")).copy()
    labels[:4] = 0
    Image.fromarray(labels).save(data / "masks/train/02.png")
    picture = np.asarray(Image.open(data / "images/train/03.jpg")).copy()
    Image.fromarray(picture[:, ::-1].copy()).save(data / "images/train/03.jpg")
    found = toolkit("check", config, "--against", run, "--json").json["statistics"]["against"]
    assert found["added"]["train"] == ["images/train/new.jpg"]
    assert found["removed"]["train"] == ["images/train/00.jpg"]
    assert found["annotations"]["train"] == ["images/train/02.jpg"]
    assert found["images"]["train"] == ["images/train/03.jpg"]
    told = toolkit("check", config, "--against", run).told
    assert "train: 1 images whose annotation changed: images/train/02.jpg" in told


def test_boxes_in_one_file_are_compared_image_by_image(tmp_path: Path, toolkit: Any, monkeypatch: Any) -> None:
    run, config = trained(tmp_path, toolkit, monkeypatch, "boxes")
    path = next((tmp_path / "data").rglob("*train*.json"))
    content = json.loads(path.read_text())
    row = content["annotations"][0]
    row["bbox"][2] -= 1
    path.write_text(json.dumps(content, indent=1))
    name = next(image["file_name"] for image in content["images"] if image["id"] == row["image_id"])
    found = toolkit("check", config, "--against", run, "--json").json["statistics"]["against"]
    assert [Path(one).name for one in found["annotations"]["train"]] == [Path(name).name]
    assert found["images"]["train"] == []


def test_class_tables_and_moves(tmp_path: Path) -> None:
    root = masks(tmp_path / "data")
    names = ["sky", "tree", "road"]
    both = {split: ImageMasks(names, str(root), f"images/{split}", f"masks/{split}") for split in ("train", "val")}
    then = inventory(both)
    file_hashes.fill(then)
    other = [
        ImageMasks(["sky", "road", "tree"], str(root), f"images/{split}", f"masks/{split}")
        for split in ("train", "val")
    ]
    found = changes(then, dict(zip(("train", "val"), other, strict=True)))
    assert found.classes == ["the same 3 classes in another order: sky, tree, road were, sky, road, tree are"]
    swapped = {"train": both["val"], "val": both["train"]}
    assert changes(then, swapped).moved["images/val/00.jpg"] == "val -> train"


def test_a_change_that_keeps_size_and_time_is_found_by_hash(tmp_path: Path) -> None:
    dataset = {
        "train": ImageMasks(["sky", "tree", "road"], str(masks(tmp_path / "data")), "images/train", "masks/train")
    }
    then = inventory(dataset)
    file_hashes.fill(then)
    path = tmp_path / "data/images/train/01.jpg"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not changes(then, dataset).any()
    assert changes(then, dataset, thorough=True).images["train"] == ["images/train/01.jpg"]


def test_more_data_is_hashed_beside_the_training(tmp_path: Path, monkeypatch: Any) -> None:
    """The process of its own finds what is found at once."""
    dataset = {
        "train": ImageMasks(["sky", "tree", "road"], str(masks(tmp_path / "data")), "images/train", "masks/train")
    }
    monkeypatch.setattr(data_of_a_run, "_AT_ONCE", 0)
    monkeypatch.setattr(data_of_a_run, "_LONGEST_WAIT", 120.0)
    (tmp_path / "run").mkdir()
    with data_noted(tmp_path / "run/data.json", dataset):
        assert read_inventory(tmp_path / "run")["splits"]["train"]["count"] == 6
    wanted = inventory(dataset)
    file_hashes.fill(wanted)
    assert read_inventory(tmp_path / "run") == wanted


def test_the_process_ends_with_the_one_that_began_it_and_keeps_what_it_found(tmp_path: Path) -> None:
    files: dict[str, list[Any]] = {}
    table: dict[str, Any] = {
        "complete": False,
        "splits": {"train": {"root": str(tmp_path), "samples": [], "files": files}},
    }
    for number in range(3):
        (tmp_path / f"{number}.bin").write_bytes(bytes(number))
        files[f"{number}.bin"] = [number, 0, None]
    answers = iter([False, False, True])
    file_hashes.fill(table, lambda: next(answers))
    found = [row[2] is not None for row in files.values()]
    assert found == [True, True, False]
    assert not table["complete"]
    path = tmp_path / "data.json"
    file_hashes.write(path, table)
    subprocess.run([sys.executable, "-I", file_hashes.__file__, str(path)], stdin=subprocess.DEVNULL, check=True)
    assert json.loads(path.read_text())["splits"]["train"]["root"] == str(tmp_path)


def test_a_run_without_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an older version"):
        read_inventory(tmp_path)
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_inventory(tmp_path)

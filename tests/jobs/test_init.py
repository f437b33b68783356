"""From a folder to a config that passes the check and trains; and one clear message for a folder that cannot be read."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import folders_of_others as others
import numpy as np
import pytest
from command_line import Outcome
from folders_of_others import MADE, made
from PIL import Image

from toolkit.config.load import load_config
from toolkit.jobs import measured_start
from toolkit.jobs.build_data import build_dataset

READ = list(MADE)
TRAINED = ("masks-flat", "voc-small", "class-folders")


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.fixture
def unmeasured(monkeypatch: Any) -> None:
    """No step is made for its time: those are that are trained below."""
    monkeypatch.setattr(measured_start, "_step_seconds", lambda *_: (0.1, "CPU"))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("name", READ)
def test_a_config_is_written_that_reads_the_folder(tmp_path: Path, toolkit: Any, name: str) -> None:
    _, layout, task, classes = MADE[name]
    folder, out = made(tmp_path / "data", name), tmp_path / "mine.yaml"
    before = listing(folder)
    result = toolkit("init", folder, "--out", out, "--minutes", "0.2", "--json")
    assert result.code == 0, result.err
    assert (result.json["layout"], result.json["task"]) == (layout, task)
    assert {"layout", "confidence", "config", "classes", "splits"} <= result.json.keys()
    if classes is not None:
        assert tuple(result.json["classes"]) == classes
    assert min(result.json["splits"].values()) > 0
    assert {"train", "val"} <= result.json["splits"].keys()
    assert listing(folder) == before
    config = load_config(out)
    dataset = build_dataset(config, "train")
    labelled = [dataset[index] for index in range(len(dataset))]
    found = {int(label) for sample in labelled for label in np.unique(labels_of(sample)) if label != 255}
    assert found <= set(range(len(result.json["classes"])))
    assert len(found) >= 2


def labels_of(sample: Any) -> Any:
    if sample.label_map is not None:
        return sample.label_map
    return sample.boxes.labels if sample.boxes is not None else sample.image_label


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name != "voc-small" else name for name in TRAINED]
)
def test_the_config_passes_the_check_and_trains(tmp_path: Path, toolkit: Any, name: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = made(tmp_path / "data", name)
    assert toolkit("init", folder, "--out", "mine.yaml", "--minutes", "0.1").code == 0
    checked = toolkit("check", "mine.yaml", "--json")
    assert checked.code == 0, checked.told
    assert checked.json["errors"] == []
    trained = toolkit("train", "mine.yaml", "train.steps=2", "data.workers=0", "--json")
    assert trained.code == 0, trained.told
    assert trained.json["step"] == 2


def refused(toolkit: Any, folder: Path, *arguments: str, code: int | None = None) -> Outcome:
    """One message, no config, nothing written into the data."""
    before = listing(folder) if folder.is_dir() else {}
    out = folder.parent / "never.yaml"
    result: Outcome = toolkit("init", folder, "--out", out, *arguments)
    assert result.code in ((1, 2) if code is None else (code,)), result.told
    assert not out.exists()
    assert (listing(folder) if folder.is_dir() else {}) == before
    return result


def test_there_is_no_such_folder(tmp_path: Path, toolkit: Any) -> None:
    (tmp_path / "pictures").mkdir()
    told = refused(toolkit, tmp_path / "picturse", code=2).err
    assert "no folder" in told
    assert f"near: {tmp_path / 'pictures'}" in told


def test_a_file_and_an_archive_are_no_folders(tmp_path: Path, toolkit: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert "is a file" in refused(toolkit, tmp_path / "a.jpg", code=2).err
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.jpg", "x")
    assert "unpack it" in refused(toolkit, tmp_path / "a.zip", code=2).err
    inner = tmp_path / "download"
    inner.mkdir()
    (tmp_path / "a.zip").rename(inner / "a.zip")
    assert "unpack it" in refused(toolkit, inner).err


def test_an_empty_folder(tmp_path: Path, toolkit: Any) -> None:
    folder = tmp_path / "empty"
    (folder / "inner").mkdir(parents=True)
    (folder / ".DS_Store").write_bytes(b"x")
    assert "holds no files" in refused(toolkit, folder).err


def test_pictures_without_annotations_and_the_reverse(tmp_path: Path, toolkit: Any) -> None:
    source = random.Random(1)
    for name in others.words(source, 3):
        others.save(tmp_path / "pictures" / f"{name}.jpg", others.scene(source)[0])
        others.text(tmp_path / "xml" / f"{name}.xml", others._voc_xml(name, []))
    assert "3 pictures, and no annotation" in refused(toolkit, tmp_path / "pictures").err
    assert "annotations (3 .xml) and no pictures" in refused(toolkit, tmp_path / "xml").err


@pytest.mark.usefixtures("unmeasured")
def test_two_layouts_at_once_are_both_named(tmp_path: Path, toolkit: Any) -> None:
    folder = tmp_path / "both"
    source = random.Random(2)
    others.voc_boxes(folder, source)
    others.coco(outlines=False)(folder, source)
    told = refused(toolkit, folder, code=2).err
    assert "--layout coco-boxes" in told
    assert "--layout voc-boxes" in told
    out = tmp_path / "voc.yaml"
    assert toolkit("init", folder, "--layout", "voc-boxes", "--out", out, "--minutes", "0.1").code == 0
    assert "name: voc" in out.read_text()


def test_a_layout_that_is_not_there(tmp_path: Path, toolkit: Any) -> None:
    folder = made(tmp_path / "data", "masks-flat")
    assert "found: masks-flat" in refused(toolkit, folder, "--layout", "cityscapes", code=2).err
    assert "found: segmentation (masks-flat)" in refused(toolkit, folder, "--task", "detection", code=2).err


@pytest.mark.usefixtures("unmeasured")
def test_the_same_boxes_in_two_forms_are_one_layout(tmp_path: Path, toolkit: Any) -> None:
    """Found to be the same, box by box of each class and picture; which is read is said."""
    folder, source = tmp_path / "twice", random.Random(3)
    rows: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "gear"}, {"id": 2, "name": "bolt"}],
    }
    for number, name in enumerate(others.words(source, 6)):
        image, _, boxes = others.scene(source)
        others.save(folder / "images" / f"{name}.jpg", image)
        others.text(folder / "annotations" / f"{name}.xml", others._voc_xml(name, boxes))
        size = {"width": others.WIDTH, "height": others.HEIGHT}
        rows["images"].append({"id": number, "file_name": f"{name}.jpg", **size})
        for label, left, top, right, bottom in boxes:
            box = [left, top, right - left, bottom - top]
            rows["annotations"].append(
                {"id": len(rows["annotations"]), "image_id": number, "category_id": label, "bbox": box, "iscrowd": 0}
            )
    others.text(folder / "all.json", json.dumps(rows))
    result = toolkit("init", folder, "--out", tmp_path / "mine.yaml", "--minutes", "0.1")
    assert result.code == 0, result.err
    assert "the same boxes are here as voc-boxes too" in result.err


def test_two_pictures_of_one_name(tmp_path: Path, toolkit: Any) -> None:
    folder = tmp_path / "twins"
    others.masks_flat(folder, random.Random(4))
    first = next(path for path in (folder / "images").iterdir())
    others.save(first.with_suffix(".png"), np.zeros((others.HEIGHT, others.WIDTH, 3), np.uint8))
    assert f"two files are called '{first.stem}'" in refused(toolkit, folder, code=1).err


def test_class_names_that_differ_by_case_or_blanks(tmp_path: Path, toolkit: Any) -> None:
    folder = tmp_path / "names"
    others.voc_boxes(folder, random.Random(5))
    path = next(iter(sorted((folder / "Annotations").iterdir())))
    path.write_text(path.read_text().replace("<name>gear</name>", "<name>Gear</name>"))
    told = refused(toolkit, folder, code=1).err
    assert "'Gear' and 'gear'" in told
    assert "one spelling" in told


@pytest.mark.usefixtures("unmeasured")
def test_masks_that_lack_some_pictures(tmp_path: Path, toolkit: Any) -> None:
    folder, source = tmp_path / "lone", random.Random(6)
    others.masks_flat(folder, source)
    others.save(folder / "images" / "lone.jpg", others.scene(source)[0])
    assert "image(s) have no mask: lone" in refused(toolkit, folder, code=1).err
    out = tmp_path / "skip.yaml"
    assert toolkit("init", folder, "--skip-bad", "--out", out, "--minutes", "0.1").code == 0
    assert "on_bad: skip" in out.read_text()


def test_a_config_is_never_written_over_nor_into_the_data(tmp_path: Path, toolkit: Any) -> None:
    folder, out = made(tmp_path / "data", "masks-flat"), tmp_path / "mine.yaml"
    out.write_text("mine")
    assert "exists already" in toolkit("init", folder, "--out", out).err
    assert out.read_text() == "mine"
    assert "nothing is written" in toolkit("init", folder, "--out", folder / "mine.yaml").err


@pytest.mark.usefixtures("unmeasured")
def test_one_class_named_alone_means_background_and_that_class(tmp_path: Path, toolkit: Any) -> None:
    folder, source = tmp_path / "one", random.Random(7)
    for name in others.words(source, 6):
        image, labels, _ = others.scene(source, classes=1)
        others.save(folder / "images" / f"{name}.png", image)
        others.save(folder / "masks" / f"{name}.png", labels)
    others.text(folder / "classes.txt", "crack\n")
    result = toolkit("init", folder, "--out", tmp_path / "one.yaml", "--minutes", "0.1", "--json")
    assert result.json["classes"] == ["background", "crack"]


def boxed_pictures(folder: Path, side: int) -> Path:
    """Twelve pictures of 480x640 with two boxes each, as YOLO writes them."""
    for split, count in (("train", 8), ("val", 4)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (640, 480), (90, 10 * number, 40)).save(folder / "images" / split / f"{number}.png")
            rows = [f"{label} {0.3 + 0.3 * label} 0.5 {side / 640} {side / 480}" for label in (0, 1)]
            (folder / "labels" / split / f"{number}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return folder


@pytest.mark.parametrize(("minutes", "side", "wanted"), [(0.5, 200, 160), (0.5, 24, 256), (60.0, 200, 256)])
def test_little_time_is_spent_on_smaller_pictures_if_boxes_stay_visible(
    tmp_path: Path, toolkit: Any, monkeypatch: Any, minutes: float, side: int, wanted: int
) -> None:
    monkeypatch.setattr(measured_start, "_step_seconds", lambda config, *_: (1.0, "CPU"))
    result = toolkit(
        "init", boxed_pictures(tmp_path / "data", side), "--out", tmp_path / "a.yaml", "--minutes", minutes
    )
    assert result.code == 0, result.told
    (resize,) = load_config(tmp_path / "a.yaml").data.val.transforms
    assert min(resize.arguments.values()) == pytest.approx(wanted, abs=32)

"""Box data through the command line: what is wrong in the files ends in exit code 1 and a sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_detection import TINY_DETECTION

XML = """<annotation><filename>{name}.png</filename><size><width>40</width><height>32</height><depth>3</depth></size>
{objects}</annotation>"""
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def coco(**changes: Any) -> dict[str, Any]:
    """Two images with a box each; `changes` go into the second annotation (id 8, of b.png)."""
    images = [{"id": n, "file_name": f"{name}.png", "width": 40, "height": 32} for n, name in ((1, "a"), (2, "b"))]
    first = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 16], "area": 320, "iscrowd": 0}
    second = {**first, "id": 8, "image_id": 2, **changes}
    return {
        "images": images,
        "annotations": [first, second],
        "categories": [{"id": 1, "name": "cell"}, {"id": 3, "name": "dish"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images in the three formats, and a config for each of them."""
    data = tmp_path / "data"
    for name in ("Annotations", "JPEGImages", "images", "labels"):
        (data / name).mkdir(parents=True)
    for name in ("a", "b"):
        picture = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)
        for place in (data, data / "JPEGImages", data / "images"):
            cv2.imwrite(str(place / f"{name}.png"), picture)
        (data / "Annotations" / f"{name}.xml").write_text(
            XML.format(name=name, objects=OBJECT.format("cell", 5, 5, 24, 20))
        )
        (data / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (data / "all.json").write_text(json.dumps(coco()))
    (data / "data.yaml").write_text("train: images\nval: images\nnames: [cell, dish]\n")
    datasets = {
        "coco": "{name: coco, annotations: all.json}",
        "voc": "{name: voc, split: ''}",
        "yolo": "{name: yolo, split: train}",
    }
    head, rest = TINY_DETECTION.split("data:\n")
    _, tail = rest.split("train:\n  steps")
    for name, dataset in datasets.items():
        section = f"data:\n  root: {data}\n  classes: [cell, dish]\n  batch_size: 2\n  workers: 0\n"
        section += f"  train: {{dataset: {dataset}}}\n  val: {{dataset: {dataset}}}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{head}{section}train:\n  steps{tail}")
    return tmp_path


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_sound_boxes_pass(kind: str, folder: Path, toolkit: Any) -> None:
    result = toolkit("check", folder / f"{kind}.yaml", "--full")
    assert result.code == 0, result.err
    assert "2 images with 2 boxes" in result.out
    assert "2 samples, 0 bad" in result.out


def write_coco(folder: Path, **changes: Any) -> None:
    (folder / "data" / "all.json").write_text(json.dumps(coco(**changes)))


def write_xml(folder: Path, objects: str) -> None:
    (folder / "data" / "Annotations" / "b.xml").write_text(XML.format(name="b", objects=objects))


def write_yolo(folder: Path, text: str) -> None:
    (folder / "data" / "labels" / "b.txt").write_text(text)


BAD = {
    "coco box without area": ("coco", lambda f: write_coco(f, bbox=[4, 4, 0, 16]), ["all.json", "annotation 8", "b.png"]),
    "coco box outside": ("coco", lambda f: write_coco(f, bbox=[30, 4, 20, 16]), ["annotation 8", "40x32", "fix_boxes"]),
    "coco unknown category": ("coco", lambda f: write_coco(f, category_id=2), ["all.json", "annotation 8", "2"]),
    "coco unknown image": ("coco", lambda f: write_coco(f, image_id=9), ["all.json", "annotation 8", "9"]),
    "coco box of three numbers": ("coco", lambda f: write_coco(f, bbox=[1, 2, 3]), ["all.json", "annotation 8"]),
    "coco not JSON": ("coco", lambda f: (f / "data" / "all.json").write_text('{"images": ['), ["all.json"]),
    "coco image missing": ("coco", lambda f: (f / "data" / "b.png").unlink(), ["b.png"]),
    "voc turned corners": (
        "voc", lambda f: write_xml(f, OBJECT.format("cell", 24, 5, 5, 20)), ["b.xml", "object 1 (cell)"],
    ),
    "voc box outside": (
        "voc", lambda f: write_xml(f, OBJECT.format("dish", 1, 1, 80, 20)), ["b.xml", "object 1 (dish)", "fix_boxes"],
    ),
    "voc unknown class": (
        "voc", lambda f: write_xml(f, OBJECT.format("cel", 5, 5, 24, 20)), ["cel", "cell"],
    ),
    "voc no number": ("voc", lambda f: write_xml(f, OBJECT.format("cell", "x", 5, 24, 20)), ["b.xml", "xmin"]),
    "voc not XML": ("voc", lambda f: (f / "data" / "Annotations" / "b.xml").write_text("<annotation"), ["b.xml"]),
    "yolo label too large": ("yolo", lambda f: write_yolo(f, "5 0.5 0.5 0.4 0.4\n"), ["b.txt", "5"]),
    "yolo pixels": ("yolo", lambda f: write_yolo(f, "0 0.5 0.5 0.4 0.4\n0 20 16 10 10\n"), ["b.txt", "2"]),
    "yolo too few numbers": ("yolo", lambda f: write_yolo(f, "0 0.5 0.5 0.4\n"), ["b.txt", "1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_boxes_are_named_and_stop(case: str, folder: Path, toolkit: Any) -> None:
    kind, spoil, words = BAD[case]
    spoil(folder)
    result = toolkit("check", folder / f"{kind}.yaml")
    assert result.code == 1, result.err
    for word in words:
        assert word in result.err, result.err


def test_an_image_of_another_size_is_found_by_a_full_check(folder: Path, toolkit: Any) -> None:
    cv2.imwrite(str(folder / "data" / "b.png"), np.zeros((40, 32, 3), np.uint8))
    result = toolkit("check", folder / "coco.yaml", "--full")
    assert result.code == 1
    assert "b.png" in result.err
    assert "32x40" in result.err
    assert "40x32" in result.err


def test_every_bad_box_is_told_at_once_and_training_does_not_begin(folder: Path, toolkit: Any) -> None:
    both = OBJECT.format("cell", 5, 5, 24, 90) + OBJECT.format("cell", 9, 9, 8, 20)
    write_xml(folder, both)
    result = toolkit("train", folder / "voc.yaml", "--run", folder / "run")
    assert result.code == 1
    assert "object 1 (cell)" in result.err
    assert "object 2 (cell)" in result.err
    assert not (folder / "run").exists()


@pytest.mark.parametrize(("fix", "kept"), [("clip", 2), ("drop", 1)])
def test_mended_boxes_are_counted(fix: str, kept: int, folder: Path, toolkit: Any) -> None:
    write_coco(folder, bbox=[30, 4, 20, 16])
    changes = [f"data.{split}.dataset.fix_boxes={fix}" for split in ("train", "val")]
    result = toolkit("check", folder / "coco.yaml", *changes)
    assert result.code == 0, result.err
    assert f"2 images with {kept} boxes" in result.out
    assert f"{2 - 1 if fix == 'clip' else 0} clipped, {1 if fix == 'drop' else 0} dropped" in result.out


def test_train_evaluate_and_predict_boxes(folder: Path, toolkit: Any) -> None:
    """The whole way, with every format of detections at the end."""
    data, run_folder, out = folder / "data", folder / "run", folder / "out"
    trained = toolkit("train", folder / "coco.yaml", "--run", run_folder, "--json", "train.steps=4")
    assert trained.code == 0, trained.err
    measured = toolkit("evaluate", run_folder / "last.safetensors", "--json")
    assert json.loads(measured.out)["metrics"] == json.loads(trained.out)["metrics"]
    result = toolkit("predict", run_folder, data / "images", "--out", out, "--format", "coco,yolo,csv,overlay")
    assert result.code == 0, result.err
    written = sorted(path.name for path in out.rglob("*") if path.is_file())
    labels = ["data.yaml", "a.txt", "b.txt"]
    for_all = ["detections.json", "detections.csv", "index.html", "journal.jsonl"]
    assert written == sorted([*for_all, *labels, "a_overlay.jpg", "b_overlay.jpg"])
    entries = json.loads((out / "detections.json").read_text())
    assert entries
    for entry in entries:
        assert (entry["category"], entry["category_id"]) in {("cell", 1), ("dish", 3)}

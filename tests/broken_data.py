"""Small sound data sets in every layout, to be broken by tests one fault at a time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from toolkit.contracts import Dataset
from toolkit.data.datasets.camvid import CamVid
from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.datasets.voc import VocDataset
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.data.faults.leaving_out import leaving_out
from toolkit.preflight.data.scan import ScanSplit, scan
from toolkit.preflight.findings import Finding, Report

SIZE = (96, 128)
CLASSES = ["ground", "thing", "other"]


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8 RGB: smooth blobs, unlike any other seed's."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    fine = random.integers(-12, 12, (*size, 3))
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth.astype(int) + fine, 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 92} if path.suffix == ".jpg" else {}), **options)
    return path


def mask(seed: int, size: tuple[int, int] = SIZE, classes: int = len(CLASSES)) -> np.ndarray:
    """(H, W) uint8: every class, and some pixels to ignore."""
    labels = np.zeros(size, np.uint8)
    rows = size[0] // 24
    for label in range(1, classes):
        top = (rows + 1) * label + seed
        labels[top : top + rows, 10:-8] = label
    labels[:2] = 255
    return labels


def make_pairs(root: Path, count: int = 6, val: int = 3) -> Path:
    """Images and masks in two folders, with a list a split."""
    names = [f"p{i:02d}" for i in range(count + val)]
    for seed, name in enumerate(names):
        save(root / "images" / f"{name}.jpg", picture(seed))
        save(root / "masks" / f"{name}.png", mask(seed))
    (root / "train.txt").write_text("\n".join(names[:count]))
    (root / "val.txt").write_text("\n".join(names[count:]))
    return root


def make_camvid(root: Path) -> Path:
    for split, seeds in (("train", range(6)), ("val", range(6, 9))):
        for seed in seeds:
            save(root / "images" / split / f"c{seed}.jpg", picture(seed))
            labels = mask(seed, classes=11)
            labels[labels == 255] = 11
            save(root / "annotations" / split / f"c{seed}.png", labels)
    return root


XML = """<annotation><filename>{name}.jpg</filename><size><width>128</width><height>96</height></size>
{objects}</annotation>"""
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
GOOD = [("ground", 5, 5, 60, 50), ("thing", 30, 20, 100, 90), ("other", 70, 10, 120, 80)]


def voc_xml(name: str, objects: list[tuple[object, ...]]) -> str:
    return XML.format(name=name, objects="".join(OBJECT.format(*one) for one in objects))


def make_voc(root: Path) -> Path:
    for split, seeds in (("train", range(6)), ("val", range(6, 9))):
        listing = root / "ImageSets" / "Main" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("\n".join(f"v{seed}" for seed in seeds))
        for seed in seeds:
            save(root / "JPEGImages" / f"v{seed}.jpg", picture(seed))
            (root / "Annotations").mkdir(exist_ok=True)
            (root / "Annotations" / f"v{seed}.xml").write_text(voc_xml(f"v{seed}", GOOD))
    return root


def coco_content(seeds: range) -> dict[str, list[dict[str, object]]]:
    images = [{"id": seed, "file_name": f"k{seed}.jpg", "width": 128, "height": 96} for seed in seeds]
    annotations = [
        {"id": 10 * seed + k, "image_id": seed, "category_id": k + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
         "area": (x2 - x1) * (y2 - y1)}
        for seed in seeds
        for k, (_, x1, y1, x2, y2) in enumerate(GOOD)
    ]  # fmt: skip
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}  # type: ignore[dict-item]


def make_coco(root: Path) -> Path:
    for split, seeds in (("train", range(6)), ("val", range(6, 9))):
        for seed in seeds:
            save(root / split / f"k{seed}.jpg", picture(seed))
        (root / f"{split}.json").write_text(json.dumps(coco_content(seeds)))
    return root


def yolo_text(objects: list[tuple[object, ...]]) -> str:
    lines = []
    for name, x1, y1, x2, y2 in objects:
        width, height = (x2 - x1) / 128, (y2 - y1) / 96  # type: ignore[operator]
        center = ((x1 + x2) / 256, (y1 + y2) / 192)  # type: ignore[operator]
        lines.append(f"{CLASSES.index(str(name))} {center[0]} {center[1]} {width} {height}")
    return "\n".join(lines)


def make_yolo(root: Path) -> Path:
    for split, seeds in (("train", range(6)), ("val", range(6, 9))):
        for seed in seeds:
            save(root / "images" / split / f"y{seed}.jpg", picture(seed))
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            (root / "labels" / split / f"y{seed}.txt").write_text(yolo_text(GOOD))
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root


def dataset_of(layout: str, root: Path, split: str, **arguments: object) -> Dataset:
    place = str(root)
    if layout == "pairs":
        return ImageMasks(CLASSES, place, split=f"{split}.txt", **arguments)  # type: ignore[arg-type]
    if layout == "camvid":
        return CamVid(place, split)  # type: ignore[arg-type]
    if layout == "voc":
        return VocDataset(place, split, CLASSES, **arguments)  # type: ignore[arg-type]
    if layout == "coco":
        return CocoDataset(place, f"{split}.json", split, CLASSES, **arguments)  # type: ignore[arg-type]
    return YoloDataset(place, split, CLASSES, **arguments)  # type: ignore[arg-type]


MAKERS = {"pairs": make_pairs, "camvid": make_camvid, "voc": make_voc, "coco": make_coco, "yolo": make_yolo}


def scanned(layout: str, root: Path, *, workers: int = 0, skipping: bool = False, **arguments: object) -> Report:
    """Both splits of a data set, scanned without a cache."""
    report = Report()
    splits = []
    for split in ("train", "val"):
        with leaving_out() as faults:
            dataset = dataset_of(layout, root, split, **arguments)
        splits.append(ScanSplit(split, dataset, faults, skipping=skipping))
    scan(report, splits, workers, shown=False)
    return report


def only(report: Report) -> Finding:
    """The one finding there is; everything else that was found is an error of the test."""
    assert len(report.findings) == 1, [(one.kind, str(one.problem)) for one in report.findings]
    return report.findings[0]

"""Folders as labelling tools and data sets write them, from the public descriptions of their formats, with odd names.

Every maker takes an empty folder and a number that fixes what is drawn and what files are called.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
NAMES = ("gear", "bolt", "washer")

Maker = Callable[[Path, random.Random], None]


def word(source: random.Random) -> str:
    """A file name without extension, with capitals, blanks, dots and signs now and then."""
    letters = "".join(source.choices(string.ascii_letters + string.digits, k=source.randint(4, 9)))
    return letters + source.choice(["", " x", "-2", "_b", ".v1", "(3)"])


def words(source: random.Random, count: int) -> list[str]:
    """Names that differ in lower case too."""
    found: dict[str, str] = {}
    while len(found) < count:
        name = word(source)
        found.setdefault(name.lower(), name)
    return list(found.values())


def scene(
    source: random.Random, classes: int = 2
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int, int, int]]]:
    """A picture, its label map (0 background, classes from 1) and the (class, left, top, right, bottom) of rectangles."""
    generator = np.random.default_rng(source.randint(0, 2**31))
    labels, boxes = np.zeros((HEIGHT, WIDTH), np.uint8), []
    for label in range(1, classes + 1):
        top, left = int(generator.integers(2, 20)), int(generator.integers(2, 30))
        bottom, right = top + int(generator.integers(8, 20)), left + int(generator.integers(8, 25))
        labels[top:bottom, left:right] = label
        boxes.append((label, left, top, right, bottom))
    base = np.array([[60, 60, 60], [200, 40, 40], [40, 200, 40], [40, 40, 200]], np.int64)
    image = base[labels] + generator.integers(0, 40, (HEIGHT, WIDTH, 3))
    return image.astype(np.uint8), labels, boxes


def save(path: Path, array: np.ndarray, palette: Sequence[int] | None = None) -> None:
    """Writes a picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(list(palette))
    image.save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def strays(folder: Path, source: random.Random) -> None:
    """What systems and people leave behind, in the folder and below it."""
    inner = [path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith((".", "__"))]
    for place in (folder, *source.sample(inner, min(2, len(inner)))):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    text(folder / "README.md", "# Data\n\nSee the licence.\n")
    text(folder / "LICENSE", "Do what you like.\n")
    text(folder / "notes of monday.docx", "no document")
    text(folder / "__MACOSX" / "._a.jpg", "junk")


def _pairs(source: random.Random, count: int, classes: int = 2) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [(name, *scene(source, classes)[:2]) for name in words(source, count)]


def masks_flat(folder: Path, source: random.Random) -> None:
    for name, image, labels in _pairs(source, 8):
        save(folder / "images" / f"{name}.jpg", image)
        save(folder / "masks" / f"{name}.png", labels)


def masks_by_split(kind: str) -> Maker:
    def make(folder: Path, source: random.Random) -> None:
        for split, count in (("train", 6), ("val", 3)):
            for name, image, labels in _pairs(source, count):
                save(folder / "images" / split / f"{name}.jpg", image)
                save(folder / kind / split / f"{name}.png", labels)

    return make


def masks_in_nested_folders(folder: Path, source: random.Random) -> None:
    for split, count in (("training", 3), ("validation", 2)):
        for town in ("north", "south"):
            for name, image, labels in _pairs(source, count):
                save(folder / "img_dir" / split / town / f"{name}.png", image)
                save(folder / "ann_dir" / split / town / f"{name}.png", labels)


def splits_of_masks(folder: Path, source: random.Random) -> None:
    for split, count in (("train", 6), ("val", 3)):
        for name, image, labels in _pairs(source, count):
            save(folder / split / "images" / f"{name}.jpg", image)
            save(folder / split / "masks" / f"{name}.png", labels * 127)  # 0, 127, 254: no ids


def mask_suffix(folder: Path, source: random.Random) -> None:
    for name, image, labels in _pairs(source, 8, classes=1):
        save(folder / f"{name}.jpg", image)
        save(folder / f"{name}_mask.png", labels * 255)


def masks_of_the_same_name(folder: Path, source: random.Random) -> None:
    for name, image, labels in _pairs(source, 8, classes=1):
        save(folder / f"{name}.jpg", image)
        save(folder / f"{name}.png", labels * 255)


def roboflow_masks(folder: Path, source: random.Random) -> None:
    for split, count in (("train", 6), ("valid", 3)):
        for name, image, labels in _pairs(source, count):
            save(folder / split / f"{name}.jpg", image)
            save(folder / split / f"{name}_mask.png", labels)
        rows = ["Pixel Value, Class", "0, background", "1, gear", "2, bolt"]
        text(folder / split / "_classes.csv", "\n".join(rows) + "\n")


def segnet_folders(folder: Path, source: random.Random) -> None:
    """`train` and `trainannot`, with lists whose paths lead elsewhere, as in SegNet's tutorial."""
    for split, count in (("train", 6), ("val", 3)):
        lines = []
        for name, image, labels in _pairs(source, count):
            save(folder / split / f"{name}.png", image)
            save(folder / f"{split}annot" / f"{name}.png", labels)
            lines.append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png")
        text(folder / f"{split}.txt", "\n".join(lines) + "\n")


def cityscapes(folder: Path, source: random.Random) -> None:
    for split, town in (("train", "ulm"), ("train", "jena"), ("val", "lindau")):
        for number in range(3):
            name = f"{town}_{number:06d}_{source.randint(0, 999999):06d}"
            image, labels, _ = scene(source)
            ids = np.array([0, 7, 26], np.uint8)[labels]
            save(folder / "leftImg8bit" / split / town / f"{name}_leftImg8bit.png", image)
            save(folder / "gtFine" / split / town / f"{name}_gtFine_labelIds.png", ids)
            save(folder / "gtFine" / split / town / f"{name}_gtFine_instanceIds.png", labels.astype(np.uint16) * 1000)
            save(folder / "gtFine" / split / town / f"{name}_gtFine_color.png", image)


def cvat_masks(folder: Path, source: random.Random) -> None:
    """CVAT's "Segmentation mask 1.1": colours in SegmentationClass, what they mean in labelmap.txt."""
    colors = np.array([[0, 0, 0], [250, 50, 83], [36, 179, 83]], np.uint8)
    names = []
    for name, image, labels in _pairs(source, 8):
        names.append(name)
        save(folder / "JPEGImages" / f"{name}.jpg", image)
        save(folder / "SegmentationClass" / f"{name}.png", colors[labels])
        save(folder / "SegmentationObject" / f"{name}.png", colors[labels])
    text(folder / "ImageSets/Segmentation/default.txt", "".join(f"{name}\n" for name in names))
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::", "gear:250,50,83::", "bolt:36,179,83::"]
    text(folder / "labelmap.txt", "\n".join(rows) + "\n")


def _voc_xml(name: str, boxes: Sequence[tuple[int, int, int, int, int]]) -> str:
    """VOC's corners are 1-based and inclusive."""
    objects = "".join(
        f"<object><name>{escape(NAMES[label - 1])}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>{escape(name)}.jpg</filename>{size}{objects}</annotation>"


def voc_boxes(folder: Path, source: random.Random) -> None:
    for split, count in (("train", 6), ("val", 3)):
        names = [f"{split}{name}" for name in words(source, count)]
        for name in names:
            image, _, boxes = scene(source)
            save(folder / "JPEGImages" / f"{name}.jpg", image)
            text(folder / "Annotations" / f"{name}.xml", _voc_xml(name, boxes))
        text(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in names))


def voc_boxes_in_small_letters(folder: Path, source: random.Random) -> None:
    for name in words(source, 8):
        image, _, boxes = scene(source)
        save(folder / "images" / f"{name}.jpg", image)
        text(folder / "annotations" / f"{name}.xml", _voc_xml(name, boxes))


def _coco(
    source: random.Random, names: Sequence[str], files: Sequence[Path], *, outlines: bool, first: int = 1
) -> dict[str, Any]:
    """An instances file of pictures that are written; ids with gaps, images out of order."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, path) in enumerate(zip(names, files, strict=True)):
        image, _, boxes = scene(source)
        save(path, image)
        images.append({"id": 10 * number + 3, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1})
        for label, left, top, right, bottom in boxes:
            ring = [left, top, right, top, right, bottom, left, bottom]
            area = (right - left) * (bottom - top)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": 10 * number + 3, "category_id": first + 4 * (label - 1),
                 "bbox": [left, top, right - left, bottom - top], "area": area, "iscrowd": 0,
                 "segmentation": [ring] if outlines else []}
            )  # fmt: skip
    source.shuffle(images)
    categories = [
        {"id": first + 4 * place, "name": name, "supercategory": "part"} for place, name in enumerate(NAMES[:2])
    ]
    info = {"description": "", "year": 2024, "version": "1.0"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def coco(*, outlines: bool) -> Maker:
    def make(folder: Path, source: random.Random) -> None:
        for split, count in (("train", 6), ("val", 3)):
            names = [f"{name}.jpg" for name in words(source, count)]
            files = [folder / f"{split}2017" / name for name in names]
            content = _coco(source, names, files, outlines=outlines)
            text(folder / "annotations" / f"instances_{split}2017.json", json.dumps(content))

    return make


def roboflow_coco(folder: Path, source: random.Random) -> None:
    """With Roboflow's category 0, which heads the others and has no object."""
    for split, count in (("train", 6), ("valid", 3), ("test", 2)):
        names = [f"{name}_jpg.rf.{source.randbytes(8).hex()}.jpg" for name in words(source, count)]
        content = _coco(source, names, [folder / split / name for name in names], outlines=False, first=1)
        content["categories"] = [{"id": 0, "name": "parts", "supercategory": "none"},
                                 *({**row, "supercategory": "parts"} for row in content["categories"])]  # fmt: skip
        text(folder / split / "_annotations.coco.json", json.dumps(content))


def label_studio_coco(folder: Path, source: random.Random) -> None:
    names = [f"images/{source.randbytes(4).hex()}-{name}.jpg" for name in words(source, 8)]
    content = _coco(source, names, [folder / name for name in names], outlines=True, first=0)
    content["info"] = {"year": 2024, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""}
    text(folder / "result.json", json.dumps(content))


def _yolo_lines(boxes: Sequence[tuple[int, int, int, int, int]], *, outlines: bool) -> str:
    lines = []
    for label, left, top, right, bottom in boxes:
        if outlines:
            ring = [left, top, right, top, right, bottom, left, bottom]
            numbers = [value / (HEIGHT if place % 2 else WIDTH) for place, value in enumerate(ring)]
        else:
            numbers = [
                (left + right) / 2 / WIDTH,
                (top + bottom) / 2 / HEIGHT,
                (right - left) / WIDTH,
                (bottom - top) / HEIGHT,
            ]
        lines.append(" ".join([str(label - 1), *(f"{number:.6f}" for number in numbers)]))
    return "\n".join(lines) + "\n"


def yolo(*, outlines: bool) -> Maker:
    def make(folder: Path, source: random.Random) -> None:
        for split, count in (("train", 6), ("val", 3)):
            for name in words(source, count):
                image, _, boxes = scene(source)
                save(folder / "images" / split / f"{name}.jpg", image)
                text(folder / "labels" / split / f"{name}.txt", _yolo_lines(boxes, outlines=outlines))
        text(folder / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: ['gear', 'bolt']\n")

    return make


def yolo_beside_the_pictures(folder: Path, source: random.Random) -> None:
    """As labelImg writes it: classes.txt and a text file beside each picture."""
    for name in words(source, 8):
        image, _, boxes = scene(source)
        save(folder / f"{name}.jpg", image)
        text(folder / f"{name}.txt", _yolo_lines(boxes, outlines=False))
    text(folder / "classes.txt", "gear\nbolt\n")


def yolo_of_cvat(folder: Path, source: random.Random) -> None:
    """CVAT's "YOLO 1.1": obj.data, obj.names, train.txt and obj_train_data."""
    lines = []
    for name in words(source, 8):
        image, _, boxes = scene(source)
        save(folder / "obj_train_data" / f"{name}.jpg", image)
        text(folder / "obj_train_data" / f"{name}.txt", _yolo_lines(boxes, outlines=False))
        lines.append(f"data/obj_train_data/{name}.jpg")
    text(folder / "train.txt", "\n".join(lines) + "\n")
    text(folder / "obj.names", "gear\nbolt\n")
    text(folder / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")


def label_studio_yolo(folder: Path, source: random.Random) -> None:
    for name in words(source, 8):
        image, _, boxes = scene(source)
        save(folder / "images" / f"{name}.jpg", image)
        text(folder / "labels" / f"{name}.txt", _yolo_lines(boxes, outlines=False))
    text(folder / "classes.txt", "gear\nbolt\n")
    notes = {
        "categories": [{"id": 0, "name": "gear"}, {"id": 1, "name": "bolt"}],
        "info": {"contributor": "Label Studio"},
    }
    text(folder / "notes.json", json.dumps(notes))


def labelme(folder: Path, source: random.Random) -> None:
    for name in words(source, 8):
        image, _, boxes = scene(source)
        save(folder / f"{name}.jpg", image)
        shapes: list[dict[str, Any]] = [
            {"label": NAMES[label - 1], "points": [[left, top], [right, top], [right, bottom], [left, bottom]],
             "group_id": None, "shape_type": "polygon", "flags": {}}
            for label, left, top, right, bottom in boxes
        ]  # fmt: skip
        content: dict[str, Any] = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None,
                   "imageHeight": HEIGHT, "imageWidth": WIDTH}  # fmt: skip
        text(folder / f"{name}.json", json.dumps(content))


def label_studio_brush(folder: Path, source: random.Random) -> None:
    """One black and white PNG a class and picture, named by task and label; pictures named by their task's number."""
    for task in source.sample(range(1, 200), 8):
        image, labels, _ = scene(source)
        save(folder / "pictures" / f"{task}.jpg", image)
        for label in (1, 2):
            name = f"task-{task}-annotation-{100 + task}-by-1-tag-{NAMES[label - 1]}-0.png"
            save(folder / name, (labels == label).astype(np.uint8) * 255)


def mask_per_class(folder: Path, source: random.Random) -> None:
    for name, image, labels in _pairs(source, 8):
        save(folder / "images" / f"{name}.jpg", image)
        for label in (1, 2):
            save(folder / "masks" / f"{name}_{NAMES[label - 1]}.png", (labels == label).astype(np.uint8) * 255)


def mask_folder_per_class(folder: Path, source: random.Random) -> None:
    for name, image, labels in _pairs(source, 8):
        save(folder / "images" / f"{name}.jpg", image)
        for label in (1, 2):
            save(folder / "masks" / NAMES[label - 1] / f"{name}.png", (labels == label).astype(np.uint8) * 255)


def class_folders(folder: Path, source: random.Random) -> None:
    for split, count in (("train", 5), ("val", 2)):
        for kind in NAMES:
            for name in words(source, count):
                save(folder / split / kind / f"{name}.jpg", scene(source)[0])


def class_folders_in_one_piece(folder: Path, source: random.Random) -> None:
    for kind in NAMES:
        for name in words(source, 6):
            save(folder / kind / f"{name}.jpg", scene(source)[0])


def tiff_stacks(folder: Path, source: random.Random) -> None:
    """The ISBI challenge's three files: pages of gray pictures, and of labels 0 and 255."""
    found = [scene(source, classes=1) for _ in range(8)]
    for name, pages in (("train-volume.tif", [image[..., 0] for image, _, _ in found]),
                        ("train-labels.tif", [(1 - labels) * 255 for _, labels, _ in found]),
                        ("test-volume.tif", [image[..., 1] for image, _, _ in found])):  # fmt: skip
        pictures = [Image.fromarray(page) for page in pages]
        folder.mkdir(parents=True, exist_ok=True)
        pictures[0].save(folder / name, save_all=True, append_images=pictures[1:])


MADE: dict[str, tuple[Maker, str, str, tuple[str, ...] | None]] = {
    "masks-flat": (masks_flat, "masks-flat", "segmentation", None),
    "masks-by-split": (masks_by_split("masks"), "masks-by-split", "segmentation", None),
    "labels-by-split": (masks_by_split("labels"), "masks-by-split", "segmentation", None),
    "annotations-by-split": (masks_by_split("annotations"), "masks-by-split", "segmentation", None),
    "img_dir": (masks_in_nested_folders, "masks-by-split", "segmentation", None),
    "splits-of-masks": (splits_of_masks, "splits-of-masks", "segmentation", None),
    "mask-suffix": (mask_suffix, "mask-suffix", "segmentation", ("background", "foreground")),
    "mask-extension": (masks_of_the_same_name, "mask-suffix", "segmentation", ("background", "foreground")),
    "roboflow-masks": (roboflow_masks, "mask-suffix", "segmentation", ("background", "gear", "bolt")),
    "camvid": (segnet_folders, "camvid", "segmentation", None),
    "cityscapes": (cityscapes, "cityscapes", "segmentation", None),
    "voc-masks": (cvat_masks, "voc-masks", "segmentation", ("background", "gear", "bolt")),
    "voc-boxes": (voc_boxes, "voc-boxes", "detection", ("bolt", "gear")),
    "voc-small": (voc_boxes_in_small_letters, "voc-boxes", "detection", ("bolt", "gear")),
    "coco-boxes": (coco(outlines=False), "coco-boxes", "detection", ("gear", "bolt")),
    "coco-polygons": (coco(outlines=True), "coco-polygons", "segmentation", ("background", "gear", "bolt")),
    "roboflow-coco": (roboflow_coco, "roboflow-coco", "detection", ("gear", "bolt")),
    "yolo-boxes": (yolo(outlines=False), "yolo-boxes", "detection", ("gear", "bolt")),
    "yolo-polygons": (yolo(outlines=True), "yolo-polygons", "segmentation", ("background", "gear", "bolt")),
    "labelme": (labelme, "labelme", "segmentation", ("background", "bolt", "gear")),
    "label-studio-coco": (label_studio_coco, "label-studio-coco", "segmentation", ("background", "gear", "bolt")),
    "yolo-beside": (yolo_beside_the_pictures, "yolo-boxes", "detection", ("gear", "bolt")),
    "yolo-cvat": (yolo_of_cvat, "yolo-boxes", "detection", ("gear", "bolt")),
    "label-studio-yolo": (label_studio_yolo, "label-studio-yolo", "detection", ("gear", "bolt")),
    "label-studio-brush": (label_studio_brush, "label-studio-brush", "segmentation", ("background", "bolt", "gear")),
    "mask-per-class": (mask_per_class, "mask-per-class", "segmentation", ("background", "bolt", "gear")),
    "mask-folder-per-class": (mask_folder_per_class, "mask-per-class", "segmentation", ("background", "bolt", "gear")),
    "class-folders": (class_folders, "class-folders", "classification", ("bolt", "gear", "washer")),
    "class-folders-whole": (class_folders_in_one_piece, "class-folders", "classification", ("bolt", "gear", "washer")),
    "tiff-stacks": (tiff_stacks, "tiff-stacks", "segmentation", None),
}
"""By name: the maker, and the layout, task and classes (None: names that nobody wrote down) that are to be found."""


def made(folder: Path, name: str, seed: int = 0) -> Path:
    """A folder of that kind, one or two folders deep in a folder of an odd name, with strays around."""
    source = random.Random(f"{name} {seed}")
    outer = folder / word(source)
    place = outer
    for _ in range(source.randint(0, 2)):
        place = place / word(source)
    place.mkdir(parents=True)
    MADE[name][0](place, source)
    strays(outer, source)
    return outer

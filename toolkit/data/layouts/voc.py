"""Pascal VOC's folders: boxes in XML files, and masks named by lists, as VOC itself, CVAT, Roboflow and LabelImg write them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.data.layouts.candidate import WHOLE, Candidate, recogniser
from toolkit.data.layouts.splits import is_split_word, lists_of, split_of, usual_splits
from toolkit.data.layouts.tree import Tree, joined, spread, stem

_LOOKED_AT = 12
_OBJECT = re.compile(rb"<bndbox\b")
_ANNOTATION = re.compile(rb"<annotation\b")
_HEAD = 1 << 14
"""Bytes of an XML file that are looked at."""

_FOLDERS = ("Annotations", "annotations", "xmls", "labels")


@recogniser
def boxes_in_xml(tree: Tree) -> Iterator[Candidate]:
    """XML files of VOC's kind that belong to pictures by name."""
    files = tree.named(".xml")
    groups: dict[tuple[str, str], dict[str, tuple[str, str, float]]] = defaultdict(dict)
    for folder, names in files.items():
        share = _share_of_annotations(tree, folder, names)
        images = _images_of(tree, folder, names) if share else None
        if images is None:
            continue
        split, base = _split_of_folder(folder)
        groups[base, _split_of_folder(images[0])[1]][split] = (folder, images[0], share * images[1])
    for found in groups.values():
        yield _of_boxes(tree, found)


def _share_of_annotations(tree: Tree, folder: str, names: Sequence[str]) -> float:
    """Share of some XML files that are VOC annotations."""
    looked = spread(names, _LOOKED_AT)
    return sum(bool(_ANNOTATION.search(_head_of(tree.root / folder / name))) for name in looked) / len(looked)


def _head_of(path: Path) -> bytes:
    """The beginning of a file, b"" for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""


def _images_of(tree: Tree, folder: str, names: Sequence[str]) -> tuple[str, float] | None:
    """The folder whose pictures have the names of XML files, and the share of the files that it knows."""
    wanted = {stem(name).lower() for name in spread(names, 400)}
    shares: dict[str, float] = {}
    for other, pictures in tree.pictures.items():
        hits = len(wanted & {stem(name).lower() for name in pictures})
        if hits and not re.search("SegmentationClass|SegmentationObject", other):
            shares[other] = hits / len(wanted)
    if not shares:
        return None
    best = max(shares, key=lambda other: (shares[other], _common(folder, other), -len(other)))
    return best, shares[best]


def _common(one: str, other: str) -> int:
    """How many folder names at the beginning two paths share."""
    count = 0
    for left, right in zip(one.split("/"), other.split("/"), strict=False):
        if left != right:
            break
        count += 1
    return count


def _split_of_folder(folder: str) -> tuple[str, str]:
    """The split that one of a path's folders is called by, and the path without it."""
    parts = folder.split("/") if folder else []
    place = next((number for number, part in enumerate(parts) if is_split_word(part)), None)
    if place is None:
        return "", folder
    return split_of(parts[place]) or "", "/".join([*parts[:place], "*", *parts[place + 1 :]])


def _of_boxes(tree: Tree, found: dict[str, tuple[str, str, float]]) -> Candidate:
    """The candidate of XML folders that differ by their split."""
    folder, images, _ = next(iter(found.values()))
    root = _root(folder, images) if len(found) == 1 else _root(*(one for pair in found.values() for one in pair[:2]))
    number = sum(len(tree.named(".xml")[one[0]]) for one in found.values())
    share = min(one[2] for one in found.values())
    parts = {split: _arguments(root, *pair[:2]) for split, pair in found.items()}
    splits: dict[str, dict[str, Any]] = usual_splits(parts) if set(parts) != {""} else {WHOLE: parts[""]}
    evidence: tuple[str, ...] = (
        f"{number} XML files in {folder or tree.root.name}/ belong to those in {images or tree.root.name}/",
    )
    if list(splits) == [WHOLE]:
        known = [stem(name) for name in tree.folders[folder]]
        lists = lists_of(tree, joined(root, "ImageSets/Main"), known)
        if "train" in lists:
            splits = usual_splits({split: {"name": "voc", "split": split} for split in lists})
            evidence += ("lists in ImageSets/Main say the splits",)
    marked = frozenset(joined(one[0], "*.xml") for one in found.values())
    return Candidate(
        "voc-boxes", "detection", round(0.97 * share, 3), evidence, root, splits, number, annotations=marked
    )


def _root(*folders: str) -> str:
    """The deepest folder above all of these, above folders that tell a split, and above VOC's own."""
    parts = [folder.split("/") if folder else [] for folder in folders]
    common: list[str] = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1 or is_split_word(names[0]) or (names[0] in _FOLDERS and len(set(folders)) > 1):
            break
        common.append(names[0])
    return "/".join(common)


def _arguments(root: str, folder: str, images: str) -> dict[str, Any]:
    own, pictures = (path[len(root) :].strip("/") for path in (folder, images))
    if own == pictures:
        return {"name": "voc", "split": own}
    if (own, pictures) in (("Annotations", "JPEGImages"), ("Annotations", "images")):
        return {"name": "voc", "split": ""}
    return {"name": "voc", "split": "", "annotations": own, "images": pictures or "."}


@recogniser
def masks_of_lists(tree: Tree) -> Iterator[Candidate]:
    """VOC's SegmentationClass beside JPEGImages; with CVAT's labelmap.txt the classes are those of that file."""
    for folder in tree.pictures:
        if not folder.endswith(("SegmentationClass", "SegmentationClassRaw", "SegmentationClassPNG")):
            continue
        root = folder.rpartition("/")[0]
        masks = {stem(name) for name in tree.pictures[folder]}
        images = next((one for one in _sisters(tree, root) if masks & {stem(n) for n in tree.pictures[one]}), None)
        if images is None:
            continue
        pictures = {stem(name) for name in tree.pictures[images]}
        share = len(masks & pictures) / len(masks)
        inner = folder.rpartition("/")[2]
        part = {"name": "image_masks", "images": images[len(root) :].strip("/") or ".", "masks": inner}
        table = tree.has(joined(root, "labelmap.txt"))
        lists = lists_of(tree, joined(root, "ImageSets/Segmentation"), pictures)
        listed = {split: part | {"split": f"ImageSets/Segmentation/{path}"} for split, path in lists.items()}
        splits = usual_splits(listed) if "train" in listed else {WHOLE: part}
        if list(splits) == [WHOLE] and pictures - masks:
            whole = _list_of_all(tree, root, masks)
            splits = {WHOLE: part | ({"split": whole} if whole else {})}
        evidence: tuple[str, ...] = (
            f"{len(masks)} masks in {folder}/ belong to pictures in {images or tree.root.name}/ by name",
        )
        evidence += ("labelmap.txt says their colours (CVAT)",) if table else ()
        yield Candidate(
            "voc-masks",
            "segmentation",
            round(0.99 * share, 3),
            evidence,
            root,
            splits,
            len(masks & pictures),
            masks=tuple(joined(folder, name) for name in tree.pictures[folder]),
            annotations=frozenset((folder,)),
        )


def _sisters(tree: Tree, root: str) -> list[str]:
    """Folders that may hold the pictures of VOC masks, the usual ones first."""
    below = [one for one in tree.below(root) if one in tree.pictures and "/Segmentation" not in f"/{one}"]
    return sorted(below, key=lambda one: (not one.endswith("JPEGImages"), one.count("/"), one))


def _list_of_all(tree: Tree, root: str, masks: set[str]) -> str | None:
    """A list in ImageSets/Segmentation that names the pictures with masks, such as CVAT's default.txt."""
    folder = joined(root, "ImageSets/Segmentation")
    for name in tree.folders.get(folder, ()):
        try:
            lines = (tree.root / folder / name).read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError):
            continue
        if (
            lines
            and {stem(line.rpartition("/")[2]) if "." in line else line.rpartition("/")[2] for line in lines} <= masks
        ):
            return f"ImageSets/Segmentation/{name}"
    return None

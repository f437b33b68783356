"""Outlines in the files of labelling tools: LabelMe (one JSON a picture), CVAT's XML, VIA's JSON."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from toolkit.data.layouts.candidate import WHOLE, Candidate, Task, recogniser
from toolkit.data.layouts.splits import is_split_word, split_of, usual_splits
from toolkit.data.layouts.tree import Tree, joined, spread, stem

_LOOKED_AT = 300
"""LabelMe files of a folder whose labels are read here; of more of them the data set finds the labels."""
_HEAD = 1 << 12


@recogniser
def labelme(tree: Tree) -> Iterator[Candidate]:
    """One JSON file a picture, with `shapes` and `imagePath`."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    files = tree.named(".json")
    for folder, names in files.items():
        if _is_labelme(tree, folder, spread(names, 6)):
            groups[_base(folder)].setdefault(_split(folder), folder)
    for group in groups.values():
        kinds: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        images, known, number = {}, 0, 0
        for split, folder in group.items():
            names = files[folder]
            images[split] = _pictures(tree, folder, names)
            pictures = {stem(name) for name in tree.pictures.get(images[split], ())}
            known += sum(stem(name) in pictures for name in names)
            number += len(names)
            _count(tree, folder, spread(names, _LOOKED_AT), kinds, labels)
        outlines = kinds["polygon"] + kinds["mask"]
        order: tuple[Task, ...] = ("segmentation", "detection")
        if outlines < kinds["rectangle"]:
            order = ("detection", "segmentation") if outlines else ("detection",)
        root = _above([*group.values(), *images.values()])
        told = ", ".join(f"{count} of kind {kind}" for kind, count in kinds.most_common(4))
        evidence = (
            f"{number} LabelMe files in {', '.join(f or '.' for f in list(group.values())[:3])}: shapes {told}",
        )
        sampled = number > _LOOKED_AT * len(group)
        found = tuple(sorted(labels))
        for task in order:
            parts = {split: _labelme(task, root, folder, images[split]) for split, folder in group.items()}
            splits = usual_splits(parts) if set(parts) != {""} else {WHOLE: parts[""]}
            classes = found if task == "detection" or _has_background(found) else ("background", *found)
            confidence = round((0.98 if task == order[0] else 0.97) * known / max(1, number), 3)
            yield Candidate("labelme", task, confidence, evidence, root, splits, number, None if sampled else classes,
                            annotations=frozenset(joined(f, "*.json") for f in group.values()))  # fmt: skip


def _is_labelme(tree: Tree, folder: str, names: list[str]) -> bool:
    rows = [_json(tree, joined(folder, name)) for name in names]
    good = [isinstance(row, dict) and isinstance(row.get("shapes"), list) and "imagePath" in row for row in rows]
    return bool(good) and sum(good) >= len(good) / 2


def _json(tree: Tree, path: str) -> Any:
    try:
        return json.loads((tree.root / path).read_bytes())
    except (OSError, ValueError):
        return None


def _count(tree: Tree, folder: str, names: list[str], kinds: Counter[str], labels: Counter[str]) -> None:
    for name in names:
        content = _json(tree, joined(folder, name))
        shapes = content.get("shapes") if isinstance(content, dict) else None
        for shape in shapes or ():
            kinds[str(shape.get("shape_type") or "polygon")] += 1
            labels[str(shape.get("label"))] += 1


def _pictures(tree: Tree, folder: str, names: list[str]) -> str:
    """The folder of the pictures: the files' own, else one that has pictures of these names."""
    wanted = {stem(name) for name in names}
    shares = {one: len(wanted & {stem(name) for name in own}) for one, own in tree.pictures.items()}
    return max(
        [folder, *sorted(shares)], key=lambda one: (shares.get(one, 0), one == folder, _split(one) == _split(folder))
    )


def _has_background(names: tuple[str, ...]) -> bool:
    return any(name.lower() in ("background", "_background_") for name in names)


def _labelme(task: Task, root: str, folder: str, images: str) -> dict[str, Any]:
    own, pictures = (path[len(root) :].strip("/") or "." for path in (folder, images))
    name = "labelme" if task == "segmentation" else "labelme_boxes"
    return {"name": name, "annotations": own, "images": pictures}


def _split(folder: str) -> str:
    return next((split for part in folder.split("/") if is_split_word(part) and (split := split_of(part))), "")


def _base(folder: str) -> str:
    return "/".join("*" if is_split_word(part) else part for part in folder.split("/"))


def _above(folders: list[str]) -> str:
    parts = [folder.split("/") if folder else [] for folder in folders]
    common: list[str] = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1 or is_split_word(names[0]):
            break
        common.append(names[0])
    return joined(*common)


@recogniser
def cvat_xml(tree: Tree) -> Iterator[Candidate]:
    """CVAT's own XML: <annotations> with <image name=...> and outlines in it."""
    for path in tree.paths(".xml"):
        try:
            with (tree.root / path).open("rb") as stream:
                head = stream.read(_HEAD)
            if not re.search(rb"<annotations>", head):
                continue
            content = ElementTree.parse(tree.root / path).getroot()
        except (OSError, ElementTree.ParseError):
            continue
        images = content.findall("image")
        if not images:
            continue
        kinds = Counter(child.tag for image in images for child in image)
        labels = [label.findtext("name") or "" for label in content.iter("label") if label.find("name") is not None]
        labels = labels or sorted({child.get("label", "") for image in images for child in image})
        folder, share = _start(tree, [image.get("name", "") for image in images])
        yield from _of_tool(tree, "cvat-xml", path, folder, share, kinds, tuple(dict.fromkeys(labels)), len(images),
                            outlines=kinds["polygon"] + kinds["mask"], boxes=kinds["box"])  # fmt: skip


def _start(tree: Tree, names: list[str]) -> tuple[str, float]:
    """The folder that names of pictures start from, and the share of some of them that lie there."""
    starts: Counter[str] = Counter()
    looked = [name.replace("\\", "/") for name in spread(names, 60)]
    for name in looked:
        above, _, last = name.rpartition("/")
        for place in tree.places.get(last.lower(), ()):
            if place == above or place.endswith(f"/{above}") or not above:
                starts[place[: len(place) - len(above)].rstrip("/") if above else place] += 1
    if not starts:
        return "", 0.0
    best = max(sorted(starts), key=lambda folder: starts[folder])
    return best, starts[best] / len(looked)


def _of_tool(
    tree: Tree, layout: str, path: str, folder: str, share: float, kinds: Counter[str], labels: tuple[str, ...],
    number: int, *, outlines: int, boxes: int,
) -> Iterator[Candidate]:  # fmt: skip
    """The candidates of one file that holds the outlines of many pictures."""
    order: tuple[Task, ...] = ("segmentation", "detection") if outlines >= boxes else ("detection",)
    root = _above([path.rpartition("/")[0], folder])
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    evidence = (
        f"{path}: {told} in {number} pictures",
        f"{share:.0%} of the pictures are in {folder or tree.root.name}/",
    )
    own, pictures = (place[len(root) :].strip("/") or "." for place in (path, folder))
    reader = layout.removesuffix("-xml")
    for task in order:
        name = reader if task == "segmentation" else f"{reader}_boxes"
        classes = labels if task == "detection" or _has_background(labels) else ("background", *labels)
        yield Candidate(layout, task, round((0.98 if task == order[0] else 0.97) * share, 3), evidence, root,
                        {WHOLE: {"name": name, "annotations": own, "images": pictures}}, number, classes,
                        annotations=frozenset((path,)))  # fmt: skip


@recogniser
def via(tree: Tree) -> Iterator[Candidate]:
    """VIA's project or annotation JSON: entries with `filename` and `regions`."""
    for path in tree.paths(".json"):
        name = path.rpartition("/")[2].lower()
        content = _json(tree, path) if "via" in name or "region" in name else None
        if not isinstance(content, dict):
            continue
        rows = content.get("_via_img_metadata", content)
        rows = [row for row in rows.values() if isinstance(row, dict) and "filename" in row and "regions" in row]
        if not rows:
            continue
        kinds: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for row in rows:
            regions = row["regions"].values() if isinstance(row["regions"], dict) else row["regions"]
            for region in regions:
                kinds[str(region.get("shape_attributes", {}).get("name"))] += 1
                values = [one for one in region.get("region_attributes", {}).values() if isinstance(one, str)]
                labels.update(values[:1])
        folder, share = _start(tree, [str(row["filename"]) for row in rows])
        outlines = sum(kinds[kind] for kind in ("polygon", "polyline", "circle", "ellipse"))
        yield from _of_tool(tree, "via", path, folder, share, kinds, tuple(sorted(labels)), len(rows),
                            outlines=outlines, boxes=kinds["rect"])  # fmt: skip

"""COCO's JSON: boxes, outlines and run lengths, as COCO itself, Roboflow, CVAT and Label Studio write it."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from toolkit.data.layouts.candidate import WHOLE, Candidate, Task, recogniser
from toolkit.data.layouts.splits import split_of, usual_splits, without_split
from toolkit.data.layouts.tree import Tree, joined, spread
from toolkit.progress import told

_LOG = logging.getLogger(__name__)
_LARGEST = 1 << 30
"""Bytes of a JSON file from which on it is not opened to see what it is."""

_LARGE = 20_000_000
"""Bytes of a JSON file from which on reading it takes long enough to be told of."""

_SECTIONS = (b'"images"', b'"annotations"', b'"categories"')
_ROBOFLOW = "_annotations.coco.json"
_NAMES = 60
_PARTIAL = ("captions_", "panoptic_", "person_keypoints_", "stuff_", "image_info_")
"""Beginnings of names of COCO's own files that hold other things than objects, or the same objects again."""


class Found(NamedTuple):
    """What a JSON file holds.

    Args:
        path: of the file, relative to the folder that was looked at.
        images: folder that its file names start from.
        share: share of some of its pictures that are there.
        pictures: how many pictures it names.
        annotations: how many objects it has.
        outlined: how many of them have an outline or run lengths.
        names: of its categories that are used, or that head no group.
        tool: "roboflow", "label-studio" or "" for any other.
    """

    path: str
    images: str
    share: float
    pictures: int
    annotations: int
    outlined: int
    names: tuple[str, ...]
    tool: str


@recogniser
def objects_in_json(tree: Tree) -> Iterator[Candidate]:
    """A candidate a task for JSON files that differ by their split only."""
    groups: dict[str, dict[str, Found]] = defaultdict(dict)
    for path in tree.paths(".json"):
        found = _look(tree, path) if _is_coco(tree, path) else None
        if found is not None:
            groups[without_split(path)].setdefault(_split(path), found)
    for group in groups.values():
        yield from _candidates(tree, group)


def _is_coco(tree: Tree, path: str) -> bool:
    """Whether a file has COCO's three sections, by its text."""
    file = tree.root / path
    try:
        size = file.stat().st_size
        if size > _LARGEST or path.rpartition("/")[2].lower().startswith(_PARTIAL):
            return False
        with file.open("rb") as stream:
            head = stream.read(1 << 12)
        if not any(section in head for section in (*_SECTIONS, b'"info"', b'"licenses"')):
            return False
        text = file.read_bytes()
    except OSError:
        return False
    return all(section in text for section in _SECTIONS)


def _look(tree: Tree, path: str) -> Found | None:
    """What the file holds; None where it has no objects."""
    try:
        size = (tree.root / path).stat().st_size
        if size >= _LARGE:
            told(f"reading {path} ({size / 1e6:.0f} MB)", _LOG)
        content = json.loads((tree.root / path).read_bytes())
        images, annotations, categories = (content[name] for name in ("images", "annotations", "categories"))
        used = Counter(row.get("category_id") for row in annotations)
        outlined = sum(bool(row.get("segmentation")) for row in annotations)
        parents = {str(row.get("supercategory")) for row in categories if row.get("supercategory") != row["name"]}
        rows = sorted(categories, key=lambda row: row["id"])
        names = tuple(str(row["name"]) for row in rows if used[row["id"]] or row["name"] not in parents)
        files = [str(row["file_name"]) for row in images]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if not annotations or any("segments_info" in row for row in annotations[:5]):
        return None
    folder, share = _folder_of(tree, path, files)
    maker = content.get("info") if isinstance(content.get("info"), dict) else {}
    is_studio = "label studio" in f"{maker.get('contributor')} {maker.get('description')}".lower()
    tool = "roboflow" if path.endswith(_ROBOFLOW) else "label-studio" if is_studio else ""
    return Found(path, folder, share, len(files), len(annotations), outlined, names, tool)


def _folder_of(tree: Tree, path: str, files: Sequence[str]) -> tuple[str, float]:
    """The folder that file names start from, and the share of some of them that lie there."""
    looked = [name.replace("\\", "/") for name in spread(files, _NAMES)]
    starts: Counter[str] = Counter()
    for name in looked:
        above, _, last = name.rpartition("/")
        for place in tree.places.get(last.lower(), ()):
            if place == above:
                starts[""] += 1
            elif not above or place.endswith(f"/{above}"):
                starts[place[: len(place) - len(above)].rstrip("/") if above else place] += 1
    if not starts:
        return "", 0.0
    here = path.rpartition("/")[0]

    def worth(folder: str) -> tuple[float, ...]:
        return starts[folder], _split(f"{folder}/") == _split(path), len(set(folder.split("/")) & set(here.split("/")))

    best = max(sorted(starts), key=worth)
    return best, starts[best] / len(looked)


def _split(path: str) -> str:
    """The split of a file, by its name, else by the folder it lies in."""
    return next((split for part in reversed(path.split("/")) if (split := split_of(part))), "")


def _candidates(tree: Tree, group: dict[str, Found]) -> Iterator[Candidate]:
    files = list(group.values())
    first = files[0]
    share = min(one.share for one in files)
    objects, outlined = sum(one.annotations for one in files), sum(one.outlined for one in files)
    pictures = sum(one.pictures for one in files)
    root = _above([one.path.rpartition("/")[0] for one in files] + [one.images for one in files])
    evidence: tuple[str, ...] = (f"{len(files)} COCO file(s) ({', '.join(one.path for one in files[:3])}): {objects} objects in "
                f"{pictures} pictures, {outlined} with an outline",
                f"{share:.0%} of the pictures that were looked for are in {first.images or tree.root.name}/")  # fmt: skip
    if first.tool == "roboflow" and len(files) == 1 and not outlined:
        evidence += ("the file is named as Roboflow names it",)
    tasks: tuple[Task, ...] = ("segmentation", "detection") if outlined >= objects / 2 else ("detection",)
    layout = {"roboflow": "roboflow-coco", "label-studio": "label-studio-coco"}.get(
        first.tool, "coco-polygons" if len(tasks) > 1 else "coco-boxes"
    )
    names = tuple(dict.fromkeys(name for one in files for name in one.names))
    for task in tasks:
        parts = {split: _arguments(task, root, one) for split, one in group.items()}
        splits = usual_splits(parts) if set(parts) != {""} else {WHOLE: parts[""]}
        confidence = round((0.98 if task == tasks[0] else 0.97) * share, 3)
        classes = names if task == "detection" else _with_background(names)
        yield Candidate(layout, task, confidence, evidence, root, splits, pictures, classes,
                        annotations=frozenset(one.path for one in files))  # fmt: skip


def _with_background(names: tuple[str, ...]) -> tuple[str, ...]:
    has_one = any(name.lower() in ("background", "_background_") for name in names)
    return names if has_one else ("background", *names)


def _arguments(task: Task, root: str, found: Found) -> dict[str, Any]:
    path, images = (place[len(root) :].strip("/") if root else place for place in (found.path, found.images))
    name = "coco_masks" if task == "segmentation" else "coco"
    return {"name": name, "annotations": path, "images": images or "."}


def _above(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of these."""
    parts = [folder.split("/") if folder else [] for folder in folders]
    common: list[str] = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return joined(*common)

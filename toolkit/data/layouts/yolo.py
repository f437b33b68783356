"""YOLO's text files: boxes and outlines as fractions of the picture, with data.yaml, classes.txt or obj.names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from toolkit.data.layouts.candidate import WHOLE, Candidate, Task, recogniser
from toolkit.data.layouts.class_names import NameTable, name_tables
from toolkit.data.layouts.splits import is_split_word, split_of, usual_splits
from toolkit.data.layouts.tree import Tree, joined, spread, stem

_LOOKED_AT = 60
_LISTS = (
    "classes.txt",
    "labels.txt",
    "names.txt",
    "train.txt",
    "val.txt",
    "test.txt",
    "readme.txt",
    "requirements.txt",
)


class Lines(NamedTuple):
    """What the lines of some label files are.

    Args:
        boxes: lines of a class and four numbers.
        outlines: lines of a class and three points or more.
        others: lines that are neither of the two.
        classes: numbers of the classes that occur.
    """

    boxes: int
    outlines: int
    others: int
    classes: frozenset[int]


class Part(NamedTuple):
    """A folder of label files and the folder of their pictures.

    Args:
        labels: folder of the label files, relative to the tree.
        images: folder of the pictures, relative to the tree.
        split: "train", "val", "test" or "" by a folder's name.
        share: share of the label files that have a picture.
        number: how many label files there are.
    """

    labels: str
    images: str
    split: str
    share: float
    number: int


@recogniser
def lines_of_fractions(tree: Tree) -> Iterator[Candidate]:
    """Text files of numbers that belong to pictures by name; one candidate a family of folders."""
    groups: dict[str, list[tuple[Part, Lines]]] = {}
    for folder, names in tree.named(".txt").items():
        own = [name for name in names if name.lower() not in _LISTS]
        part = _part(tree, folder, own)
        if part is None:
            continue
        lines = _lines(tree, folder, own)
        if lines.boxes + lines.outlines > 4 * lines.others and lines.classes:
            groups.setdefault(_base(part.labels), []).append((part, lines))
    for found in groups.values():
        yield from _candidates(tree, found)


def _base(folder: str) -> str:
    return "/".join("*" if is_split_word(part) else part for part in folder.split("/"))


def _part(tree: Tree, folder: str, names: Sequence[str]) -> Part | None:
    """The pictures of a folder's label files: those of the same names, next to it or in its sister `images`."""
    wanted = {stem(name).lower() for name in spread(names, 400)}
    best, most = None, 0.0
    for other, pictures in tree.pictures.items():
        hits = len(wanted & {stem(name).lower() for name in pictures}) if wanted else 0
        named = bool(re.search("image|img|photo|picture", other.lower()))
        worth = hits + 0.2 * (other == _images_of(folder)) + 0.1 * (other == folder) + 0.05 * named
        if hits and worth > most:
            best, most = other, worth
    if best is None:
        return None
    words = [split for part in (*folder.split("/"), *best.split("/")) if (split := split_of(part))]
    return Part(folder, best, words[0] if words else "", min(1.0, int(most) / len(wanted)), len(names))


def _images_of(folder: str) -> str:
    return re.sub(r"(^|/)labels(?=/|$)(?!.*/labels(/|$))", r"\1images", folder)


def _lines(tree: Tree, folder: str, names: Sequence[str], most: int = _LOOKED_AT) -> Lines:
    boxes = outlines = others = 0
    classes: set[int] = set()
    for name in spread(names, most):
        try:
            text = (tree.root / folder / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            others += 1
            continue
        for line in text.splitlines():
            fields = line.split()
            if not fields:
                continue
            numbers = [float(field) for field in fields if re.fullmatch(r"-?\d*\.?\d+([eE][-+]?\d+)?", field)]
            fits = len(numbers) == len(fields) and numbers[0] == int(numbers[0]) and max(numbers[1:], default=9) <= 1.5
            boxes += fits and len(fields) == 5
            outlines += fits and len(fields) >= 7 and len(fields) % 2 == 1
            others += not (fits and (len(fields) == 5 or (len(fields) >= 7 and len(fields) % 2)))
            classes |= {int(numbers[0])} if fits else set()
    return Lines(boxes, outlines, others, frozenset(classes))


def _candidates(tree: Tree, found: Sequence[tuple[Part, Lines]]) -> Iterator[Candidate]:
    parts = [part for part, _ in found]
    root = _root(parts)
    total = Counter(boxes=0, outlines=0)
    for _, lines in found:
        total.update(boxes=lines.boxes, outlines=lines.outlines)
    outlined = total["outlines"] > 0
    top = max(max(lines.classes) for _, lines in found)
    table = _names(tree, root, top)
    if table is None:  # the ids alone say how many classes there are, so all of them are looked at
        texts = tree.named(".txt")
        every = [_lines(tree, part.labels, texts[part.labels], most=part.number + len(_LISTS)) for part in parts]
        top = max(max(lines.classes) for lines in every)
    number, share = sum(part.number for part in parts), min(part.share for part in parts)
    what = "outlines" if outlined else "boxes"
    evidence: tuple[str, ...] = (f"{number} text files of {what} in {', '.join(part.labels or '.' for part in parts[:3])} "
                f"({total['boxes']} lines of boxes and {total['outlines']} of outlines in some of them)",)  # fmt: skip
    notes: tuple[str, ...] = ()
    names = table.names if table else tuple(f"class{label}" for label in range(top + 1))
    if table is None:
        notes = (f"no table of classes lies beside the labels: the {top + 1} ids are called class0, class1 ...",)
    else:
        evidence += (f"{table.source} names {len(names)} classes",)
    reachable = all(part.images in (part.labels, _images_of(part.labels)) for part in parts)
    if not reachable:
        notes += ("the label files are looked for in a folder called labels beside images: rename theirs",)
    tool = any(name == "notes.json" for name in tree.folders.get(root, ()))
    layout = "label-studio-yolo" if tool else "yolo-polygons" if outlined else "yolo-boxes"
    tasks: tuple[Task, ...] = ("segmentation", "detection") if outlined else ("detection",)
    for task in tasks:
        splits = _splits(tree, root, parts, task)
        labels = names if task == "detection" else ("background", *names)
        confidence = round((0.98 if task == tasks[0] else 0.97) * share * (1.0 if reachable else 0.5), 3)
        yield Candidate(layout, task, confidence, evidence, root, splits, number, labels,
                        annotations=frozenset(joined(part.labels, "*.txt") for part in parts), notes=notes)  # fmt: skip


def _root(parts: Sequence[Part]) -> str:
    """The folder above `images` and `labels`, and above folders that tell a split."""
    paths = [path.split("/") if path else [] for part in parts for path in (part.labels, part.images)]
    common: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1 or is_split_word(names[0]) or names[0] in ("images", "labels"):
            break
        common.append(names[0])
    return "/".join(common)


def _names(tree: Tree, root: str, top: int) -> NameTable | None:
    """The table that names every class that occurs: data.yaml or the list nearest to the labels."""
    tables = [one for one in name_tables(tree, root) if len(one.names) > top and one.values is None]
    return min(
        tables, key=lambda one: (not one.source.endswith((".yaml", ".yml")), one.source.count("/")), default=None
    )


def _splits(tree: Tree, root: str, parts: Sequence[Part], task: Task) -> dict[str, dict[str, Any]]:
    name = "yolo" if task == "detection" else "yolo_masks"
    table = next((one for one in ("data.yaml", "data.yml") if tree.has(joined(root, one))), None)
    keys = _keys(tree.root / joined(root, table)) if table else {}
    if tree.has(joined(root, "obj.data")):
        return {WHOLE: {"name": name, "split": "train"}}
    if keys and all(part.images == _images_of(part.labels) for part in parts):
        return usual_splits({split: {"name": name, "split": key} for split, key in keys.items()})
    found = {part.split: {"name": name, "split": _key(root, part)} for part in parts}
    if set(found) == {""}:
        return {WHOLE: found[""]}
    return usual_splits(found)


def _key(root: str, part: Part) -> str:
    """What `split` has to be for the data set to find the pictures: the folder's name in images/, or beside images/."""
    inner = part.images[len(root) :].strip("/").split("/")
    return "/".join(one for one in inner if one != "images")


def _keys(path: Path) -> dict[str, str]:
    """The keys of a data.yaml whose folders or lists are there, by split."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    if not isinstance(content, dict):
        return {}
    base = path.parent / str(content.get("path") or ".")
    found: dict[str, str] = {}
    for key in ("train", "val", "valid", "test"):
        entries = content.get(key)
        entries = entries if isinstance(entries, list) else [entries] if entries else []
        places = [base / str(entry).removeprefix("../") for entry in entries] + [base / str(one) for one in entries]
        if any(place.exists() for place in places):
            found.setdefault(split_of(key) or key, key)
    return found

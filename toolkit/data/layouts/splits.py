"""Words by which folders and files say of which split they are, and lists of names that divide a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.data.layouts.tree import Tree, joined, spread, stem

SPLITS = ("train", "val", "test")

_WORDS = {
    "train": ("train", "training", "trn", "trainset"),
    "val": ("val", "valid", "validation", "dev", "eval", "valset"),
    "test": ("test", "testing", "tst", "testset"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_LOOKED_AT = 40
_ENOUGH = 0.8
"""Share of a list's lines that must name pictures."""


def split_of(name: str) -> str | None:
    """The split that the name of a folder or file tells, or None.

    >>> split_of("train2017"), split_of("Validation"), split_of("instances_val2017"), split_of("trainer")
    ('train', 'val', 'val', None)
    """
    for word in re.split(r"[^a-z]+", name.lower()):
        if word in _SPLIT_OF:
            return _SPLIT_OF[word]
    return None


def is_split_word(name: str) -> bool:
    """Whether a folder's name is a split's and nothing else.

    >>> is_split_word("train2017"), is_split_word("valid"), is_split_word("train_masks")
    (True, True, False)
    """
    return re.sub(r"[\d_\-]+$", "", name.lower()) in _SPLIT_OF


def without_split(name: str) -> str:
    """A name with its split's word taken out, by which files of several splits are put together.

    >>> without_split("instances_train2017.json") == without_split("instances_val2017.json")
    True
    """
    return re.sub("|".join(sorted(_SPLIT_OF, key=len, reverse=True)), "*", name.lower())


def lists_of(tree: Tree, root: str, known: Iterable[str]) -> dict[str, str]:
    """Text files in a folder and below that name pictures of a split: their paths relative to it, by split.

    Args:
        tree: the names of all files.
        root: the data set's folder, relative to the tree's.
        known: names of its pictures without extension.
    """
    stems = set(known)
    found: dict[str, list[str]] = {}
    for folder in tree.below(root):
        for name in tree.folders[folder]:
            split = _SPLIT_OF.get(stem(name).lower()) if name.lower().endswith(".txt") else None
            if split and _names_pictures(tree.root / joined(folder, name), stems):
                found.setdefault(split, []).append(joined(folder, name)[len(root) + bool(root) :])
    return {split: min(paths, key=lambda path: (path.count("/"), path)) for split, paths in found.items()}


def _names_pictures(path: Path, stems: set[str]) -> bool:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    lines = spread([line for line in lines if line and not line.startswith("#")], _LOOKED_AT)
    spelt = ({line, *re.split(r"[\s,;]+", line)} for line in lines)  # names without extension may have a point
    hits = sum(bool((names | set(map(_stem, names))) & stems) for names in spelt)
    return bool(lines) and hits >= _ENOUGH * len(lines)


def _stem(text: str) -> str:
    name = text.strip("\"'").replace("\\", "/").rpartition("/")[2]
    return stem(name) if re.search(r"\.\w{2,4}$", name) else name


def usual_splits(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The splits as a config takes them: training data alone, or without a name, is a whole that is still to be divided.

    >>> usual_splits({"train": {"name": "yolo"}})
    {'': {'name': 'yolo'}}
    >>> list(usual_splits({"val": {}, "train": {}}))
    ['train', 'val']
    """
    if "train" not in found:
        return {"" if split == min(found) else split: dict(found[split]) for split in sorted(found)} if found else {}
    ordered = {split: dict(found[split]) for split in SPLITS if split in found}
    if "val" in ordered:
        return ordered
    return {"": ordered.pop("train"), **ordered}

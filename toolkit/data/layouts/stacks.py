"""TIFF files with several pages: one of pictures, one of labels, as electron microscopes and the ISBI challenge have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from toolkit.data.layouts.candidate import WHOLE, Candidate, recogniser
from toolkit.data.layouts.splits import split_of, usual_splits
from toolkit.data.layouts.tree import Tree, joined, spread, stem

_LABELS = re.compile(r"label|mask|annot|seg|truth|gt", re.IGNORECASE)
_MOST = 200
"""TIFF files of a folder from which on they are single pictures."""


class Stack(NamedTuple):
    """A file of several pages.

    Args:
        path: of the file, relative to the folder that was looked at.
        pages: how many pages the file has.
        size: (height, width) of the first page in pixels.
        gray: whether the first page has one channel.
    """

    path: str
    pages: int
    size: tuple[int, int]
    gray: bool


@recogniser
def pages_of_files(tree: Tree) -> Iterator[Candidate]:
    """Files of as many pages of one size, of which one is called by labels and holds few values."""
    for folder, names in tree.named(".tif", ".tiff").items():
        stacks = [one for name in spread(names, _MOST) if (one := _stack(tree, joined(folder, name)))]
        labels = [one for one in stacks if _LABELS.search(stem(one.path.rpartition("/")[2]))]
        found: dict[str, dict[str, Any]] = {}
        used: list[tuple[Stack, Stack]] = []
        for mask in labels:
            partners = [one for one in stacks if one not in labels and one[1:3] == mask[1:3]]
            best = max(partners, key=lambda one: _alike(one.path, mask.path), default=None)
            if best is None:
                continue
            split = split_of(mask.path.rpartition("/")[2]) or ""
            name = {"name": "image_stacks", "images": _last(best), "masks": _last(mask)}
            found[split] = name | ({} if best.gray else {"channels": 3})
            used.append((best, mask))
        if not used:
            continue
        splits = usual_splits(found) if set(found) != {""} else {WHOLE: found[""]}
        pages = sum(mask.pages for _, mask in used)
        evidence = (f"{pages} pages of {used[0][0].path} have their labels in {used[0][1].path}",)
        rest = [_last(one) for one in stacks if one not in labels and one not in [image for image, _ in used]]
        notes = (f"without labels, not used: {', '.join(rest)}",) if rest else ()
        yield Candidate("tiff-stacks", "segmentation", 0.97, evidence, folder, splits, pages,
                        masks=tuple(mask.path for _, mask in used),
                        annotations=frozenset(mask.path for _, mask in used), notes=notes)  # fmt: skip


def _stack(tree: Tree, path: str) -> Stack | None:
    try:
        with Image.open(tree.root / path) as image:
            pages = getattr(image, "n_frames", 1)
            return Stack(path, pages, (image.height, image.width), image.mode in ("L", "1")) if pages > 1 else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's words for what it cannot read
        return None


def _last(stack: Stack) -> str:
    return stack.path.rpartition("/")[2]


def _alike(one: str, other: str) -> int:
    """How long the beginning is that two paths share."""
    pairs = np.array([left == right for left, right in zip(one.lower(), other.lower(), strict=False)], bool)
    return int(np.argmin(pairs)) if not pairs.all() else len(pairs)

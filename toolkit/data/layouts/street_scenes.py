"""Cityscapes' folders: leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.data.layouts.candidate import Candidate, recogniser
from toolkit.data.layouts.splits import SPLITS, usual_splits
from toolkit.data.layouts.tree import Tree, is_below, joined


@recogniser
def cityscapes(tree: Tree) -> Iterator[Candidate]:
    """Pictures named *_leftImg8bit and masks named *_gtFine_labelIds or *_gtFine_labelTrainIds."""
    roots = {
        folder.partition("leftImg8bit")[0].rstrip("/") for folder in tree.pictures if "leftImg8bit/" in f"{folder}/"
    }
    for root in sorted(roots):
        for labels in ("labelTrainIds", "labelIds"):
            found: dict[str, dict[str, object]] = {}
            pairs = lone = 0
            for split in SPLITS:
                masks = _stems(tree, joined(root, "gtFine", split), f"_gtFine_{labels}.png")
                pictures = _stems(tree, joined(root, "leftImg8bit", split), "_leftImg8bit.png")
                if masks & pictures and not (split == "test" and labels == "labelIds"):
                    found[split] = {"name": "cityscapes", "split": split}
                    found[split] |= {"labels": labels} if labels != "labelIds" else {}
                    pairs, lone = pairs + len(masks & pictures), lone + len(masks ^ pictures)
            if pairs:
                evidence = (f"{pairs} pictures in leftImg8bit/ have masks *_gtFine_{labels}.png",)
                yield Candidate("cityscapes", "segmentation", round(0.99 * pairs / (pairs + lone), 3), evidence, root,
                                usual_splits(found), pairs, annotations=frozenset((joined(root, "gtFine"),)))  # fmt: skip
                break


def _stems(tree: Tree, folder: str, suffix: str) -> set[str]:
    inner = (one for one in tree.pictures if is_below(one, folder))
    return {name.removesuffix(suffix) for one in inner for name in tree.pictures[one] if name.endswith(suffix)}

"""Pictures in a folder a class, for one answer a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from toolkit.data.layouts.candidate import WHOLE, Candidate, recogniser
from toolkit.data.layouts.splits import is_split_word, split_of, usual_splits
from toolkit.data.layouts.tree import Tree

_NO_CLASSES = frozenset(
    ("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "masks", "mask", "labels", "label",
     "annotations", "annotation", "annot", "img_dir", "ann_dir", "leftimg8bit", "gtfine", "gt", "segmentationclass",
     "segmentationobject", "rgb", "depth", "input", "inputs", "target", "targets", "data")
)  # fmt: skip
"""Names of folders that hold kinds of files, not classes."""


@recogniser
def folders_of_classes(tree: Tree) -> Iterator[Candidate]:
    """Sister folders of pictures whose names are the classes, perhaps in folders of splits."""
    parents: dict[str, set[str]] = defaultdict(set)
    for folder in tree.pictures:
        above, _, name = folder.rpartition("/")
        if folder and name.lower() not in _NO_CLASSES and not is_split_word(name):
            parents[above].add(name)
    parents = {parent: names for parent, names in parents.items() if len(names) > 1 and not _is_other(tree, parent)}
    roots: dict[str, dict[str, str]] = defaultdict(dict)
    for parent in parents:
        above, _, name = parent.rpartition("/")
        split = split_of(name) if parent and is_split_word(name) else None
        roots[above if split else parent][split or ""] = parent
    for root, found in roots.items():
        if len(found) > 1:
            found.pop("", None)
        names = sorted(set().union(*(parents[parent] for parent in found.values())))
        shared = set(names).intersection(*(parents[parent] for parent in found.values()))
        number = sum(len(tree.pictures[f"{p}/{n}" if p else n]) for p in found.values() for n in parents[p])
        parts = {split: {"name": "image_folder", "split": p[len(root) :].strip("/")} for split, p in found.items()}
        splits = usual_splits(parts) if set(parts) != {""} else {WHOLE: parts[""]}
        loose = len(tree.pictures.get(root, ())) + sum(bool(tree.pictures.get(parent)) for parent in found.values())
        sure = 0.9 if set(found) - {""} else 0.75
        shown = ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
        evidence = (f"{number} pictures in {len(names)} folders: {shown}", "no file of annotations belongs to them")
        yield Candidate("class-folders", "classification",
                        round(sure * len(shared) / len(names) * (0.6 if loose else 1), 3), evidence, root, splits,
                        number, tuple(names), annotations=frozenset(f"{p}/*" for p in found.values()))  # fmt: skip


def _is_other(tree: Tree, parent: str) -> bool:
    """Whether the folders hold something else beside the pictures, as annotations lie there."""
    inner = [folder for folder in tree.folders if folder.rpartition("/")[0] == parent and folder]
    own = sum(len(tree.folders[folder]) for folder in inner)
    pictures = sum(len(tree.pictures.get(folder, ())) for folder in inner)
    return pictures < 0.9 * own

"""A binary mask file for each class of a picture: Label Studio's brush export, names with the class, a folder a class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from toolkit.data.layouts.candidate import WHOLE, Candidate, recogniser
from toolkit.data.layouts.mask_files import look_into
from toolkit.data.layouts.splits import is_split_word
from toolkit.data.layouts.tree import Tree, joined, spread, stem

_BRUSH = re.compile(r"(task-(\d+))-annotation-\d+-by-.*?-?tag-(.+)-\d+\.png", re.IGNORECASE)
"""Names in Label Studio's export: task-7-annotation-3-by-1-tag-disc-0.png."""

_LOOKED_AT = 6
_ENOUGH = 0.95
"""Share of the masks that must fit the pattern."""


@recogniser
def brush_strokes(tree: Tree) -> Iterator[Candidate]:
    """Label Studio's names; the pictures are named by the number of their task, or as the task is."""
    for folder, names in tree.pictures.items():
        found = [match for name in names if (match := _BRUSH.fullmatch(name))]
        if len(found) < _ENOUGH * len([name for name in names if name.lower().endswith(".png")]) or not found:
            continue
        tasks, numbers = {match[1] for match in found}, {match[2] for match in found}
        classes = tuple(sorted({match[3] for match in found}))
        images, pattern, share = "", "", 0.0
        for other, pictures in tree.pictures.items():
            stems = {stem(name) for name in pictures}
            for wanted, text in ((numbers, "task-{name}-annotation-*-tag-{class}-*.png"),
                                 (tasks, "{name}-annotation-*-tag-{class}-*.png")):  # fmt: skip
                if len(wanted & stems) / len(wanted) > share:
                    images, pattern, share = other, text, len(wanted & stems) / len(wanted)
        evidence: tuple[str, ...] = (f"{len(found)} masks in {folder or tree.root.name}/ are named as Label Studio's strokes, "
                    f"of {len(numbers)} tasks",)  # fmt: skip
        if not share:
            evidence += ("no picture is named by the number of its task, as 7.jpg for task-7-...: name them so",)
        yield _candidate(tree, "label-studio-brush", folder, images, pattern, 0.3 + 0.69 * share, evidence, classes,
                         len(numbers))  # fmt: skip


@recogniser
def names_with_classes(tree: Tree) -> Iterator[Candidate]:
    """Masks called by their picture and a class, a_disc.png and a_bar.png; or in a folder a class, disc/a.png."""
    for folder, names in tree.pictures.items():
        for images, pictures in tree.pictures.items():
            if images != folder:
                yield from _with_ends(tree, folder, names, images, {stem(name) for name in pictures})
    parents: dict[str, list[str]] = defaultdict(list)
    for folder in tree.pictures:
        above, _, name = folder.rpartition("/")
        if folder and not is_split_word(name):
            parents[above].append(folder)
    for above, folders in parents.items():
        yield from _in_folders(tree, above, folders)


def _with_ends(tree: Tree, folder: str, names: Sequence[str], images: str, pictures: set[str]) -> Iterator[Candidate]:
    sampled = spread(names, 300)
    if len(names) < 2 or pictures & {stem(name) for name in sampled}:
        return
    ends: Counter[tuple[str, str]] = Counter()
    for name in sampled:
        for sign in re.finditer(r"[_\-]", stem(name)):
            if stem(name)[: sign.start()] in pictures:
                ends[sign[0], stem(name)[sign.end() :]] += 1
                break
    signs = {sign for sign, _ in ends}
    several = Counter(stem(name)[: -len(end) - 1] for name in sampled for _, end in ends if stem(name).endswith(end))
    if len(ends) < 2 or len(ends) > 60 or len(signs) != 1 or max(several.values(), default=0) < 2:
        return
    share = ends.total() / len(sampled)
    if share < _ENOUGH or not _is_binary(tree, folder, names):
        return
    classes = tuple(sorted({end for _, end in ends}))
    evidence: tuple[str, ...] = (
        f"{len(names)} masks in {folder}/ are called by their picture and a class: {', '.join(classes[:6])}",
    )
    pattern = f"{{name}}{signs.pop()}{{class}}.png"
    yield _candidate(tree, "mask-per-class", folder, images, pattern, 0.99 * share, evidence, classes, len(pictures))


def _in_folders(tree: Tree, above: str, folders: Sequence[str]) -> Iterator[Candidate]:
    own = {folder: {stem(name) for name in tree.pictures[folder]} for folder in folders}
    for images, pictures in tree.pictures.items():
        stems = {stem(name) for name in pictures}
        inner = [one for one in folders if one != images and own[one] & stems and own[one] <= stems]
        inner = [one for one in inner if _is_binary(tree, one, tree.pictures[one])]
        if len(inner) < 2 or images in inner:
            continue
        classes = tuple(sorted(folder.rpartition("/")[2] for folder in inner))
        evidence: tuple[str, ...] = (
            f"masks of {len(stems)} pictures lie in a folder a class: {', '.join(classes[:6])}",
        )
        yield _candidate(tree, "mask-per-class", above, images, "{class}/{name}.png", 0.99, evidence, classes,
                         len(stems), inner)  # fmt: skip
        return


def _is_binary(tree: Tree, folder: str, names: Sequence[str]) -> bool:
    if not all(name.lower().endswith(".png") for name in names):
        return False
    stored = look_into(tree.root / folder / name for name in spread(names, _LOOKED_AT))
    return not stored.colors and len(stored.values) <= 2 and 0 in stored.values


def _candidate(
    tree: Tree, layout: str, folder: str, images: str, pattern: str, confidence: float, evidence: tuple[str, ...],
    classes: tuple[str, ...], number: int, inner: Sequence[str] = (),
) -> Candidate:  # fmt: skip
    parts = zip(folder.split("/"), images.split("/"), strict=False)
    common: list[str] = []
    for one, other in parts:
        if one != other:
            break
        common.append(one)
    root = joined(*common)
    masks, pictures = (path[len(root) :].strip("/") for path in (folder, images))
    arguments = {"name": "class_masks", "images": pictures or ".", "masks": joined(masks, pattern)}
    return Candidate(layout, "segmentation", round(confidence, 3), evidence, root, {WHOLE: arguments}, number,
                     ("background", *classes), annotations=frozenset(inner or (folder or ".",)))  # fmt: skip

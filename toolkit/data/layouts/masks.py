"""Pictures and masks: in folders of any names that hold files of the same names, or side by side with a suffix."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolkit.data.layouts.candidate import WHOLE, Candidate, recogniser
from toolkit.data.layouts.mask_files import Stored, look_into, looks_like_masks
from toolkit.data.layouts.splits import is_split_word, lists_of, split_of, usual_splits
from toolkit.data.layouts.tree import Tree, extension, is_below, joined, spread, stem
from toolkit.errors import listed

_LOOKED_AT = 4
"""Files of a folder that are opened to see whether they are masks."""

_SAMPLED = 400
"""Names of a folder that are compared with those of others."""

_ENOUGH = 0.5
"""Share of a folder's names that must be among another's."""

_LOSSY = (".jpg", ".jpeg")

_MASK_WORDS = re.compile(
    r"mask|label|annot|(^|[_\-/])(ann|gt|anno|seg|target|truth)([_\-/]|$)|ground.?truth|segment|semantic|trimap|_l$"
)
_OTHER_KINDS = re.compile(r"(^|/)(SegmentationObject|panoptic|gtFine|leftImg8bit)[^/]*(/|$)|panoptic|instanceIds")
_SIGN = re.compile(r"(?<=.)[_\-. ]+(?=[A-Za-z])")


class Match(NamedTuple):
    """A folder of pictures and one of masks.

    Args:
        images: folder of the pictures, relative to the tree.
        masks: folder of the masks, perhaps the same.
        suffix: end of the masks' names that the pictures' lack.
        share: share of the masks that have their picture, 0 to 1.
        number: how many pairs there are.
        stored: what some of the masks hold.
        kinds: extensions of pictures and masks that nothing else tells apart, as a.jpg and a.png.
    """

    images: str
    masks: str
    suffix: str
    share: float
    number: int
    stored: Stored
    kinds: tuple[str, str] = ("", "")


class Place(NamedTuple):
    """Where a match lies: which part of the paths is common, which differs, and which tells the split.

    Args:
        before: path of the folders above both.
        images: where the pictures are, from there.
        masks: where the masks are, from there.
        split: "train", "val", "test" or "" for none.
        habit: name of the layout that this habit is.
    """

    before: str
    images: str
    masks: str
    split: str
    habit: str


@recogniser
def masks_of_pictures(tree: Tree) -> Iterator[Candidate]:
    """A candidate for every kind of masks that belong to pictures by name."""
    groups: dict[tuple[str, str, str, str], list[tuple[Place, Match]]] = defaultdict(list)
    for match in _matches(tree):
        place = _placed(match)
        template = (place.before, _template(place.images), _template(place.masks), match.suffix or match.kinds[1])
        groups[template].append((place, match))
    for found in groups.values():
        yield _candidate(tree, found)


def _matches(tree: Tree) -> list[Match]:
    """Folders that belong together; each folder of masks with the pictures it fits best."""
    found = _beside(tree)
    suffixed = {match.images for match in found}
    owners: dict[str, set[str]] = defaultdict(set)
    for folder, names in tree.pictures.items():
        for name in names:
            owners[stem(name).lower()].add(folder)
    for folder, names in tree.pictures.items():
        if folder in suffixed or _OTHER_KINDS.search(folder) or _is_photographs(tree, folder):
            continue
        best = _partner(tree, folder, names, owners)
        if best is not None:
            found.append(best)
    return found


def _is_photographs(tree: Tree, folder: str) -> bool:
    """Whether a folder holds JPEG files mainly, which no masks are."""
    names = tree.pictures[folder]
    return sum(extension(name) in _LOSSY for name in names) > len(names) / 2


def _beside(tree: Tree) -> list[Match]:
    """Masks in the folders of their pictures, told by the end of their names: x.jpg and x_mask.png."""
    found = []
    for folder, names in tree.pictures.items():
        stems = {stem(name) for name in names}
        ends = Counter(end for one in stems for bare, end in _parted(one) if bare in stems)
        suffix, number = max(
            ends.items(), key=lambda item: (bool(_MASK_WORDS.search(item[0])), item[1]), default=("", 0)
        )
        if number == 0 or number < _ENOUGH * sum(not one.endswith(suffix) for one in stems):
            found += _same_names(tree, folder, names)
            continue
        own = [name for name in names if stem(name).endswith(suffix) and stem(name)[: -len(suffix)] in stems]
        stored = _looked(tree, folder, own)
        if looks_like_masks(stored) or _MASK_WORDS.search(suffix):
            found.append(Match(folder, folder, suffix, number / len(own), number, stored))
    return found


def _same_names(tree: Tree, folder: str, names: Sequence[str]) -> list[Match]:
    """Masks that only their extension tells from their pictures: x.jpg and x.png."""
    counts = Counter(name.rpartition(".")[2] for name in names)
    photographs = [kind for kind in counts if f".{kind.lower()}" in _LOSSY]
    kind = max(photographs, key=lambda one: counts[one], default=None)
    if kind is None or not counts["png"]:
        return []
    stems = {stem(name) for name in names if name.endswith(f".{kind}")}
    own = [name for name in names if name.endswith(".png") and stem(name) in stems]
    if len(own) < _ENOUGH * max(counts["png"], counts[kind]):  # a few are copies in another format
        return []
    stored = _looked(tree, folder, own)
    share = len(own) / counts["png"]
    return [Match(folder, folder, "", share, len(own), stored, (kind, "png"))] if looks_like_masks(stored) else []


def _parted(name: str) -> list[tuple[str, str]]:
    """A name in two, at every sign that a word follows."""
    return [(name[: sign.start()], name[sign.start() :]) for sign in _SIGN.finditer(name)]


def _looked(tree: Tree, folder: str, names: Sequence[str]) -> Stored:
    return look_into(tree.root / folder / name for name in spread(names, _LOOKED_AT))


def _partner(tree: Tree, folder: str, names: Sequence[str], owners: Mapping[str, set[str]]) -> Match | None:
    """The folder of pictures whose names these masks have, with or without a suffix."""
    sampled = spread(names, _SAMPLED)
    for suffix in _suffixes(sampled, owners, folder):
        bare = [stem(name).lower().removesuffix(suffix.lower()) for name in sampled if stem(name).endswith(suffix)]
        hits = Counter(owner for one in bare for owner in owners.get(one, ()) if owner != folder)
        ranked = sorted(hits, key=lambda other: (-hits[other], -_kinship(folder, other), other))
        for other in ranked[:4]:
            share = hits[other] / len(sampled)
            if share < _ENOUGH or not _is_mask_of(tree, folder, other):
                continue
            stored = _looked(tree, folder, names)
            if looks_like_masks(stored) or (_MASK_WORDS.search(folder.lower()) and not stored.colors):
                return Match(other, folder, suffix, share, round(share * len(names)), stored)
    return None


def _suffixes(names: Sequence[str], owners: Mapping[str, set[str]], folder: str) -> list[str]:
    """No suffix first, then the ends of names without which they are other folders' names."""
    parted = [pair for name in names for pair in _parted(stem(name))]
    ends = Counter(end for bare, end in parted if owners.get(bare.lower(), set()) - {folder})
    return ["", *(end for end, count in ends.most_common(2) if count >= _ENOUGH * len(names))]


def _kinship(one: str, other: str) -> int:
    """How many folder names two paths share, and whether they tell the same split."""
    return len(set(one.split("/")) & set(other.split("/"))) + 2 * (_split_in(one) == _split_in(other))


def _split_in(path: str) -> str | None:
    return next((found for part in path.split("/") if (found := split_of(part))), None)


def _is_mask_of(tree: Tree, folder: str, other: str) -> bool:
    """Whether the first folder is the masks of the second, and not the other way round, nor its twin."""
    mine, theirs = (bool(_MASK_WORDS.search(one.lower())) for one in (folder, other))
    if mine != theirs:
        return mine
    if _is_photographs(tree, other):
        return True
    looks = [_looked(tree, one, tree.pictures[one]) for one in (folder, other)]
    fewer, more = (len(one.values) + len(one.colors) for one in looks)
    return fewer < more and looks_like_masks(looks[0])


def _placed(match: Match) -> Place:
    """Which habit a match follows."""
    if match.images == match.masks:
        parts = match.images.split("/") if match.images else []
        place = next((number for number, part in enumerate(parts) if is_split_word(part)), None)
        split = split_of(parts[place]) or "" if place is not None else ""
        before = "/".join(parts[:place]) if place is not None else match.images
        inner = parts[place] if place is not None else ""
        return Place(before, inner, inner, split, "mask-suffix")
    images, masks = match.images.split("/"), match.masks.split("/")
    while images and masks and images[-1] == masks[-1] and not is_split_word(images[-1]):
        images, masks = images[:-1], masks[:-1]
    tail = images[-1] if images and masks and images[-1] == masks[-1] else ""
    head = 0
    while head < min(len(images), len(masks)) and images[head] == masks[head] and not is_split_word(images[head]):
        head += 1
    before, images, masks = "/".join(images[:head]), images[head:], masks[head:]
    split = _split_in("/".join(images)) or ""
    habit = "masks-by-split" if tail and split else "splits-of-masks" if split else "masks-flat"
    if len(images) == len(masks) == 1 and masks[0] == f"{images[0]}annot":
        habit = "camvid"
    return Place(before, "/".join(images), "/".join(masks), split, habit)


def _template(path: str) -> str:
    """A path with the split's word taken out, so that those of several splits are equal."""
    return "/".join("*" if is_split_word(part) else re.sub("^(train|val|test)", "*", part) for part in path.split("/"))


def _candidate(tree: Tree, found: Sequence[tuple[Place, Match]]) -> Candidate:
    """One candidate of the matches that differ by their split, or by folders inside of one."""
    place, first = found[0]
    root = place.before
    folders: dict[str, tuple[str, str]] = {}
    for one, _ in found:
        folders.setdefault(one.split, (one.images, one.masks))
    pictures = sum(match.number for _, match in found)
    share = sum(match.share * match.number for _, match in found) / max(1, pictures)
    arguments = {split: _arguments(images, masks, first) for split, (images, masks) in folders.items()}
    splits: dict[str, dict[str, Any]] = usual_splits(arguments) if any(folders) else {WHOLE: arguments[""]}
    notes: list[str] = []
    if list(splits) == [WHOLE]:
        splits, notes = _by_lists(tree, root, splits[WHOLE], found)
    unused = _unlabelled(tree, found)
    if unused:
        notes.append(f"pictures without masks are not used: {listed(unused)}")
    evidence = (
        f"{pictures} masks in {_shown(tree, first.masks)} belong to pictures in {_shown(tree, first.images)} by name"
        + (f" with the suffix {first.suffix}" if first.suffix else ""),
        _holds(first.stored),
    )
    return Candidate(
        place.habit,
        "segmentation",
        round(0.98 * share if looks_like_masks(first.stored) else 0.8 * share, 3),
        evidence,
        root,
        splits,
        pictures,
        masks=tuple(_mask_paths(tree, found)),
        annotations=frozenset(match.masks or "." for _, match in found),
        notes=tuple(notes),
    )


def _arguments(images: str, masks: str, match: Match) -> dict[str, Any]:
    if match.kinds[0]:
        images, masks = (joined(folder, f"*.{kind}") for folder, kind in zip((images, masks), match.kinds, strict=True))
    given = {"name": "image_masks", "images": images or ".", "masks": masks or "."}
    return given | ({"mask_suffix": match.suffix} if match.suffix else {})


def _by_lists(
    tree: Tree, root: str, whole: dict[str, Any], found: Sequence[tuple[Place, Match]]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The splits that lists of names in the folder make of one piece."""
    folders = {match.images for _, match in found}
    known = [stem(name) for folder in folders for name in tree.pictures[folder]]
    lists = lists_of(tree, root, known)
    if "train" not in lists:
        return {WHOLE: whole}, []
    return usual_splits({split: whole | {"split": path} for split, path in lists.items()}), []


def _unlabelled(tree: Tree, found: Sequence[tuple[Place, Match]]) -> list[str]:
    """Folders of pictures beside those with masks."""
    used = {folder for _, match in found for folder in (match.images, match.masks)}
    parents = {match.images.rpartition("/")[0] for _, match in found if "/" in match.images}
    return [
        folder
        for folder in tree.pictures
        if folder not in used
        and folder.rpartition("/")[0] in parents
        and is_split_word(folder.rpartition("/")[2])
        and not any(is_below(folder, one) for one in used if one)
    ]


def _mask_paths(tree: Tree, found: Iterable[tuple[Place, Match]]) -> Iterator[str]:
    for _, match in found:
        for name in tree.pictures[match.masks]:
            if stem(name).endswith(match.suffix) and name.endswith(match.kinds[1]):
                yield joined(match.masks, name)


def _holds(stored: Stored) -> str:
    if stored.colors:
        return f"the masks hold colours ({len(stored.colors)} in {stored.files} of them)"
    values = sorted(stored.values)
    shown = ", ".join(map(str, values[:8])) + (" ..." if len(values) > 8 else "")
    return f"the masks hold {'palette indices' if stored.palette else 'values'} {shown} (in {stored.files} of them)"


def _shown(tree: Tree, folder: str) -> str:
    return f"{folder or tree.root.name}/"

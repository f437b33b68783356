"""`data.split` at work: the images of each part, found once, and the data sets and transforms of the parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.division import follows, makes
from toolkit.config.sections import Config, DivisionSection, SplitSection
from toolkit.contracts import Dataset, Transform
from toolkit.data.loading.class_presence import class_presence
from toolkit.data.splits.divide import divided, nested_share
from toolkit.data.splits.groups import MOST_COMPARED, image_groups, joined, look_alikes, same_marks
from toolkit.data.splits.lists import SPLITS, SplitNames, positions, read_lists
from toolkit.data.transforms.pipeline import transform_name
from toolkit.errors import DataError, Problem
from toolkit.preflight.data.read import read_samples, sample_name
from toolkit.preflight.data.record import SampleRecord
from toolkit.samples import IGNORE_INDEX


class Divided(dict[str, list[str]]):
    """Names of the images of each part, sorted. notes: sentences about how they came about."""

    notes: tuple[str, ...] = ()

    @staticmethod
    def of(names: SplitNames, notes: Iterable[str] = ()) -> Divided:
        """Parts by name, with what is to be said of them."""
        parts = Divided({split: list(own) for split, own in names.items()})
        parts.notes = tuple(notes)
        return parts


def kept_parts(folder: Path) -> Divided:
    """The parts that a run was made with, from its `splits/`. Raises DataError for lists that cannot be read."""
    return Divided.of(read_lists(folder), [f"as when the run began ({folder})"])


def sample_names(dataset: Dataset) -> list[str]:
    """What the samples of a data set are called: the paths of their images relative to its root."""
    return [sample_name(dataset, index) for index in range(len(dataset))]


def divide(dataset: Dataset, rule: DivisionSection, group: str | None = None, identity: str = "") -> Divided:
    """The names of each part of a data set. Pictures are read, once, to find near copies and the classes they hold.

    Args:
        dataset: the whole data set, of which every sample gets a part.
        rule: what the config says in `data.split`.
        group: which images belong together, as `data.group` says it; None joins none.
        identity: class and arguments of the data set, for what is remembered of its pictures; "" remembers nothing.

    Raises:
        DataError: for lists that do not fit the data, and data too few for the parts.
    """
    names = sample_names(dataset)
    if rule.lists is not None:
        path = Path(rule.lists)
        found, notes = positions(read_lists(path), names, path)
        own_names = {split: [names[place] for place in own] for split, own in found.items()}
        return _filled(Divided.of(own_names, [f"as {path} says", *notes]), rule)
    groups, presence, notes = _known(dataset, names, rule, group, identity)
    labels, shares = _shares(rule)
    numbers = divided(names, groups, presence, shares, rule.seed)
    parts: dict[str, list[str]] = {split: [] for split in dict.fromkeys(labels)}
    for number, name in sorted(zip(numbers.tolist(), names, strict=True), key=lambda pair: pair[1]):
        parts[labels[number]].append(name)
    return _filled(Divided.of(parts, [*notes, *_lacking(dataset.classes, names, presence, parts)]), rule)


def _shares(rule: DivisionSection) -> tuple[list[str], list[float]]:
    """The split and the share of each part that is made."""
    if rule.folds is None:
        pairs = [("train", 1 - rule.val - rule.test), ("val", rule.val), ("test", rule.test)]
    else:
        fold = (1 - rule.test) / rule.folds
        pairs = [("val" if number == rule.fold else "train", fold) for number in range(rule.folds)]
        pairs.append(("test", rule.test))
    kept = [(split, share) for split, share in pairs if share > 0]
    return [split for split, _ in kept], [share for _, share in kept]


def _known(
    dataset: Dataset, names: Sequence[str], rule: DivisionSection, group: str | None, identity: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Group number of each image, the classes it holds, and what is to be said of both."""
    if rule.by == "image":
        return np.arange(len(names)), _presence(dataset), []
    grouped = image_groups(names, group)
    records = read_samples(dataset, "look for near copies", identity)
    links = look_alikes([one.digest for one in records], [one.perceptual_hash for one in records])
    numbers = joined(len(names), [*same_marks(grouped.names), *links])
    notes = [*grouped.notes, *_told(joined(len(names), links))]
    if len(records) > MOST_COMPARED:
        notes.append(f"near copies were not looked for among {len(records):,} images (more than {MOST_COMPARED:,})")
    return numbers, _presence_of(records, len(dataset.classes)), notes


def _told(links: np.ndarray) -> list[str]:
    """How many pictures have a near copy, which goes where they go."""
    sizes = np.bincount(links)
    sets = int((sizes > 1).sum())
    if not sets:
        return []
    return [f"{int(sizes[sizes > 1].sum())} images are near copies of one another, in {sets} sets, and stay together"]


def _presence(dataset: Dataset) -> np.ndarray:
    """(N, K) bool; no class at all for data without any, such as maps of numbers."""
    sample = dataset[0]
    if sample.label_map is None and sample.boxes is None and sample.image_label is None:
        return np.zeros((len(dataset), 0), bool)
    return class_presence(dataset)


def _presence_of(records: Sequence[SampleRecord], classes: int) -> np.ndarray:
    found = np.zeros((len(records), classes), bool)
    for row, record in zip(found, records, strict=True):
        row[[label for label in _labels(record) if 0 <= label < classes]] = True
    return found


def _labels(record: SampleRecord) -> Iterable[int]:
    if record.labels is not None:
        return [label for label in record.labels if label != IGNORE_INDEX]
    if record.boxes is not None:
        return {int(row[4]) for row in record.boxes if not row[5]}
    return [] if record.image_label is None else [record.image_label]


def _lacking(classes: Sequence[str], names: Sequence[str], presence: np.ndarray, parts: SplitNames) -> list[str]:
    """A sentence for each part that has none of some classes which other parts have."""
    row = {name: number for number, name in enumerate(names)}
    held = presence.any(0)
    told = []
    for split, own in parts.items():
        here = presence[[row[name] for name in own]].any(0)
        absent = [classes[label] for label in np.flatnonzero(held & ~here).tolist()]
        if absent:
            told.append(f"{split} has no image with {', '.join(absent)}: too few images or groups hold it")
    return told


def _filled(parts: Divided, rule: DivisionSection) -> Divided:
    """The same. Raises DataError when a part that is wanted has no image."""
    empty = [split for split in SPLITS if makes(rule, split) and not parts.get(split)]
    if empty:
        have = ", ".join(f"{split} {len(own)}" for split, own in parts.items())
        message = f"gives no image to {' and '.join(empty)} ({have})"
        raise DataError(Problem("data.split", message, "ask for larger shares, or add images; groups stay whole"))
    return parts


def part_of(dataset: Dataset, names: Sequence[str], split: str) -> Dataset:
    """The samples of those names, in the data set's order. Raises DataError for names that it has not.

    Args:
        dataset: the whole data set, of which every sample gets a part.
        names: names of the samples that are wanted.
        split: name of the part for the message.
    """
    known = {name: index for index, name in enumerate(sample_names(dataset))}
    missing = [name for name in names if name not in known]
    if missing:
        message = f"{len(missing)} of its {len(names)} images are not there any more: {', '.join(missing[:5])}"
        raise DataError(Problem(f"data.{split}", message, "bring the data back to what it was, or start a new run"))
    return dataset.subset(sorted(known[name] for name in names))


def share_of(dataset: Dataset, config: Config) -> Dataset:
    """The `data.share` of training data: the data set itself when all of it is wanted."""
    if config.data.share == 1:
        return dataset
    names = sample_names(dataset)
    groups = joined(len(names), same_marks(image_groups(names, config.data.group).names))
    seed = config.data.split.seed if config.data.split is not None else 0
    return dataset.subset(nested_share(names, groups, _presence(dataset), config.data.share, seed).tolist())


def usable_in_evaluation(transforms: Sequence[Transform]) -> list[Transform]:
    """Those that are not random and move no pixel."""
    return [one for one in transforms if not one.random and not one.moves]


def written_out(config: Config, built: Sequence[Transform]) -> Config:
    """The config whose sections `val` and `test`, where they follow from train's, name the transforms they have.

    Args:
        config: the checked config, whose data.split says what is divided.
        built: the transforms of train, in order.
    """
    kept = [
        part for part, one in zip(config.data.train.transforms, built, strict=True) if not one.random and not one.moves
    ]
    made: dict[str, Any] = {
        split: SplitSection(dataclasses.replace(config.data.train.dataset, path=("data", split, "dataset")), kept)
        for split in ("val", "test")
        if follows(config, split)
    }
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **made)) if made else config


def division_said(config: Config, parts: Divided, built: Sequence[Transform]) -> list[str]:
    """Lines for the start: the sizes of the parts, how they were made, and which transforms val and test go without.

    Args:
        config: the checked config, its sections as they followed.
        parts: the names of each part.
        built: the transforms of train, in order.
    """
    sizes = ", ".join(f"{split} {len(own)}" for split, own in parts.items())
    lines = [f"split      {sizes}", *(f"split      {note}" for note in parts.notes)]
    followers = [split for split in ("val", "test") if follows(config, split)]
    left = [transform_name(one) for one in built if one.random or one.moves]
    if followers and left:
        kept = [transform_name(one) for one in usable_in_evaluation(built)]
        with_ = f"{', '.join(kept)} of train's transforms" if kept else "no transform"
        lines.append(
            f"split      {' and '.join(followers)} get {with_}; not those that are random or move pixels: {', '.join(left)}"
        )
    return lines

"""What reading has shown: of one sample, small enough to be kept for a hundred thousand, and of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import Fault
from toolkit.data.formats.pairs import name_in
from toolkit.errors import Place, Problem


@dataclass(frozen=True)
class RecordedFault:
    """One thing wrong with a sample, as `toolkit.data.faults.leaving_out.FileError` says it.

    Args:
        kind: short stable word for the fault ("truncated").
        problem: what is wrong and what to do.
        file: the file at fault, "" when unknown.
        counts: values outside a table and how many pixels have each.
        table: what would have been right, in words.
        boxes: those at fault, x1, y1, x2, y2 in pixels.
    """

    kind: str
    problem: Problem
    file: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    table: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class SampleRecord:
    """What was seen of one sample.

    Args:
        name: name of the image, relative to the data set's root.
        faults: () for a sample that can be used.
        traits: words for what is uncommon about the files, see `image_traits`; "colorless" when all channels are equal;
            "damage: ..." when the decoder complained of what may be harmless.
        annotation_traits: words for what is uncommon about the files, see `image_traits`; "colorless" when all channels
            are equal; "damage: ..." when the decoder complained of what may be harmless.
        size: (height, width) as read, (0, 0) when it could not be.
        channels: number of channels of the image as read.
        mean: mean of each channel's values 0..1.
        square: mean of the squares of each channel's values 0..1.
        digest: number that only equal pixels share (`pixel_digest`).
        perceptual_hash: hash that near copies share nearly (`perceptual_hash`).
        labels: pixels of each label, None without a label map.
        boxes: rows x1, y1, x2, y2, label, crowd, difficult; None without boxes.
        image_label: class of the whole image, or None.
    """

    name: str
    faults: tuple[RecordedFault, ...] = ()
    traits: tuple[str, ...] = ()
    annotation_traits: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    mean: tuple[float, ...] = ()
    square: tuple[float, ...] = ()
    digest: str = ""
    perceptual_hash: str = ""
    labels: dict[int, int] | None = None
    boxes: tuple[tuple[float, ...], ...] | None = None
    image_label: int | None = None


def record_version() -> str:
    """A hash of every field that a stored record has: records of other fields are none of ours."""
    kept: tuple[Any, ...] = (SampleRecord, RecordedFault, Problem)
    names = [f"{one.name}: {one.type}" for cls in kept for one in fields(cls)]
    return hashlib.sha256(repr([*names, Place._fields]).encode()).hexdigest()[:16]


class SplitRecords(NamedTuple):
    """What was read of one split.

    Args:
        name: name of the split: "train", "val" or "test".
        dataset: the data set that was read.
        faults: faults of samples that the data set was made without.
        records: what was seen of each sample, in the data set's order.
        skipping: whether bad samples are left out, and said, but stop nothing.
    """

    name: str
    dataset: Dataset
    faults: Sequence[Fault]
    records: Sequence[SampleRecord]
    skipping: bool = False

    @property
    def where(self) -> str:
        """Its place in a config, for a problem of several files."""
        return f"data.{self.name}"

    def image(self, index: int) -> str:
        """The absolute path of a sample's image, or its name where the data set does not show its files."""
        files = self.dataset.files(index)
        return str(files[0].absolute()) if files else self.records[index].name

    def short(self, path: str) -> str:
        """A path as it is told: relative to the data set's root."""
        return name_in(self.dataset.root.absolute(), Path(path).absolute())


def count(number: int, what: str) -> str:
    """A number and a word in the right number: `1 image`, `2 images`."""
    return f"{number} {what}" + ("" if number == 1 else "es" if what.endswith(("x", "s")) else "s")

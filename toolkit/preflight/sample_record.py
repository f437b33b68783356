"""What reading one sample has shown, small enough to be kept for a hundred thousand of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

from toolkit.errors import Place, Problem


@dataclass(frozen=True)
class RecordedFault:
    """One thing wrong with a sample, as `toolkit.data.faults.leaving_out.FileError` says it.

    file: the one at fault, "" when unknown.
    """

    kind: str
    problem: Problem
    file: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    table: str = ""


@dataclass(frozen=True)
class SampleRecord:
    """What was seen of one sample.

    name: of the image, relative to the data set's root. faults: () for a sample that can be used.
    traits, annotation_traits: words for what is uncommon about the files, see `image_traits`; "colorless" when all
    channels are equal; "damage: ..." when the decoder complained of what may be harmless.
    size: (height, width) as read, (0, 0) when it could not be. channels: of the image as read.
    mean, square: of each channel's values 0..1, their mean and the mean of their squares.
    digest, look: see `fingerprint`. labels: pixels of each label, None without a label map.
    boxes: rows x1, y1, x2, y2, label, crowd, difficult; None without boxes. image_label: of the whole image.
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
    look: str = ""
    labels: dict[int, int] | None = None
    boxes: tuple[tuple[float, ...], ...] | None = None
    image_label: int | None = None


def record_version() -> str:
    """A hash of every field that a stored record has: records of other fields are none of ours."""
    kept: tuple[Any, ...] = (SampleRecord, RecordedFault, Problem)
    names = [f"{one.name}: {one.type}" for cls in kept for one in fields(cls)]
    return hashlib.sha256(repr([*names, Place._fields]).encode()).hexdigest()[:16]

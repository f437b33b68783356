"""What reading one sample has shown, small enough to be kept for a hundred thousand of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from toolkit.errors import Problem


class RecordedFault(NamedTuple):
    """One thing wrong with a sample. See `toolkit.data.faults.leaving_out.FileError`; file: the one at fault, "" when unknown."""

    kind: str
    problem: Problem
    file: str
    counts: dict[str, int]
    table: str


class SampleRecord(NamedTuple):
    """name: of the image, relative to the data set's root. faults: () for a sample that can be used.

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

    def as_json(self) -> list[Any]:
        """Plain lists, to be given back to `of_json`."""
        labels = None if self.labels is None else sorted(self.labels.items())
        faults = [[fault.kind, list(fault.problem), fault.file, fault.counts, fault.table] for fault in self.faults]
        return [self.name, faults, *self[2:10], labels, self.boxes, self.image_label]

    @staticmethod
    def of_json(row: list[Any]) -> SampleRecord:
        """Raises ValueError, TypeError or IndexError for anything `as_json` does not make."""
        name, faults, traits, annotation_traits, size, channels, mean, square, digest, look, labels, boxes, label = row
        return SampleRecord(
            str(name),
            tuple(
                RecordedFault(kind, Problem(*words), file, counts, table) for kind, words, file, counts, table in faults
            ),
            tuple(traits),
            tuple(annotation_traits),
            (int(size[0]), int(size[1])),
            int(channels),
            tuple(mean),
            tuple(square),
            digest,
            look,
            None if labels is None else {int(key): int(value) for key, value in labels},
            None if boxes is None else tuple(tuple(box) for box in boxes),
            label,
        )

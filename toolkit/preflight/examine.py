"""One sample looked at: read once, and everything a check wants to know of it taken from that one reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import FileError
from toolkit.data.formats.pairs import name_in
from toolkit.data.images.checks import jpeg_complaint
from toolkit.data.images.fingerprint import look, pixel_digest
from toolkit.data.images.read import IMAGE_SUFFIXES, read_image
from toolkit.data.images.traits import image_traits, wrong_suffix
from toolkit.errors import Problem, UserError
from toolkit.ops.confusion import count_labels
from toolkit.preflight.sample_record import RecordedFault, SampleRecord
from toolkit.samples import Boxes, Sample

_PARTS = 4
"""Every fourth pixel each way is looked at to find a picture without colour."""


class Examiner:
    """Reads samples of a data set and records what it sees."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> SampleRecord:
        """The record of one sample; a UserError while it is read becomes its faults."""
        files = self.dataset.files(index)
        sample: Sample | None = None
        faults: tuple[RecordedFault, ...] = ()
        try:
            sample = self.dataset[index]
        except UserError as error:
            faults = tuple(_fault(error, problem, files) for problem in error.problems)
        name = sample.name if sample is not None else sample_name(self.dataset, index)
        record = SampleRecord(name, faults)
        image = sample.image if sample is not None else self._image_alone(files, faults)
        if image is None:
            return record
        record = _with_picture(record, image)
        if files:
            data = files[0].read_bytes()
            record = _with_files(record, files, data)
            record = _with_damage(record, files[0], data)
        return record if sample is None else _with_annotation(record, sample)

    def _image_alone(self, files: Sequence[Path], faults: Sequence[RecordedFault]) -> np.ndarray | None:
        """The image of a sample whose annotation is at fault: it may be at fault, or in two splits, as well."""
        if not files or any(fault.file == str(files[0]) and fault.kind not in _OF_THE_PAIR for fault in faults):
            return None
        try:
            return read_image(files[0], self.dataset.channels)
        except UserError:
            return None


_OF_THE_PAIR = ("image_size", "image_size_exif", "box_outside")
"""Faults that are told of an image which itself can be read."""


def sample_name(dataset: Dataset, index: int) -> str:
    """What a sample is called, without reading it: its image's path relative to the data set's root."""
    files = dataset.files(index)
    return name_in(dataset.root, files[0]) if files else f"sample {index}"


def _fault(error: UserError, problem: Problem, files: Sequence[Path]) -> RecordedFault:
    first = str(files[0]) if files else ""
    if isinstance(error, FileError):
        return RecordedFault(error.kind, problem, error.file or first, error.counts, error.table)
    return RecordedFault("sample", problem, problem.place.file or first)


def _with_picture(record: SampleRecord, image: np.ndarray) -> SampleRecord:
    mean, deviation = (np.ravel(value) / 255 for value in cv2.meanStdDev(image))
    sparse = image[::_PARTS, ::_PARTS]
    plain = image.shape[2] == 3 and bool((sparse[..., :1] == sparse[..., 1:]).all())
    return dataclasses.replace(
        record,
        size=(image.shape[0], image.shape[1]),
        channels=image.shape[2],
        mean=tuple(round(value, 7) for value in mean.tolist()),
        square=tuple(round(value, 7) for value in (mean**2 + deviation**2).tolist()),
        digest=pixel_digest(image),
        look=look(image),
        traits=("colorless",) if plain else (),
    )


def _with_files(record: SampleRecord, files: Sequence[Path], data: bytes) -> SampleRecord:
    traits = list(record.traits) + image_traits(files[0], data)
    annotation = files[1] if len(files) > 1 and files[1].suffix.lower() in IMAGE_SUFFIXES else None
    true = ""
    if annotation is not None and annotation.is_file():
        with annotation.open("rb") as file:
            true = wrong_suffix(annotation, file.read(16))
    return dataclasses.replace(record, traits=tuple(traits), annotation_traits=(f"suffix:{true}",) if true else ())


def _with_damage(record: SampleRecord, file: Path, data: bytes) -> SampleRecord:
    complaint = jpeg_complaint(data) if data[:2] == b"\xff\xd8" else None
    if complaint is None:
        return record
    if complaint.harmless:
        return dataclasses.replace(record, traits=(*record.traits, f"damage: {complaint.text}"))
    message = f"is damaged inside, though its end is intact ({complaint.text}); part of the picture is wrong"
    problem = Problem(str(file), message, "fetch it again, or remove it")
    return dataclasses.replace(record, faults=(*record.faults, RecordedFault("damaged", problem, str(file))))


def _with_annotation(record: SampleRecord, sample: Sample) -> SampleRecord:
    labels = None
    if sample.label_map is not None:
        counts = count_labels(sample.label_map)
        labels = {label: int(counts[label]) for label in np.flatnonzero(counts).tolist()}
    boxes = None if sample.boxes is None else _rows(sample.boxes)
    return dataclasses.replace(record, labels=labels, boxes=boxes, image_label=sample.image_label)


def _rows(boxes: Boxes) -> tuple[tuple[float, ...], ...]:
    flags = np.stack([boxes.labels, boxes.crowd, boxes.difficult], axis=1).astype(int).tolist()
    corners = boxes.xyxy.astype(np.float64).round(3).tolist()
    return tuple((*corner, *flag) for corner, flag in zip(corners, flags, strict=True))

"""Every sample read once and looked at, by several processes; what is known is not read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import FileError
from toolkit.data.formats.pairs import name_in
from toolkit.data.images.checks import jpeg_complaint
from toolkit.data.images.fingerprint import perceptual_hash, pixel_digest
from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.read import read_image
from toolkit.data.images.traits import image_traits, wrong_suffix
from toolkit.data.loading.workers import received, signals_held, start_worker, unwarned
from toolkit.engine.machine import usable_cores
from toolkit.errors import Problem, UserError
from toolkit.ops.confusion import count_labels
from toolkit.preflight.data.cache import RecordCache
from toolkit.preflight.data.record import RecordedFault, SampleRecord
from toolkit.progress import Progress
from toolkit.samples import Boxes, Sample

_PARTS = 4
"""Every fourth pixel each way is looked at to find a picture without colour."""


def examine(dataset: Dataset, index: int) -> SampleRecord:
    """The record of one sample; a UserError while it is read becomes its faults."""
    files = dataset.files(index)
    sample: Sample | None = None
    faults: tuple[RecordedFault, ...] = ()
    try:
        sample = dataset[index]
    except UserError as error:
        faults = tuple(_fault(error, problem, files) for problem in error.problems)
    name = sample.name if sample is not None else sample_name(dataset, index)
    record = SampleRecord(name, faults)
    image = sample.image if sample is not None else _image_alone(dataset, files, faults)
    if image is None:
        return record
    record = _with_picture(record, image)
    if files:
        data = files[0].read_bytes()
        record = _with_files(record, files, data)
        record = _with_damage(record, files[0], data)
    return record if sample is None else _with_annotation(record, sample)


def _image_alone(dataset: Dataset, files: Sequence[Path], faults: Sequence[RecordedFault]) -> np.ndarray | None:
    """The image of a sample whose annotation is at fault: it may be at fault, or in two splits, as well."""
    if not files or any(fault.file == str(files[0]) and fault.kind not in _OF_THE_PAIR for fault in faults):
        return None
    try:
        return read_image(files[0], dataset.channels, dataset.value_range)
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
        return RecordedFault(error.kind, problem, error.file or first, error.counts, error.table, error.boxes)
    return RecordedFault("sample", problem, problem.place.file or first)


def _with_picture(record: SampleRecord, image: np.ndarray) -> SampleRecord:
    if image.shape[2] in (1, 3):
        mean, deviation = (np.ravel(value) / 255 for value in cv2.meanStdDev(image))
    else:
        mean, deviation = image.mean((0, 1)) / 255, image.std((0, 1)) / 255
    sparse = image[::_PARTS, ::_PARTS]
    plain = image.shape[2] == 3 and bool((sparse[..., :1] == sparse[..., 1:]).all())
    return dataclasses.replace(
        record,
        size=(image.shape[0], image.shape[1]),
        channels=image.shape[2],
        mean=tuple(round(value, 7) for value in mean.tolist()),
        square=tuple(round(value, 7) for value in (mean**2 + deviation**2).tolist()),
        digest=pixel_digest(image),
        perceptual_hash=perceptual_hash(image),
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


_CHUNK = 16
"""Samples a process is asked for at a time."""

_MOST_PROCESSES = 16


class _Chunks(TorchDataset[list[SampleRecord]]):
    """A list of indices to the list of their records."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> list[SampleRecord]:
        return [examine(self.dataset, index) for index in indices]


def read_samples(
    dataset: Dataset, label: str, identity: str = "", workers: int | None = None, *, shown: bool = True
) -> list[SampleRecord]:
    """The record of every sample, in order.

    Args:
        dataset: the data set that is read.
        label: word for the progress ("read train").
        identity: class and arguments of the data set, for the cache; "" neither uses nor makes one.
        workers: number of processes; 0 reads in this one; None takes one a processor core.
        shown: whether progress is shown on stderr.
    """
    cache = RecordCache(identity) if identity else None
    keys = [cache.key(dataset.files(index)) if cache else None for index in range(len(dataset))]
    known = [cache.get(key) if cache else None for key in keys]
    missing = [index for index, record in enumerate(known) if record is None]
    records: dict[int, SampleRecord] = {index: record for index, record in enumerate(known) if record is not None}
    try:
        with Progress(label, len(dataset), "img", shown=shown and bool(missing)) as progress:
            progress.start_at(len(records))
            for index, record in _read(dataset, missing, _processes(workers, len(missing))):
                records[index] = record
                progress.update(len(records))
    finally:  # what was read before an interruption need not be read again
        if cache is not None and missing:
            named = {key: records[index] for index, key in enumerate(keys) if key is not None and index in records}
            cache.keep(named)
    return [records[index] for index in range(len(dataset))]


def _processes(workers: int | None, samples: int) -> int:
    """None: one a core this process may use, but none for a handful of samples."""
    if workers is not None:
        return workers
    cores = usable_cores()
    return min(cores, _MOST_PROCESSES) if samples > 2 * _CHUNK and cores > 1 else 0


def _read(dataset: Dataset, indices: list[int], processes: int) -> Iterator[tuple[int, SampleRecord]]:
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    loader: Any = DataLoader(
        _Chunks(dataset),
        batch_size=None,
        sampler=chunks,
        num_workers=min(processes, len(chunks)),
        worker_init_fn=start_worker if processes else None,
        collate_fn=_as_it_is,
        generator=torch.Generator().manual_seed(0),  # else the global random state would move
    )
    with signals_held(), unwarned():
        parcels = iter(loader)
    for chunk, records in zip(chunks, received(parcels), strict=True):
        yield from zip(chunk, records, strict=True)


def _as_it_is(records: list[SampleRecord]) -> list[SampleRecord]:
    return records

"""Every sample of a data set read and recorded, by several processes, with progress; what is known is not read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from toolkit.contracts import Dataset
from toolkit.data.loading.loader import start_worker
from toolkit.preflight.examine import Examiner
from toolkit.preflight.record_cache import RecordCache
from toolkit.preflight.sample_record import SampleRecord
from toolkit.progress import Progress

_CHUNK = 16
"""Samples a process is asked for at a time."""

_MOST_PROCESSES = 16


class _Chunks(TorchDataset[list[SampleRecord]]):
    """A list of indices to the list of their records. The examiner is made in the process that uses it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._examiner: Examiner | None = None

    def __getitem__(self, indices: list[int]) -> list[SampleRecord]:
        if self._examiner is None:
            self._examiner = Examiner(self.dataset)
        return [self._examiner(index) for index in indices]


def read_samples(
    dataset: Dataset, label: str, identity: str = "", workers: int | None = None, *, shown: bool = True
) -> list[SampleRecord]:
    """The record of every sample, in order.

    label: of the progress ("read train"). identity: of the data set for the cache, what class and arguments it has; ""
    neither uses nor makes a cache. workers: processes; 0 reads in this one; None takes one a processor core. shown:
    whether progress is.
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
    for chunk, records in zip(chunks, loader, strict=True):
        yield from zip(chunk, records, strict=True)


def _as_it_is(records: list[SampleRecord]) -> list[SampleRecord]:
    return records

"""Every file of every split read and judged: what `check --full` adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import Fault
from toolkit.preflight.data.copies import note_copies
from toolkit.preflight.data.faults import note_faults
from toolkit.preflight.data.image import note_images
from toolkit.preflight.data.label import note_boxes, note_classes, note_masks
from toolkit.preflight.data.read import read_samples
from toolkit.preflight.data.record import SplitRecords
from toolkit.preflight.data.statistics import class_images, note_statistics
from toolkit.preflight.data.stray import note_stray_files
from toolkit.preflight.findings import Report


class ScanSplit(NamedTuple):
    """What to scan.

    Args:
        name: name of the split: "train", "val" or "test".
        dataset: the data set that is read.
        faults: what was noted while the data set was made (`leaving_out`).
        identity: class and arguments of the data set, for the cache; "" for none.
        skipping: whether bad samples are left out of training and evaluation, so that they are warnings.
    """

    name: str
    dataset: Dataset
    faults: Sequence[Fault] = ()
    identity: str = ""
    skipping: bool = False


def scan(report: Report, splits: Sequence[ScanSplit], workers: int | None = None, *, shown: bool = True) -> None:
    """Reads all samples of the splits (train first) and adds findings, facts, tables and statistics to the report.

    Nothing is written but the cache, in the user's cache folder.

    Args:
        report: takes findings, facts, tables and statistics.
        splits: the splits to read, the training data first.
        workers: number of processes; 0 reads in this one; None takes one a processor core.
        shown: whether progress is shown on stderr.
    """
    read = []
    for split in splits:
        records = read_samples(split.dataset, f"read {split.name}", split.identity, workers, shown=shown)
        read.append(SplitRecords(split.name, split.dataset, split.faults, records, split.skipping))
    for one in read:
        bad = sum(bool(record.faults) for record in one.records) + sum(len(fault.names) for fault in one.faults)
        number = len(one.records) + sum(len(fault.names) for fault in one.faults)
        skipped = ", left out (data.on_bad: skip)" if bad and one.skipping else ""
        report.note("read", f"{one.name}: {number} samples, {bad} bad{skipped}")
        note_faults(report, one)
        note_images(report, one)
        note_masks(report, one)
        note_boxes(report, one)
    if read:
        note_copies(report, read)
        note_stray_files(report, read)
        note_classes(report, read, {one.name: class_images(one) for one in read})
        note_statistics(report, read)

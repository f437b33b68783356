"""Masks and boxes that can be used, but look like mistakes; classes that are in one split only, or in none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from toolkit.data.formats.box_checks import BoxFixes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.errors import Problem, listed
from toolkit.ops.boxes import box_iou
from toolkit.preflight.data.record import SplitRecords, count
from toolkit.preflight.findings import Finding, FoundBox, Report
from toolkit.samples import IGNORE_INDEX

TINY = 3.0
"""Pixels: a box with a shorter side is told. At the resolution of any net it is a point; most are stray clicks."""

DOUBLED = 0.9
"""Two boxes of one class in one image that overlap by this IoU or more are told as one object marked twice."""

_MOST_BOXES = 200
"""Boxes of one finding that are kept, to be drawn."""

_LABEL, _CROWD = 4, 5
"""Columns of a recorded box."""


def note_masks(report: Report, split: SplitRecords) -> None:
    """Masks without anything to learn: ignored everywhere, or one class everywhere."""
    ignored, constant = [], []
    for index, record in enumerate(split.records):
        if record.labels is not None and set(record.labels) == {IGNORE_INDEX}:
            ignored.append(index)
        elif record.labels is not None and len(record.labels) == 1 and len(split.dataset.classes) > 1:
            constant.append(index)
    if ignored:
        message = f"{count(len(ignored), 'mask')} in which every pixel is ignored"
        _warn(
            report, split, "mask_ignored", message, "they teach and measure nothing: annotate or remove them", ignored
        )
    if constant:
        names = split.dataset.classes
        held = sorted({names[next(iter(split.records[i].labels or {0: 0}))] for i in constant})
        message = f"{count(len(constant), 'mask')} with a single class everywhere ({listed(held)})"
        _warn(report, split, "mask_constant", message, "look whether they are empty or unfinished", constant)


def _mask_file(split: SplitRecords, index: int) -> str:
    files = split.dataset.files(index)
    return str(files[1].absolute()) if len(files) > 1 else split.image(index)


def _warn(report: Report, split: SplitRecords, kind: str, message: str, suggestion: str, found: Sequence[int]) -> None:
    files = tuple(_mask_file(split, index) for index in found)
    message = f"{message}: {listed(split.short(file) for file in files)}"
    report.add(Finding(kind, Problem(split.where, message, suggestion), "warning", len(files), files))


def note_boxes(report: Report, split: SplitRecords) -> None:
    """Boxes that are doubled or tiny, and images without any."""
    empty: list[int] = []
    twice: list[FoundBox] = []
    doubled: list[FoundBox] = []
    tiny: list[FoundBox] = []
    for index, record in enumerate(split.records):
        if record.boxes is None:
            continue
        if not record.boxes:
            empty.append(index)
            continue
        boxes = np.array(record.boxes, np.float64)
        sides = (boxes[:, 2:4] - boxes[:, :2]).min(axis=1)
        tiny += [_found(split, index, row) for row in boxes[sides < TINY]]
        for row, overlap in _repeats(boxes):
            (twice if overlap == 1 else doubled).append(_found(split, index, row))
    _note_boxes(
        report, split, "duplicate_box", twice,
        "{} repeating another of the same class and place", "remove the repeats: they count twice in loss and recall",
    )  # fmt: skip
    _note_boxes(
        report, split, "doubled_box", doubled,
        "{} all but covering another of the same class (IoU " + f"{DOUBLED:g} or more)", "is one object marked twice?",
    )  # fmt: skip
    _note_boxes(
        report, split, "tiny_box", tiny, "{} with a side below " + f"{TINY:g} pixels", "stray clicks? remove them"
    )
    if empty:
        files = tuple(split.image(index) for index in empty)
        message = f"{len(empty)} of {len(split.records)} images have no box: {listed(map(split.short, files))}"
        suggestion = "they serve as background; make sure that no annotation is missing"
        report.add(Finding("empty_annotation", Problem(split.where, message, suggestion), "warning", len(empty), files))
    _mended(report, split)


def _repeats(boxes: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Boxes that repeat an earlier one of their class, with 1 for the same corners or else the overlap; no crowds."""
    found = []
    for label in np.unique(boxes[:, _LABEL]):
        own = boxes[(boxes[:, _LABEL] == label) & (boxes[:, _CROWD] == 0)]
        if len(own) < 2:
            continue
        same = (own[:, None, :4] == own[None, :, :4]).all(axis=2)
        corners = torch.from_numpy(own[:, :4])
        overlap = np.where(same, 1.0, np.minimum(box_iou(corners, corners).numpy(), 1 - 1e-9))
        earlier = np.tril(overlap, -1).max(axis=1)
        found += [(own[place], float(earlier[place])) for place in np.flatnonzero(earlier >= DOUBLED)]
    return found


def _found(split: SplitRecords, index: int, row: np.ndarray) -> FoundBox:
    x1, y1, x2, y2 = row[:4].tolist()
    return FoundBox(split.image(index), (x1, y1, x2, y2), split.dataset.classes[int(row[_LABEL])])


def _note_boxes(
    report: Report, split: SplitRecords, kind: str, found: list[FoundBox], message: str, suggestion: str
) -> None:
    if not found:
        return
    files = tuple(dict.fromkeys(box.file for box in found))
    told = listed((f"{split.short(box.file)} {box.name} [{_corners(box)}]" for box in found), 3)
    text = f"{message.format(count(len(found), 'box'))}, in {count(len(files), 'image')}: {told}"
    boxes = tuple(found[:_MOST_BOXES])
    report.add(Finding(kind, Problem(split.where, text, suggestion), "warning", len(found), files, boxes))


def _corners(box: FoundBox) -> str:
    return ", ".join(f"{value:g}" for value in box.xyxy)


def _mended(report: Report, split: SplitRecords) -> None:
    """Boxes that `fix_boxes` changed are said, once."""
    fixes = split.dataset.index.fixes if isinstance(split.dataset, BoxDataset) else BoxFixes()
    if not (fixes.clipped or fixes.dropped):
        return
    message = f"{fixes.clipped} boxes were clipped to their image and {fixes.dropped} dropped (fix_boxes)"
    report.add(Finding("mended_boxes", Problem(split.where, message), "warning", fixes.clipped + fixes.dropped))


def note_classes(report: Report, splits: Sequence[SplitRecords], counts: dict[str, np.ndarray]) -> None:
    """Classes that are nowhere, or in some splits only.

    Args:
        report: takes what is found, as findings.
        splits: what was read of each split.
        counts: images that hold each class, (K,) by the name of the split.
    """
    train = next((split for split in splits if split.name == "train"), None)
    if train is None or not splits:
        return
    names = train.dataset.classes
    seen = counts["train"] > 0
    if not seen.any():
        problem = Problem(
            "data.train", "none of the classes occurs in the training data", "is it the right class list?"
        )
        report.add(Finding("no_labels", problem, "error", len(names)))
        return
    elsewhere = {split.name: counts[split.name] > 0 for split in splits if split.name != "train"}
    anywhere = np.logical_or.reduce([seen, *elsewhere.values()])
    _note_class(report, names, ~anywhere, "class_never_seen", "data", "{} in no split", "leave it out, or add samples")
    for name, held in elsewhere.items():
        _note_class(
            report, names, held & ~seen, f"class_only_in_{name}", "data.train", "{} in " + name + " but never in train",
            "what train lacks cannot be learned: divide the samples anew, or leave it out",
        )  # fmt: skip
    if "val" in elsewhere:
        _note_class(
            report, names, seen & ~elsewhere["val"], "class_not_in_val", "data.val", "{} in train but never in val",
            "what val lacks is not measured: divide the samples anew",
        )  # fmt: skip


def _note_class(
    report: Report, names: Sequence[str], which: np.ndarray, kind: str, where: str, message: str, suggestion: str
) -> None:
    found = [names[label] for label in np.flatnonzero(which).tolist()]
    if found:
        text = message.format(f"{count(len(found), 'class')} occur{'s' if len(found) == 1 else ''}")
        problem = Problem(where, f"{text}: {listed(found, 12)}", suggestion)
        report.add(Finding(kind, problem, "warning", len(found)))

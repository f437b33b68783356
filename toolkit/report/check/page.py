"""The page of `toolkit check`: what was found, with pictures of the files, and what the data is like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.contracts import Dataset
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import DetectionIndex
from toolkit.data.images.read import image_size
from toolkit.errors import UserError
from toolkit.labels import Color
from toolkit.preflight.findings import Finding, Report
from toolkit.report.check.blocks import data_blocks, statistic_blocks, table_block
from toolkit.report.page import render
from toolkit.report.thumbnails import Mark, Thumbnail, thumbnail

_TEXT_FILES = (".xml", ".txt", ".json", ".csv", ".yaml", ".yml")
_PICTURES_EACH, _PICTURES = 6, 72
"""At most so many pictures a finding, and on the page."""

Marks = Callable[[str], Sequence[Mark]]
"""Path of an image -> boxes to draw in it."""


@dataclass(frozen=True)
class ShownFinding:
    """A finding with pictures of the first of its files.

    Args:
        finding: what was found, with its problem and files.
        pictures: thumbnails of the first of its files.
        others: names of files that are not shown.
    """

    finding: Finding
    pictures: tuple[Thumbnail, ...]
    others: tuple[str, ...]


def check_page(
    report: Report,
    name: str,
    classes: Sequence[str] = (),
    palette: Sequence[Color] = (),
    marks: Marks | None = None,
) -> str:
    """The whole page.

    Args:
        report: everything the check found and measured.
        name: name of the config, for the heading.
        classes: names of the labels 0..K-1, where known.
        palette: (r, g, b) of each class, 0..255, to colour labels.
        marks: boxes of an image, drawn beside those of a finding.
    """
    left = _PICTURES
    errors: list[ShownFinding] = []
    warnings: list[ShownFinding] = []
    for finding in report.findings:
        found = _shown(finding, min(_PICTURES_EACH, left), palette, marks)
        left -= len(found.pictures)
        (errors if finding.severity == "error" else warnings).append(found)
    known = data_blocks(report.data, classes, palette)
    return render(
        "check.html",
        name=name,
        headline=_headline(len(errors), len(warnings)),
        tone="bad" if errors else "warn" if warnings else "good",
        findings=[("Errors", "error", errors), ("Warnings", "warning", warnings)],
        facts=report.facts,
        blocks=[*known, *(table_block(table) for table in report.tables), *statistic_blocks(report.statistics)],
    )


def _headline(errors: int, warnings: int) -> str:
    words = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning"))]
    if errors:
        return ", ".join(words if warnings else words[:1])
    return f"ok, with {words[1]}" if warnings else "ok"


def _shown(finding: Finding, room: int, palette: Sequence[Color], marks: Marks | None) -> ShownFinding:
    listed = [file for file in finding.files if Path(file).suffix.lower() in _TEXT_FILES]
    drawable = [file for file in finding.files if Path(file).suffix.lower() not in _TEXT_FILES]
    chosen = drawable[: max(room, 0)]
    pictures = tuple(thumbnail(file, palette, _marked(finding, file, marks)) for file in chosen)
    return ShownFinding(finding, pictures, (*drawable[len(chosen) :], *listed))


def _marked(finding: Finding, file: str, marks: Marks | None) -> list[Mark]:
    """The boxes of a finding in a file, and the other boxes of that file around them."""
    if not finding.boxes:
        return []
    found = [Mark(box.xyxy, box.name) for box in finding.boxes if box.file == file]
    faulty = {_rounded(mark) for mark in found}
    others = [mark._replace(strong=False) for mark in (marks(file) if marks is not None else ())]
    return [mark for mark in others if _rounded(mark) not in faulty] + found


def _rounded(mark: Mark) -> tuple[int, ...]:
    return tuple(round(edge) for edge in mark.xyxy)


def marks_of(datasets: Mapping[str, Dataset], names: Sequence[str]) -> Marks:
    """The boxes of an image of a detection data set. names: of the classes."""
    places: dict[str, tuple[DetectionIndex, int]] = {}
    for dataset in datasets.values():
        if isinstance(dataset, BoxDataset):
            files = (Path(file).absolute() for file in dataset.image_files())
            places.update({str(path): (dataset.index, place) for place, path in enumerate(files)})

    def marks(path: str) -> list[Mark]:
        if path not in places:
            return []
        index, position = places[path]
        try:
            boxes = index.boxes(position, image_size(path))
        except UserError:
            return []
        words = [names[label] if label < len(names) else str(label) for label in boxes.labels.tolist()]
        return [Mark((x1, y1, x2, y2), word) for (x1, y1, x2, y2), word in zip(boxes.xyxy.tolist(), words, strict=True)]

    return marks

"""The page of `toolkit check`: what was found, with pictures of the files, and what the data is like."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.labels import Color
from toolkit.preflight.findings import Finding, Report
from toolkit.report.check.blocks import data_blocks, statistic_blocks, table_block
from toolkit.report.page import render
from toolkit.report.thumbnails import Mark, Thumbnail, thumbnail

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BOX = re.compile(rf"\[{_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\]")
"""A box as messages write it: [x1, y1, x2, y2] in pixels."""
_TEXT_FILES = (".xml", ".txt", ".json", ".csv", ".yaml", ".yml")
_PAIRED = ("same_image", "near_copy")
"""Kinds whose files are pairs, one from each of two splits."""
_PICTURES_EACH, _PICTURES = 6, 72
"""At most so many pictures a finding, and on the page."""

Marks = Callable[[str], Sequence[Mark]]
"""Path of an image -> boxes to draw in it."""


@dataclass(frozen=True)
class ShownFinding:
    """A finding with pictures of the first of its files.

    others: files that are not shown. paired: each picture belongs with the one after it.
    """

    finding: Finding
    pictures: tuple[Thumbnail, ...]
    others: tuple[str, ...]
    paired: bool = False


def check_page(
    report: Report,
    name: str,
    classes: Sequence[str] = (),
    palette: Sequence[Color] = (),
    marks: Marks | None = None,
) -> str:
    """The whole page. name: of the config. classes, palette: to name and colour labels. marks: boxes of an
    image, drawn where a finding is about boxes.
    """
    left = _PICTURES
    errors: list[ShownFinding] = []
    warnings: list[ShownFinding] = []
    for finding in report.findings:
        found = _shown(finding, min(_PICTURES_EACH, left), palette, marks)
        left -= len(found.pictures)
        (errors if finding.severity == "error" else warnings).append(found)
    known, rest = data_blocks(report.statistics, classes, palette)
    return render(
        "check.html",
        name=name,
        headline=_headline(len(errors), len(warnings)),
        tone="bad" if errors else "warn" if warnings else "good",
        findings=[("Errors", "error", errors), ("Warnings", "warning", warnings)],
        facts=[_split_fact(fact) for fact in report.facts],
        blocks=[*known, *(table_block(table) for table in report.tables), *statistic_blocks(rest)],
    )


def _headline(errors: int, warnings: int) -> str:
    words = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning"))]
    if errors:
        return ", ".join(words if warnings else words[:1])
    return f"ok, with {words[1]}" if warnings else "ok"


def _split_fact(fact: str) -> tuple[str, str]:
    """Facts are lines "word   text"."""
    word, _, text = fact.partition(" ")
    return (word, text.strip()) if text.startswith(" ") or len(word) <= 9 else ("", fact)


def _shown(finding: Finding, room: int, palette: Sequence[Color], marks: Marks | None) -> ShownFinding:
    listed = [file for file in finding.files if Path(file).suffix.lower() in _TEXT_FILES]
    drawable = [file for file in finding.files if Path(file).suffix.lower() not in _TEXT_FILES]
    chosen = drawable[: max(room, 0)]
    boxes = marks if marks is not None and "box" in finding.kind else lambda path: ()
    pictures = tuple(thumbnail(file, palette, _at_fault(boxes(file), finding)) for file in chosen)
    others = (*drawable[len(chosen) :], *listed)
    return ShownFinding(finding, pictures, others, finding.kind in _PAIRED)


def _at_fault(marks: Sequence[Mark], finding: Finding) -> list[Mark]:
    """The boxes whose numbers stand in the message are the ones at fault; when no numbers stand there, all are.

    A box that the data set does not know, because it cannot be used, is read from the message of its only image.
    """
    if "box" not in finding.kind:
        return list(marks)
    told = [tuple(float(edge) for edge in edges) for edges in _BOX.findall(finding.problem.message)]
    rounded = {tuple(round(edge) for edge in box) for box in told}
    found = [mark._replace(strong=not told or tuple(round(edge) for edge in mark.xyxy) in rounded) for mark in marks]
    if len(finding.files) == 1 and not any(mark.strong for mark in found):
        found += [Mark((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), "") for x1, y1, x2, y2 in told]
    return found

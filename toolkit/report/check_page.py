"""The page of `toolkit check`: what was found, with pictures of the files, and what the data is like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.data.classes import Color
from toolkit.preflight.report import Finding, Report
from toolkit.report.check_blocks import statistic_blocks, table_block
from toolkit.report.data_blocks import data_blocks
from toolkit.report.page import render
from toolkit.report.thumbnails import Mark, Thumbnail, thumbnail

_PICTURES_EACH, _PICTURES = 6, 72
"""At most so many pictures a finding, and on the page."""

Marks = Callable[[str], Sequence[Mark]]
"""Path of an image -> boxes to draw in it."""


@dataclass(frozen=True)
class ShownFinding:
    """A finding with pictures of the first of its files. more: how many files are not shown."""

    finding: Finding
    pictures: tuple[Thumbnail, ...]
    more: int


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
    chosen = finding.files[: max(room, 0)]
    about_boxes = marks is not None and "box" in finding.kind
    pictures = tuple(
        thumbnail(file, palette, marks(file) if about_boxes and marks is not None else ()) for file in chosen
    )
    return ShownFinding(finding, pictures, max(len(finding.files), 0) - len(pictures))

"""`index.html` beside the drawings of a prediction, made of its journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from toolkit.inference.journal import Entry
from toolkit.inference.writers.base import write_lines
from toolkit.inference.writers.outputs import Outputs
from toolkit.report.contact_sheet import CARDS, Shown, contact_sheet

SHEET = "index.html"


def write_sheet(out: Path, header: Mapping[str, Any], outputs: Outputs, entries: Callable[[], Iterable[Entry]]) -> int:
    """Writes the sheet, where drawings were made; how many files that is, 1 or 0.

    Args:
        out: folder that the results lie in.
        header: the journal's first line: weights, options and classes.
        outputs: the writers, for the names of files and the colours.
        entries: goes through what came of each picture, in order.
    """
    overlay = outputs.writers.get("overlay")
    failed: list[tuple[str, str]] = []
    drawn = 0
    for entry in entries():
        drawn += "overlay" in entry.rows
        if entry.failed:
            failed.append((entry.name, entry.failed))
    if overlay is None or not drawn:
        return 0
    step = -(-drawn // CARDS)
    chosen = islice((entry for entry in entries() if "overlay" in entry.rows), 0, None, step)
    shown = [_shown(out, entry, f"{entry.stem}{overlay.suffix}") for entry in chosen]
    options = ", ".join(
        f"{name} {value}" for name, value in header["options"].items() if value not in (None, [], False)
    )
    facts = [("weights", header["weights"]), ("options", options), ("formats", ", ".join(header["formats"] or ()))]
    write_lines(out / SHEET, [contact_sheet(shown, drawn, failed, overlay.classes, facts)])
    return 1


def _shown(out: Path, entry: Entry, file: str) -> Shown:
    found = entry.rows["overlay"]
    with Image.open(out / file) as drawing:
        width, height = drawing.size
    address = quote(os.fsencode(file))
    return Shown(entry.name, address, (height, width), found["words"], found["score"], found["labels"])

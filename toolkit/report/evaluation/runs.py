"""The page of many runs: a table that is sorted by click, with a link to the page of each evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from toolkit.report.page import render, write_page

_MOST_KEYS = 12
"""Keys that differ between the runs and have a column; of more, the first ones do, and the page says so."""


class ShownRun(NamedTuple):
    """A run as a row of the table.

    Args:
        name: path of the run, from the folder on.
        split: name of the split it was measured on, or "".
        metric: the deciding metric, or "".
        text: its value for people, with its unit.
        value: the value as it stands, for sorting; None where undefined.
        interval: its interval for people, or why there is none.
        groups: how many independent groups of images it comes from, or "".
        own: its values of the keys that differ, as text.
        link: address of the page of its evaluation from this page on, or "".
        broken: what is wrong with the run, or "".
    """

    name: str
    split: str
    metric: str
    text: str
    value: float | None
    interval: str
    groups: str
    own: tuple[str, ...]
    link: str
    broken: str


def write_runs_page(file: str | Path, table: Mapping[str, Any]) -> Path:
    """Writes the page of a table of runs; returns its path. Raises UserError when it cannot be written there.

    Args:
        file: path of the HTML file, replaced if it stands there.
        table: {"folder", "runs": rows, "keys"} as plain JSON (`jobs.runs.RunTable.as_json`).
    """
    file, keys = Path(file), list(table["keys"])
    rows = [_row(row, keys[:_MOST_KEYS], Path(table["folder"]), file.parent) for row in table["runs"]]
    page = render("runs.html", folder=table["folder"], rows=rows, keys=keys[:_MOST_KEYS], left_out=keys[_MOST_KEYS:])
    return write_page(file, page)


def _row(row: Mapping[str, Any], keys: list[str], folder: Path, here: Path) -> ShownRun:
    percent = bool(row.get("percent", True))
    ends = [_text(end, percent) for end in (row.get("low"), row.get("high")) if end is not None]
    value, differs = row.get("value"), row.get("differs") or {}
    return ShownRun(
        row["run"],
        row.get("split") or "",
        row.get("metric") or "",
        _text(value, percent) + (" %" if percent and value is not None else ""),
        value,
        " to ".join(ends) or str(row.get("why") or ""),
        "" if row.get("groups") is None else str(row["groups"]),
        tuple(_shown(differs[key]) if key in differs else "" for key in keys),
        _link(row, folder, here),
        row.get("broken") or "",
    )


def _text(value: float | None, percent: bool) -> str:
    return "–" if value is None else f"{100 * value:.2f}" if percent else f"{value:.4g}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _link(row: Mapping[str, Any], folder: Path, here: Path) -> str:
    """Address of the page of an evaluation, where there is one."""
    run = folder / row["run"]
    for page in (run / "evaluation" / (row.get("split") or "val") / "report.html", run / "report.html"):
        if page.is_file():
            return quote(os.path.relpath(page, here))
    return ""

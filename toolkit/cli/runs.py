"""`toolkit runs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options import json_option, print_json, say
from toolkit.errors import listed

if TYPE_CHECKING:
    from toolkit.jobs.runs import RunRow, RunTable


_SHOWN = 4
"""Differing keys of a run that the table shows; `--json` has them all."""


@click.command("runs", epilog="Example: toolkit runs runs/ --out runs.html")
@click.argument("folder", type=click.Path(), default="runs", metavar="[DIR]")
@click.option("--out", type=click.Path(), metavar="FILE.html", help="Write the table as a page, too.")
@json_option
def command(folder: str, out: str | None, as_json: bool) -> None:
    """All runs below a folder: metric, interval, and in what their configs differ.

    A run that was not evaluated is shown with the last number of its training. Broken runs are named.
    """
    from toolkit.jobs.runs import runs_below

    found = runs_below(folder)
    told = found.as_json()
    if out is not None:
        from toolkit.report.evaluation.runs import write_runs_page

        told["page"] = str(write_runs_page(out, told))
    if as_json:
        print_json(told)
        return
    _print(found)
    if out is not None:
        say(f"\n{told['page']}")


def _print(found: RunTable) -> None:
    from toolkit.engine.log import table

    whole = [row for row in found.rows if not row.broken]
    if whole:
        header = ["run", "split", "metric", "value", "95 % interval", "groups", "differs in"]
        say(table("", header, [_cells(row, found.usual) for row in whole]))
    reasons: dict[str, list[str]] = {}
    for row in whole:
        of_training = f" ({row.metric} is of step {row.step} of the training)" if row.step is not None else ""
        if row.why:
            reasons.setdefault(row.why + of_training, []).append(row.run)
    for why, runs in reasons.items():
        say(f"{listed(runs)}: {why}")
    for row in found.rows:
        if row.broken:
            say(f"broken: {row.run}: {row.broken}")
    if not found.rows:
        say(f"no runs below {found.folder}")


def _cells(row: RunRow, usual: Mapping[str, Any]) -> list[str]:
    ends = [_text(end, row.percent) for end in (row.low, row.high) if end is not None]
    return [row.run, row.split or "-", row.metric or "-", _text(row.value, row.percent), " to ".join(ends) or "-",
            "-" if row.groups is None else str(row.groups), _own(row.differs, usual)]  # fmt: skip


def _own(differs: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """What a run has otherwise than most, as key=value; of a part of another name the name alone."""
    own = {key: value for key, value in differs.items() if value != usual[key]}
    parts = [key.removesuffix("name") for key in own if key.endswith(".name")]
    told = [
        f"{key}={_short(value)}"
        for key, value in own.items()
        if not any(key.startswith(part) and key != f"{part}name" for part in parts)
    ]
    more = f"  and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "  ".join(told[:_SHOWN]) + more


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else value
    return text if len(text) <= 24 else text[:21] + "..."


def _text(value: float | None, percent: bool) -> str:
    return "-" if value is None else f"{100 * value:.2f}" if percent else f"{value:.4g}"

"""Tables that were kept: `benchmarks/results/MACHINE/DATE.json`, the last of which is what a new one is compared with."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def folder_of(machine: str, results: Path = RESULTS) -> Path:
    """Where tables of a machine are."""
    return results / machine


def last(machine: str, results: Path = RESULTS) -> tuple[Path, dict[str, Any]] | None:
    """The newest table of a machine, by its name; None for the first one."""
    found = sorted(folder_of(machine, results).glob("*.json"))
    return (found[-1], json.loads(found[-1].read_text(encoding="utf-8"))) if found else None


def last_of(what: str, machine: str, results: Path = RESULTS) -> tuple[Path, dict[str, Any]] | None:
    """The newest table of a kind ("growth", "where"), of this machine where it has one, else of any."""
    own = last(f"{machine}/{what}", results)
    others = (last(str(path.relative_to(results)), results) for path in results.glob(f"*/{what}"))
    return own or max(filter(None, others), key=lambda found: found[0].name, default=None)


def new_path(machine: str, now: datetime, results: Path = RESULTS) -> Path:
    """A name that sorts by time."""
    return folder_of(machine, results) / f"{now:%Y-%m-%dT%H%M}.json"


def write(table: dict[str, Any], path: Path) -> None:
    """As JSON, one line a measured line, so that two tables can be compared by eye."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in table.items() if name != "lines"}
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    lines = ",\n".join("  " + json.dumps(line, ensure_ascii=False) for line in table["lines"])
    path.write_text(f'{text},\n "lines": [\n{lines}\n ]\n}}\n', encoding="utf-8")

"""How time and memory grow: rows that say `grows`, at 1, 4 and 16 times their work, ours alone.

    python -m benchmarks.growth [--only NAME ...] [--toy] [--out FILE]

A row at a scale runs in a process of its own: the median seconds of processor time, which other people's work on the machine
changes least, and the most memory above what stood before the first run.
Linear or better is wanted of both: 16 times the work in at most 16 times the time (with a tenth for noise). Kept as
benchmarks/results/MACHINE/growth/DATE.json, from which `benchmarks.speed_page` draws docs/growth_*.svg.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import kept
from benchmarks.machine import described, machine_name
from benchmarks.measure import chosen, in_fresh_process
from benchmarks.rows import Row
from benchmarks.table import amount, number

SCALES = (1, 4, 16)
NOISE = 1.1
Point = dict[str, Any]


def point(row: Row, scale: int, found: dict[str, Any]) -> Point:
    """What a row took at a scale; `failed` with the reason where it did not."""
    base = {"row": row.name, "title": row.title, "scale": scale}
    if "failed" in found:
        return {**base, "failed": found["failed"]}
    (ours,) = found["runs"].values()
    if "missing" in ours:
        return {**base, "failed": ours["missing"]}
    return {**base, "seconds": statistics.median(run["processor"] for run in ours), "bytes": found["peak_bytes"]}


def by_row(points: list[Point]) -> dict[str, list[Point]]:
    """Points of each row that was measured at every scale, smallest first."""
    rows: dict[str, list[Point]] = {}
    for each in points:
        rows.setdefault(each["row"], []).append(each)
    return {name: sorted(own, key=lambda each: each["scale"]) for name, own in rows.items()
            if all("failed" not in each for each in own) and len(own) > 1}  # fmt: skip


def times(own: list[Point], of: str) -> list[float] | None:
    """Of a row, each scale's seconds or bytes as multiples of the first's; None where they are not known or under 1 MiB."""
    first = own[0][of]
    if not first or (of == "bytes" and first < 1 << 20):
        return None
    return [each[of] / first for each in own]


def is_linear(own: list[Point], of: str) -> bool | None:
    """Whether the last scale takes at most as many times more as there is more work, a tenth allowed."""
    grown = times(own, of)
    return None if grown is None else grown[-1] <= NOISE * own[-1]["scale"] / own[0]["scale"]


TITLES = (
    "work",
    *(f"{scale}×" for scale in SCALES),
    "time grows",
    *(f"{scale}×, memory" for scale in SCALES),
    "memory grows",
)


def cells(own: list[Point]) -> tuple[str, ...]:
    """A line of the table: amounts at each scale, and by how much the last is more than the first."""
    found = [own[0]["title"]]
    for of in ("seconds", "bytes"):
        found += [amount(each[of], of) if each[of] is not None else "not told" for each in own]
        grown = times(own, of)
        mark = "" if is_linear(own, of) is not False else ", more than linear"
        found.append("" if grown is None else f"{number(grown[-1])}×{mark}")
    return tuple(found)


def as_markdown(points: list[Point]) -> str:
    """The table for a document and for the terminal."""
    rows = [TITLES, ("---",) * len(TITLES), *(cells(own) for own in by_row(points).values())]
    failed = [f"\n{each['row']} at {each['scale']}×: {each['failed']}" for each in points if "failed" in each]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "".join(failed)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these rows")
    parser.add_argument("--toy", action="store_true", help="the smallest sizes, one round: does everything run?")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args(words)
    rows = [(module, row) for module, row in chosen(arguments.only) if row.grows]
    now, before = datetime.now(), described()
    points = []
    for module, row in rows:
        for scale in SCALES:
            found = in_fresh_process(module, row, toy=arguments.toy, scale=scale, only_ours=True, rounds=3, budget=0)
            points.append(point(row, scale, found))
            print(f"{row.name} at {scale}×: {points[-1].get('failed') or points[-1]['seconds']}", file=sys.stderr)
    print(as_markdown(points))
    path = arguments.out or (
        None if arguments.toy or arguments.only else kept.new_path(f"{machine_name()}/growth", now)
    )
    if path:
        kept.write({"when": f"{now:%Y-%m-%dT%H:%M}", **before, "lines": points}, path)
        print(f"written to {path}")
    return int(any("failed" in each for each in points))


if __name__ == "__main__":
    sys.exit(main())

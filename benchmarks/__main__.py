"""Every row, in turn with its peers; one table.

    python -m benchmarks [--only NAME ...] [--quick] [--list] [--growth] [--out FILE]

A row runs in a process of its own. Ratios are medians over rounds with their quartiles; "processor" is the same ratio by
processor time, which other people's work on the machine changes less. A whole run is kept as
benchmarks/results/MACHINE/DATE.json (commit it when the machine was quiet), and every run is compared with the last one
kept: "fell" and "rose" mean that the quartiles lie apart. With --only or --quick nothing is kept but by --out.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import kept, speed_page
from benchmarks.machine import described, machine_name
from benchmarks.measure import chosen, in_fresh_process
from benchmarks.rows import Row
from benchmarks.table import as_text, lines_of, with_changes
from toolkit.engine.machine import usable_cores


def measure_all(rows: list[tuple[str, Row]], *, quick: bool, toy: bool) -> list[dict[str, Any]]:
    """Lines of all rows; progress goes to standard error."""
    lines: list[dict[str, Any]] = []
    for place, (module, row) in enumerate(rows, 1):
        began = time.perf_counter()
        if row.threads > usable_cores():
            found: dict[str, Any] = {
                "failed": f"left out: wants {row.threads} threads, this machine gives {usable_cores()}"
            }
        else:
            budget, rounds = (row.budget / 4, min(row.rounds, 3)) if quick else (row.budget, row.rounds)
            found = in_fresh_process(module, row, toy=toy, rounds=rounds, budget=budget)
        lines += lines_of(row, found)
        failed = f": {found['failed']}" if "failed" in found else ""
        took = time.perf_counter() - began
        print(f"[{place}/{len(rows)}] {row.name} {took:.0f} s{failed}", file=sys.stderr, flush=True)
    return lines


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these rows")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds")
    parser.add_argument("--list", action="store_true", help="names and titles of all rows")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--toy", action="store_true", help="the smallest sizes, one round: does everything run?")
    arguments = parser.parse_args(words)
    rows = chosen(arguments.only)
    if arguments.list:
        for _, row in rows:
            print(f"{row.name:24} {row.title}" + (f" ({row.threads} threads)" if row.threads > 1 else ""))
        return 0
    now = datetime.now()
    before = described()
    lines = measure_all(rows, quick=arguments.quick, toy=arguments.toy)
    earlier = None if arguments.toy else kept.last(machine_name())
    lines = with_changes(lines, earlier[1]["lines"] if earlier else [])
    print(as_text(lines))
    told = ", ".join(f"{name} {number or 'missing'}" for name, number in before["versions"].items())
    compiled = (
        "" if before["compiler"] else ", no C compiler: kernels of our own are left out, and slower ways measured"
    )
    print(f"\n{before['processor']}, {before['cores']} cores{compiled}, load {before['load']} at the start; {told}")
    print(f"compared with {earlier[0].name}" if earlier else "nothing to compare with")
    whole = not (arguments.only or arguments.quick or arguments.toy)
    if path := arguments.out or (kept.new_path(machine_name(), now) if whole else None):
        kept.write({"when": f"{now:%Y-%m-%dT%H:%M}", **before, "lines": lines}, path)
        print(f"written to {path}")
    if whole and arguments.out is None:
        speed_page.write(machine_name())
        print("docs/speed.md is made anew")
    return int(any("failed" in line and "left out" not in line["failed"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())

"""From runs to lines: medians and quartiles of ratios, goals, and what fell against an earlier table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.rows import Goal, Row

Line = dict[str, Any]
QUANTITIES = ("seconds", "bytes")


def lines_of(row: Row, found: dict[str, Any]) -> list[Line]:
    """One line a peer and quantity; one that says why, for a row or a peer that could not be measured.

    A ratio is told as its goal is: "times", the peer's by ours (more is better), or "share", ours by the peer's (less is).
    """
    base = {"row": row.name, "title": row.title, "threads": row.threads}
    if "failed" in found:
        return [{**base, "peer": None, "failed": found["failed"]}]
    ways = list(found["runs"].items())
    (_, ours), peers = ways[0], ways[1:]
    lines: list[Line] = []
    for peer, runs in peers:
        if "missing" in (*ours, *runs):
            reason = (ours if "missing" in ours else runs)["missing"]
            lines.append({**base, "peer": peer, "missing": reason})
            continue
        told = [of for of in QUANTITIES if all(run[of] is not None for run in (*ours, *runs))]
        lines += [{**base, "load": found["load"], **_compared(row, peer, of, ours, runs)} for of in told]
    return lines


def _compared(row: Row, peer: str, of: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Line:
    goal = next((goal for goal in row.goals if (goal.peer, goal.of) == (peer, of)), Goal(peer))
    share = goal.most is not None
    line: Line = {
        "peer": peer,
        "of": of,
        "told": "share" if share else "times",
        "goal": goal.most if share else goal.least,
        "ratio": quartiles([_ratio(a[of], b[of], share) for a, b in zip(ours, theirs, strict=True)]),
        "ours": statistics.median(run[of] for run in ours),
        "theirs": statistics.median(run[of] for run in theirs),
        "rounds": len(ours),
        "limit": row.limit_seconds if of == "seconds" else row.limit_bytes,
    }
    if of == "seconds" and all(run["processor"] > 0 for run in (*ours, *theirs)):
        pairs = zip(ours, theirs, strict=True)
        line["processor_ratio"] = statistics.median(_ratio(a["processor"], b["processor"], share) for a, b in pairs)
    return line


def _ratio(ours: float, theirs: float, share: bool) -> float:
    return (ours / theirs if share else theirs / ours) if ours and theirs else float("nan")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of one value, three times that."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def change(now: Line, before: Line | None) -> str:
    """What became of a line: "fell", "rose" or "held" (quartiles apart or not), "new", or "lost": no ratio any more.

    Worse is "fell", whichever way the ratio is told.
    """
    if "ratio" not in now:
        return "lost" if before is not None and "ratio" in before else ""
    if before is None or "ratio" not in before or before["told"] != now["told"] or before["threads"] != now["threads"]:
        return "new"
    (low, _, high), (low_before, _, high_before) = now["ratio"], before["ratio"]
    if low > high_before:
        return "fell" if now["told"] == "share" else "rose"
    if high < low_before:
        return "rose" if now["told"] == "share" else "fell"
    return "held"


def with_changes(lines: list[Line], earlier: Sequence[Line]) -> list[Line]:
    """Lines with `change` against those of an earlier table."""
    known = {key(line): line for line in earlier}
    return [{**line, "change": change(line, known.get(key(line)))} for line in lines]


def key(line: Line) -> tuple[str, str | None, str | None]:
    """What makes two lines of two tables the same line."""
    return line["row"], line["peer"], line.get("of", "seconds") if "ratio" in line else "seconds"


def reached(line: Line) -> bool | None:
    """Whether the median reaches the goal and ours its limit; None where neither is stated."""
    verdicts = []
    if line.get("goal") is not None:
        middle = line["ratio"][1]
        verdicts.append(middle <= line["goal"] if line["told"] == "share" else middle >= line["goal"])
    if line.get("limit") is not None:
        verdicts.append(line["ours"] <= line["limit"])
    return all(verdicts) if verdicts else None


def cells(line: Line) -> tuple[str, ...]:
    """work, peer, ratio, quartiles, by processor time, ours, theirs, goal, mark; as they are printed."""
    if "ratio" not in line:
        reason = line.get("missing") or line["failed"]
        return (line["title"], line["peer"] or "", reason, *[""] * 5, line.get("change", ""))
    low, middle, high = line["ratio"]
    processor = f"{line['processor_ratio']:.2f}" if "processor_ratio" in line else ""
    goal, verdict = _wanted(line), reached(line)
    mark = line.get("change", "")
    if verdict is False:
        mark = f"{mark}, short of the goal".strip(", ")
    threads = f" ({line['threads']} threads)" if line["threads"] > 1 else ""
    return (
        line["title"] + threads,
        line["peer"],
        f"{number(middle)}× faster" if line["told"] == "times" and line["of"] == "seconds"
        else f"{number(middle)}× less memory" if line["told"] == "times"
        else f"{number(middle)} of its {'time' if line['of'] == 'seconds' else 'memory'}",
        f"{number(low)}–{number(high)}",
        processor,
        amount(line["ours"], line["of"]),
        amount(line["theirs"], line["of"]),
        goal,
        mark,
    )  # fmt: skip


def _wanted(line: Line) -> str:
    said = []
    if line["goal"] is not None:
        said.append(f"≤ {line['goal']:g}" if line["told"] == "share" else f"≥ {line['goal']:g}×")
    if line["limit"] is not None:
        said.append(f"≤ {amount(line['limit'], line['of'])}")
    return ", ".join(said)


def number(value: float) -> str:
    """Three digits: 84.1, 1.52, 0.71, 312."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def amount(value: float, of: str) -> str:
    """Seconds or bytes with a unit."""
    if of == "bytes":
        return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.2f} GiB"
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.2f} ms" if value < 0.1 else f"{1e3 * value:.0f} ms"


TITLES = ("work", "peer", "toolkit is", "quartiles", "processor", "toolkit", "peer", "goal", "")


def as_text(lines: Sequence[Line]) -> str:
    """The table with aligned columns."""
    table = [TITLES, *(cells(line) for line in lines)]
    plain = [row for row, line in zip(table[1:], lines, strict=True) if "ratio" in line]
    widths = [max(len(row[column]) for row in [TITLES, *plain]) for column in range(len(TITLES))]
    printed = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in printed)


def as_markdown(lines: Sequence[Line]) -> str:
    """The table for a document."""
    table = [TITLES, ("---",) * len(TITLES), *(cells(line) for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)

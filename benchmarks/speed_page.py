"""docs/speed.md and its pictures, from the newest tables in benchmarks/results/.

python -m benchmarks.speed_page [--machine NAME]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks import growth, kept
from benchmarks import where as where_time_goes
from benchmarks.machine import machine_name
from benchmarks.table import as_markdown, number
from toolkit.report.curves import Curve, curves
from toolkit.report.page import write_drawing

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLORS = ((31, 119, 180), (214, 110, 20), (44, 140, 60), (190, 40, 50), (120, 80, 180), (130, 90, 70), (200, 80, 160))
PICTURES = {"seconds": "growth_time.svg", "bytes": "growth_memory.svg"}
HEAD = """# Speed, measured

Made by `python -m benchmarks.speed_page` from the newest tables in [benchmarks/results/](../benchmarks/results). Measure anew
with `make bench` (ten minutes on a quiet machine), `python -m benchmarks.growth` and, on a GPU, `python -m benchmarks.gpu_records`.

Every row is done by the toolkit and by its peers in turn, in one process of its own, with the same threads, dtypes and answers,
each peer at its fastest documented setting. A ratio is the median over rounds, with its quartiles; "processor" is the same
ratio by processor time. "×  faster" is the peer's time by ours, "of its time" ours by the peer's. What fell against the table
before it (quartiles apart) is marked. Goals are for two quiet cores.
"""

BOUNDS = """
## How far a ratio could fall

Both ways of a row spend time in the same kernels: the nets' convolutions and matrix products are oneDNN's and MKL's for both,
the decoders are the same library's. Their time in ours by all of the peer's time is a bound that only other kernels would
lower. Measured by `python -m benchmarks.where`, with a profiler.
"""


def page(
    table: dict[str, Any] | None,
    grown: dict[str, Any] | None,
    gpus: list[dict[str, Any]],
    bounds: dict[str, Any] | None = None,
) -> str:
    """The page as Markdown; parts that were not measured say so.

    Args:
        table: ratios, as `python -m benchmarks` wrote them.
        grown: points, as `python -m benchmarks.growth` wrote them.
        gpus: records, as `python -m benchmarks.gpu_records` wrote them, one a chip.
        bounds: what both ways have to do, as `python -m benchmarks.where` wrote it.
    """
    parts = [HEAD, "## Ratios\n"]
    parts += [where(table), as_markdown(table["lines"])] if table else ["Not measured yet."]
    if bounds:
        parts += [BOUNDS, where(bounds), where_time_goes.as_markdown(bounds["lines"])]
    parts.append("\n## Growth: 1, 4 and 16 times the work\n")
    if grown:
        parts += [where(grown), growth.as_markdown(grown["lines"])]
        parts += [f"\n![How {of} grow with the work]({name})" for of, name in PICTURES.items() if drawing(grown, of)]
    else:
        parts.append("Not measured yet.")
    parts.append("\n## GPUs\n")
    parts += [gpu_table(record) for record in gpus] or [
        "No record yet: `benchmarks/gpu_records.py` has run at toy size on a CPU only."
    ]
    return "\n".join(parts) + "\n"


def where(table: dict[str, Any]) -> str:
    """What a table was measured on, in a paragraph."""
    versions = ", ".join(f"{name} {value or 'missing'}" for name, value in table["versions"].items())
    machine = f"{table['processor']}, {table['cores']} cores, load {table['load']} at the start"
    return f"{table['when']}: {machine}; {versions}.\n"


def gpu_table(record: dict[str, Any]) -> str:
    """Images a second and checks of a chip."""
    rows = [
        f"### {record['chip']}, {record['when']}, torch {record['versions']['torch']}\n",
        "| item | result |",
        "|---|---|",
    ]
    for line in record["lines"]:
        facts = {name: value for name, value in line.items() if name not in ("section", "item", "took")}
        shown = ", ".join(
            f"{name} {number(value) if isinstance(value, float) else value}" for name, value in facts.items()
        )
        rows.append(f"| {line['item']} | {shown} |")
    return "\n".join(rows)


def drawing(grown: dict[str, Any], of: str) -> Markup | None:
    """Multiples of the smallest work's time or memory over multiples of the work; None without any."""
    shown = [
        Curve(own[0]["row"], [(each["scale"], multiple) for each, multiple in zip(own, multiples, strict=True)], color)
        for own, color in zip(growth.by_row(grown["lines"]).values(), COLORS * 9, strict=False)
        if (multiples := growth.times(own, of)) is not None
    ]
    if not shown:
        return None
    most = float(max(growth.SCALES))
    linear = Curve("linear", [(1, 1), (most, most)], (150, 150, 150))
    what = "time" if of == "seconds" else "memory"
    return curves([*shown, linear], f"{what} by work", ("times the work", f"times the {what}"), width=760)


def write(machine: str, results: Path = kept.RESULTS, docs: Path = DOCS) -> None:
    """The page and its pictures, of one machine's newest tables and every GPU's."""
    table, grown = (
        found and found[1] for found in (kept.last(machine, results), kept.last_of("growth", machine, results))
    )
    bounds = kept.last_of("where", machine, results)
    chips = sorted(path.name for path in (results / "gpu").glob("*") if path.name != "cpu")
    gpus = [found[1] for chip in chips if (found := kept.last(f"gpu/{chip}", results))]
    (docs / "speed.md").write_text(page(table, grown, gpus, bounds and bounds[1]), encoding="utf-8")
    for of, name in PICTURES.items():
        if grown and (picture := drawing(grown, of)):
            write_drawing(docs / name, picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default=machine_name(), help="folder of benchmarks/results")
    write(parser.parse_args().machine)


if __name__ == "__main__":
    main()

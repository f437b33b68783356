"""The table of ratios, on rows that are made up; and that every row still runs, at toy size. Nothing here is timed."""

from __future__ import annotations

import ast
import importlib
import json
import mmap
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth, kept, speed_page, where
from benchmarks.__main__ import main
from benchmarks.machine import described
from benchmarks.measure import in_fresh_process, measure, row_modules, rows_by_module
from benchmarks.rows import Goal, Measured, Measurements, Missing, Row, Work, from_package
from benchmarks.table import as_markdown, as_text, lines_of, quartiles, reached, with_changes

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for path in (ROOT / "benchmarks").glob("*.py"))
ROWS = [(module, row) for module, rows in rows_by_module().items() for row in rows]

TOY = {
    "train_step.py": ["--config", "configs/tiny/unet_shapes.yaml", "--steps", "2", "--smp-encoder", "", "data.batch_size=2"],
}  # fmt: skip
"""Scripts that are no rows yet. One that has `rows` is left out by itself."""
SCRIPTS = [
    name for name in TOY if (ROOT / "benchmarks" / name).exists() and f"benchmarks.{name[:-3]}" not in row_modules()
]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_what_a_benchmark_imports_is_there(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("toolkit"):
            found = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(found, alias.name)]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_at_toy_size(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *TOY[script]]
    command += [f"data.root={tmp_path / 'data'}"] if script == "train_step.py" else []
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_records_of_a_gpu_run_at_toy_size_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_records", "--toy", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    items = {line["item"]: line for line in json.loads((tmp_path / "gpu.json").read_text())["lines"]}
    assert not [item for item in items.values() if "failed" in item]
    assert items["resume to the bit"]["tensors equal"] > 0
    assert items["time to a CamVid score"]["curve"]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "row"), ROWS, ids=[row.name for _, row in ROWS])
def test_a_row_runs_at_toy_size(module: str, row: Row) -> None:
    found = in_fresh_process(module, row, toy=True)
    assert "failed" not in found, found
    first, *_ = found["runs"].values()
    assert len(first) >= 1
    assert lines_of(row, found)


def test_names_of_rows_are_unique_and_titles_short() -> None:
    names = [row.name for _, row in ROWS]
    assert len(set(names)) == len(names)
    assert all(row.title and len(row.title) <= 70 for _, row in ROWS)


def test_goals_name_peers_and_one_bound_each() -> None:
    for _, row in ROWS:
        assert all((goal.least is None) != (goal.most is None) for goal in row.goals), row.name


def measured(*seconds: float, of: int | None = None) -> list[Measured]:
    return [Measured(value, value, of) for value in seconds]


def fake(measurements: Measurements, **options: Any) -> tuple[Row, dict[str, Any]]:
    row = Row("fake", "a made-up row", lambda work: measurements, **options)
    return row, measure(row, Work())


def test_a_line_is_the_median_of_ratios_of_rounds() -> None:
    row, found = fake({"toolkit": measured(1, 2, 4), "peer": measured(3, 4, 20)}, goals=(Goal("peer", least=3),))
    (line,) = lines_of(row, found)
    assert line["ratio"] == (2.5, 3.0, 4.0)
    assert (line["ours"], line["theirs"], line["rounds"]) == (2, 4, 3)
    assert reached(line)
    assert "3.00× faster" in as_text([line])


def test_a_share_is_ours_by_the_peers_and_less_is_better() -> None:
    row, found = fake({"toolkit": measured(3), "bare loop": measured(4)}, goals=(Goal("bare loop", most=0.7),))
    (line,) = lines_of(row, found)
    assert line["ratio"] == (0.75,) * 3
    assert not reached(line)
    assert "0.75 of its time" in as_text([line])


def test_bytes_are_a_line_of_their_own() -> None:
    runs: Measurements = {"toolkit": measured(1, of=42 << 20), "twin": measured(1, of=100 << 20)}
    row, found = fake(runs, goals=(Goal("twin", most=0.42, of="bytes"),), limit_bytes=40 << 20)
    seconds, kept_bytes = lines_of(row, found)
    assert (seconds["of"], kept_bytes["of"]) == ("seconds", "bytes")
    assert kept_bytes["ratio"][1] == pytest.approx(0.42)
    assert not reached(kept_bytes)  # the limit of 40 MiB is not held


def line_with(*ratios: float, told: str = "least") -> dict[str, Any]:
    runs: Measurements = {"toolkit": measured(*[1.0] * len(ratios)), "peer": measured(*ratios)}
    if told == "most":
        runs = {"toolkit": measured(*ratios), "peer": measured(*[1.0] * len(ratios))}
    return lines_of(*fake(runs, goals=(Goal("peer", **{told: 1.0}),)))[0]


@pytest.mark.parametrize(
    ("before", "now", "times", "share"),
    [
        ((2.0, 2.1, 2.2), (1.0, 1.1, 1.2), "fell", "rose"),
        ((1.0, 1.1, 1.2), (2.0, 2.1, 2.2), "rose", "fell"),
        ((1.0, 2.0, 3.0), (1.5, 1.6, 1.7), "held", "held"),
    ],
)
def test_a_change_is_told_when_quartiles_are_apart(before: Any, now: Any, times: str, share: str) -> None:
    (line,) = with_changes([line_with(*now)], [line_with(*before)])
    assert line["change"] == times
    (line,) = with_changes([line_with(*now, told="most")], [line_with(*before, told="most")])
    assert line["change"] == share


def test_a_line_without_an_earlier_one_is_new_and_a_lost_one_is_told() -> None:
    assert with_changes([line_with(1.0)], [])[0]["change"] == "new"
    row, found = fake({"toolkit": measured(1), "peer": Missing("peer is not installed")})
    assert with_changes(lines_of(row, found), [line_with(1.0)])[0]["change"] == "lost"


def test_a_missing_peer_leaves_out_its_line_only() -> None:
    def imports() -> Any:
        import no_such_package

        return no_such_package

    peer = from_package("no-such-package", imports)
    row = Row("fake", "a made-up row", lambda work: work.in_turn({"toolkit": int, "missing": peer, "other": int}))
    lines = lines_of(row, measure(row, Work(toy=True)))
    assert [("ratio" in line, line["peer"]) for line in lines] == [(False, "missing"), (True, "other")]
    assert "pip install no-such-package" in as_text(lines)


def test_a_row_that_breaks_is_told_and_nothing_more() -> None:
    def breaks(work: Work) -> Measurements:
        return work.in_turn({"toolkit": lambda: 1, "peer": lambda: 2}, same)

    def same(returned: dict[str, Any]) -> None:
        assert len(set(returned.values())) == 1, "the answers differ"

    row = Row("fake", "a made-up row", breaks)
    (line,) = lines_of(row, measure(row, Work(toy=True)))
    assert line["failed"] == "AssertionError: the answers differ"
    assert "the answers differ" in as_text([line])


def test_ways_take_turns_and_every_second_round_goes_backwards() -> None:
    went: list[str] = []
    with Work(budget=0, least_rounds=2) as work:
        runs = work.in_turn({name: lambda name=name: went.append(name) for name in "ab"})
    assert "".join(went) == "ab" + "ab" + "ba"
    assert [len(each) for each in runs.values() if not isinstance(each, Missing)] == [2, 2]


def test_a_way_that_measures_itself_is_believed() -> None:
    own = Measured(2.0, 1.0, 7)
    with Work(toy=True) as work:
        assert work.in_turn({"toolkit": lambda: own})["toolkit"] == [own]


def test_growth_measures_ours_alone_with_its_memory() -> None:
    def fresh_pages() -> None:
        with mmap.mmap(-1, 64 << 20) as pages:  # of the system, not what the allocator kept of earlier tests
            for page in range(0, len(pages), mmap.PAGESIZE):
                pages[page] = 1

    with Work(toy=True, only_ours=True) as work:
        runs = work.in_turn({"toolkit": fresh_pages, "peer": int})
    assert list(runs) == ["toolkit"]
    assert work.peak_bytes is None or work.peak_bytes > 60 << 20


def test_a_kept_table_is_read_back_as_it_was_and_the_last_is_found(tmp_path: Path) -> None:
    (line,) = with_changes([line_with(1.0, 2.0, 3.0)], [])
    for hour in (3, 4):
        table = {"when": str(hour), "machine": "m", "lines": [line]}
        kept.write(table, kept.new_path("m", datetime(2026, 11, 30, hour), tmp_path))
    path, read = kept.last("m", tmp_path) or (None, {})
    assert (path and path.name, read["when"]) == ("2026-11-30T0400.json", "4")
    assert read == json.loads(json.dumps(table))
    assert as_markdown(read["lines"]) == as_markdown([line])
    assert kept.last("another machine", tmp_path) is None


def test_quartiles_of_one_value() -> None:
    assert quartiles([2.0]) == (2.0, 2.0, 2.0)


def test_bounds_are_of_rows_and_of_their_peers() -> None:
    peers = {row.name: {goal.peer for goal in row.goals} for _, row in ROWS}
    assert where.BOUNDS.keys() <= peers.keys()
    assert not [name for name, bound in where.BOUNDS.items() if peers[name] and bound.peer not in peers[name]]


def test_what_is_alike_in_both_bounds_the_ratio() -> None:
    line = where.look("recompute_units", toy=True)
    assert line["bound"] > 0
    assert all(0 < sum(shares.values()) <= 1 + 1e-9 for shares in line["longest"].values())
    told = where.as_markdown([line, {"name": "other", "title": "left out", "missing": "not installed"}])
    assert f"{line['bound']:.2f} of keeping all" in told
    assert "left out" not in told


def test_a_table_of_another_machine_stands_in_for_one_that_is_missing(tmp_path: Path) -> None:
    for machine, day in (("a", 1), ("b", 2), ("c", 3)):
        kept.write({"of": machine, "lines": []}, kept.new_path(f"{machine}/growth", datetime(2026, 1, day), tmp_path))
    found = [kept.last_of("growth", machine, tmp_path) for machine in ("a", "d")]
    assert [one and one[1]["of"] for one in found] == ["a", "c"]


def test_list_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [row.name for _, row in ROWS]


def grown(*values: tuple[float, int | None]) -> list[dict[str, Any]]:
    row = Row("fake", "a made-up row", lambda work: {}, grows=True)
    found = [{"runs": {"toolkit": [{"processor": seconds}]}, "peak_bytes": size} for seconds, size in values]
    return [growth.point(row, scale, each) for scale, each in zip(growth.SCALES, found, strict=True)]


def test_growth_is_linear_when_16_times_the_work_takes_16_times_the_time() -> None:
    points = grown((1.0, 10 << 20), (4.1, 11 << 20), (16.5, 12 << 20))
    (own,) = growth.by_row(points).values()
    assert (growth.is_linear(own, "seconds"), growth.is_linear(own, "bytes")) == (True, True)
    assert "| 16.5× |" in growth.as_markdown(points)
    (own,) = growth.by_row(grown((1.0, None), (4.0, None), (20.0, None))).values()
    assert (growth.is_linear(own, "seconds"), growth.is_linear(own, "bytes")) == (False, None)
    assert "20.0×, more than linear" in growth.as_markdown(own)


def test_the_page_of_speed_is_made_from_what_was_kept(tmp_path: Path) -> None:
    results, docs = tmp_path / "results", tmp_path / "docs"
    docs.mkdir()
    speed_page.write("m", results, docs)
    assert "Not measured yet" in (docs / "speed.md").read_text()
    now, head = datetime(2026, 11, 30), {"when": "now", **described()}
    kept.write({**head, "lines": with_changes([line_with(2.0)], [])}, kept.new_path("m", now, results))
    points = grown((1.0, 10 << 20), (4.1, 11 << 20), (16.5, 12 << 20))
    kept.write({**head, "lines": points}, kept.new_path("m/growth", now, results))
    record = {"section": "records", "item": "unet: bf16", "images_a_second": 119.4}
    kept.write({**head, "chip": "A", "lines": [record]}, kept.new_path("gpu/a", now, results))
    speed_page.write("m", results, docs)
    text = (docs / "speed.md").read_text()
    assert all(words in text for words in ("2.00× faster", "16.5×", "images_a_second 119", "growth_memory.svg"))
    assert "polyline" in (docs / "growth_time.svg").read_text()

"""`toolkit runs`: every run below a folder with its number, interval and what is its own in the config."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recorded_runs import other, record, write_run

from toolkit.cli.main import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two evaluated runs, one that was only trained, one broken, a record without a run."""
    write_run(tmp_path / "wide", record(0.8), {"train": {"steps": 200}})
    write_run(tmp_path / "old" / "narrow", record(0.6), {"model": {"width": 8}})
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "config.yaml").write_text("seed: 3\ntrain: {steps: 100}\n")
    events = [{"step": 1, "loss": 2.0}, {"step": 2, "val/mIoU": 0.4, "val/loss": 1.0}, {"step": 3, "loss": 1.0}]
    (trained / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"step": 4, "va')
    broken = write_run(tmp_path / "broken", record(0.7))
    (broken / "evaluation" / "val" / "metrics.json").write_text("{")
    other(record(0.7), split="photos").write(tmp_path / "somebody")
    return tmp_path


def test_every_run_is_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["run"]: row for row in told["runs"]}
    assert list(rows) == ["somebody", "wide", "old/narrow", "trained", "broken"]  # by split, the best first
    wide, trained = rows["wide"], rows["trained"]
    assert wide["metric"] == "mIoU"
    assert wide["low"] < wide["value"] < wide["high"]
    assert (wide["groups"], wide["split"]) == (20, "val")
    assert (trained["value"], trained["low"], trained["step"]) == (0.4, None, 2)
    assert "toolkit evaluate" in trained["why"]
    assert "metrics.json" in rows["broken"]["broken"]
    assert set(told["keys"]) == {"seed", "train.steps", "model.width"}
    assert wide["differs"] == {"seed": 0, "train.steps": 200, "model.width": None}
    assert told["usual"] == {"seed": 0, "train.steps": 100, "model.width": None}


def test_the_table_shows_what_a_run_has_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(folder)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["wide"].endswith("train.steps=200")
    assert lines["old/narrow"].endswith("model.width=8")
    assert "no record: toolkit evaluate makes one (mIoU is of step 2 of the training)" in lines["trained:"]
    assert lines["broken:"].startswith("broken: broken: ")


def test_a_folder_without_runs_says_so_and_a_missing_one_is_refused(tmp_path, capsys) -> None:
    assert run(["runs", str(tmp_path)]) == 0
    assert "no runs below" in capsys.readouterr().out
    assert run(["runs", str(tmp_path / "nothing")]) == 2


def test_the_table_needs_no_torch(folder: Path) -> None:
    code = f"import sys; from toolkit.jobs.runs import runs_below; runs_below({str(folder)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

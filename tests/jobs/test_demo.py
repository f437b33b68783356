"""The demos are configs like everybody's, and the whole job runs (at a small size)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from toolkit.cli.demo import command
from toolkit.jobs import demo as demo_job
from toolkit.jobs.demo import demo_text, run_demo


def test_its_last_line_names_what_everybody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installed the package has its verbs, and no folder of configs."""
    made = {"tables": [], "paths": {"run": "demo/run"}, "seconds": 1.0}
    monkeypatch.setattr(demo_job, "run_demo", lambda task, out, say: dict(made))
    last = CliRunner().invoke(command, []).output.strip().splitlines()[-1]
    assert last.endswith("toolkit init FOLDER")
    assert ".yaml" not in last


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = re.sub("count_train: [0-9]+, count_val: 60", "count_train: 12, count_val: 5", demo_text("segmentation"))
    small = re.sub(r"\bsteps: [0-9]+", "steps: 3", small).replace("[128, 160]", "[64, 80]")
    monkeypatch.setattr(demo_job, "demo_text", lambda task: small)


@pytest.mark.usefixtures("_small")
def test_the_whole_job(tmp_path: Path) -> None:
    said: list[str] = []
    first = run_demo("segmentation", tmp_path / "demo", said.append)
    assert [line[:3] for line in said] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert first["predicted"] == 5
    assert len(list((tmp_path / "demo" / "predictions").glob("*_overlay.jpg"))) == 5
    with Image.open(first["paths"]["picture"]) as picture:
        assert min(picture.size) > 200
    assert "<dialog" in Path(first["paths"]["page"]).read_text(encoding="utf-8")  # with its pictures
    event = json.loads((tmp_path / "demo" / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert first["metrics"]["mIoU"] == event["val/mIoU"]


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
def test_again_it_says_the_same_in_a_folder_of_another_name(tmp_path: Path) -> None:
    first, again = (run_demo("segmentation", tmp_path / "demo", lambda line: None) for _ in range(2))
    assert again["paths"]["run"] == str(tmp_path / "demo-2" / "run")
    assert again["metrics"] == first["metrics"]

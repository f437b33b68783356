"""The demos are configs like everybody's, and the whole job runs (at a small size)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from toolkit.config.load import load_config, parse_config
from toolkit.config.plain import to_plain
from toolkit.jobs import demo as demo_job
from toolkit.jobs.demo import demo_text, run_demo

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_demo_is_the_tiny_config_with_another_folder() -> None:
    demo = to_plain(parse_config(demo_text("segmentation"), "x.yaml", ["data.root=r"]))
    tiny = to_plain(load_config(CONFIGS / "tiny" / "unet_shapes.yaml", ["data.root=r"]))
    assert demo == tiny


def test_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = demo_text("segmentation").replace("count_train: 1000, count_val: 60", "count_train: 12, count_val: 5")
    small = small.replace("steps: 700", "steps: 3").replace("workers: 1", "workers: 0")
    monkeypatch.setattr(demo_job, "demo_text", lambda task: small)
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
    again = run_demo("segmentation", tmp_path / "demo", said.append)
    assert again["paths"]["run"] == str(tmp_path / "demo-2" / "run")
    assert again["metrics"] == first["metrics"]

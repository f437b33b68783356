"""README's table is what its script makes, and a receipt says what its run did."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tiny_run import tiny_config

from benchmarks import numbers_page, receipt, systems_table
from toolkit.engine.run_folder import RunFolder
from toolkit.jobs.train import run_training

RECEIPTS = sorted(receipt.FOLDER.glob("*.json"))


def test_the_table_of_the_readme_is_what_the_script_makes() -> None:
    text = systems_table.README.read_text(encoding="utf-8")
    assert systems_table.rewritten(text, systems_table.table()) == text


def test_the_page_of_numbers_is_what_the_script_makes(tmp_path: Path) -> None:
    numbers_page.write_numbers_page(
        systems_table.receipts_in(), systems_table.recipe_study(), systems_table.newcomers(), tmp_path
    )
    for name in ("numbers.md", numbers_page.PICTURE):
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert (receipt.ROOT / "docs" / name).read_text(encoding="utf-8") == written
    assert ".class-line { fill: none" in written  # a curve that stands alone is a line, not an area


@pytest.mark.parametrize("path", RECEIPTS, ids=lambda path: path.stem)
def test_a_receipt_is_of_a_config_that_is_shipped_or_says_what_is_not(path: Path) -> None:
    one = json.loads(path.read_text(encoding="utf-8"))
    config = receipt.ROOT / one["config"]
    assert any(config in systems_table.paths_of(names) for names in systems_table.SYSTEMS.values()), "it has no row"
    assert one["processor_minutes"] > 0
    assert one["images_seen"] > 0
    assert len(one["weights"]["sha256"]) == 64
    if one["config_sha256"] != receipt.config_hash(config):
        assert "the config has changed since" in systems_table.measured(one, named=False)


def test_a_receipt_says_what_its_run_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["toolkit", "train", "configs/tiny/unet_shapes.yaml", "train.steps=4", "data.root=/x/set"]
    )
    run_training(tiny_config(tmp_path / "data", "train.steps=4", "evaluate.record=true"), tmp_path / "run", quiet=True)
    found = receipt.receipt(tmp_path / "run")
    assert found["command"] == "toolkit train configs/tiny/unet_shapes.yaml train.steps=4 data.root=path/to/set"
    assert (found["steps"], found["images_seen"]) == (4, 8)
    assert found["processor_minutes"] > 0
    weights = RunFolder(tmp_path / "run").best.read_bytes()
    assert found["weights"] == {"file": "best.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}
    assert any(text.startswith("train.steps was") for text in found["departures"])
    points = [point for point in found["curve"] if "mIoU" in point]
    assert points[-1]["mIoU"] == pytest.approx(found["evaluation"]["metrics"]["mIoU"])
    assert str(tmp_path) not in json.dumps(found)


def test_comments_do_not_change_what_a_config_is(tmp_path: Path) -> None:
    one, other, third = (tmp_path / f"{name}.yaml" for name in "abc")
    one.write_text("# a\ntrain: {steps: 3, seed: 1}\n")
    other.write_text("train:\n  seed: 1\n  steps: 3  # as in the paper\n")
    third.write_text("train: {steps: 4, seed: 1}\n")
    assert receipt.config_hash(one) == receipt.config_hash(other) != receipt.config_hash(third)


def test_a_config_that_has_changed_is_said(tmp_path: Path) -> None:
    evaluation = {"split": "val", "metric": "mIoU", "percent": True, "metrics": {"mIoU": 0.5}}
    one = {
        "config": "configs/tiny/unet_shapes.yaml", "config_sha256": "0", "departures": ["train.steps was 3 and is now 4"],
        "command": "toolkit train", "processor_minutes": 2.0, "images_seen": 8, "evaluation": evaluation,
    }  # fmt: skip
    told = systems_table.measured(one, named=False)
    assert "mIoU **50.00**" in told
    assert "the config has changed since" in told
    assert "not as shipped: train.steps was 3" in told

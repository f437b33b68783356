"""A check says what an evaluation will meet, not only what a training step does; and what it has not looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_data import make_pairs, mask, picture, save
from tiny_run import tiny_config

from toolkit.analysis.device_memory import Memory
from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import SizeRule
from toolkit.jobs.check import check_config
from toolkit.preflight.findings import Report
from toolkit.preflight.model import forecasts
from toolkit.preflight.model.sizes import compare_with_validation

TEXT = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 4, depth: 3, padding: same}
  neck: {name: skip}
  head: {name: pixel}
data:
  classes: [ground, thing, other]
  batch_size: 2
  workers: 0
  train: {dataset: {name: image_masks, split: train.txt}}
  val: {dataset: {name: image_masks, split: val.txt}}
train: {steps: 6, optimizer: {name: adamw, lr: 0.01}, evaluate_every: 3, device: cpu}
evaluate: {evaluators: [semantic], batch_size: 1}
name: forecasts
"""


def with_a_large_validation_image(root: Path, size: tuple[int, int] = (1024, 1200)) -> Config:
    """Pairs of 96x128, the last of validation much larger."""
    make_pairs(root)
    save(root / "images/p08.jpg", picture(8, size))
    save(root / "masks/p08.png", mask(8, size))
    return parse_config(TEXT, "forecasts.yaml", [f"data.root={root}"])


def texts(report: Report, topic: str) -> list[str]:
    return [fact.text for fact in report.facts if fact.topic == topic]


def test_the_largest_validation_image_is_what_memory_and_time_are_forecast_for(tmp_path: Path) -> None:
    report = check_config(with_a_large_validation_image(tmp_path))
    assert not report.errors
    assert any("the largest 1024x1200" in text for text in texts(report, "sizes"))
    (memory,) = texts(report, "memory")
    assert "the evaluation of an image of 1024x1200" in memory
    (time,) = texts(report, "time")
    assert "each evaluation of 3 images (the largest 1024x1200)" in time


def test_what_does_not_fit_is_warned_of_with_numbers_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "device_memory", lambda device: Memory(2**30, 50 * 2**20, 0))
    report = check_config(with_a_large_validation_image(tmp_path))
    (warning,) = [one for one in report.findings if one.kind == "memory"]
    assert warning.severity == "warning"
    assert warning.problem.place.key == "data.val.transforms"
    assert "cpu has 50 MiB free" in warning.problem.message


def test_a_validation_size_that_the_model_refuses_is_an_error_before_training() -> None:
    padded, refused = Report(), Report()
    for report, pads in ((padded, True), (refused, False)):
        compare_with_validation(report, (64, 96), [(64, 96), (65, 96)], SizeRule(32, 32), pads=pads)
    assert not padded.errors
    (problem,) = refused.errors
    assert (problem.place.key, refused.exit_code) == ("data.val.transforms", 2)
    assert "65x96 are refused: the next legal size is 96x96" in problem.message


def test_settings_that_a_training_refuses_are_errors_of_the_check(tmp_path: Path) -> None:
    report = check_config(tiny_config(tmp_path / "d", "train.patience=2", "train.evaluate_every=null"))
    assert [problem.place.key for problem in report.errors] == ["train.patience"]


def test_a_quick_check_says_what_it_did_not_read(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    (quick,) = texts(check_config(config), "read")
    assert "2 of a training batch, of 9" in quick
    assert "only with --full" in quick
    assert not any("only with --full" in text for text in texts(check_config(config, full=True), "read"))

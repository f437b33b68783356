"""Numbers of a training that are legal and seldom meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config
from torch import nn

from toolkit.engine.settings import TrainSettings
from toolkit.jobs.check import check_config
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.lovasz import Lovasz
from toolkit.losses.ohem import OnlineHardExamples
from toolkit.losses.overlap import Dice
from toolkit.losses.weighted_sum import WeightedSum
from toolkit.preflight.findings import Report
from toolkit.preflight.model.plan import Plan, check_plan

SOUND = Plan(TrainSettings(steps=100, evaluate_every=20), "adamw", 1e-3, 80, 20, 8, 1)


def noted(
    model: nn.Module | None = None, cores: int = 2, settings: dict[str, Any] | None = None, **changes: Any
) -> Report:
    plan = SOUND._replace(settings=dataclasses.replace(SOUND.settings, **(settings or {})), **changes)
    report = Report()
    check_plan(report, plan, model, cores)
    return report


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_a_sound_plan_is_left_alone() -> None:
    assert noted(nn.Sequential(nn.BatchNorm2d(3)).train()).findings == []


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"settings": {"warmup_steps": 100}}, "warmup", "warm-up (100 steps) is not over when the run is"),
        ({"settings": {"evaluate_every": 101}}, "evaluate_every", "evaluates every 101 steps, but the run has 100"),
        ({"batch_size": 81}, "large_batch", "a batch of 81 is more than the 80 training images"),
        ({"images": 801}, "short_run", "100 steps show 800 of the 801 training images: less than one epoch"),
        ({"lr": 0.1}, "learning_rate", "0.1 is very high for adamw"),
        ({"lr": 1e-9}, "learning_rate", "1e-09 is very low for adamw"),
        ({"optimizer": "sgd", "lr": 2.0}, "learning_rate", "2 is very high for sgd"),
        ({"workers": 3}, "workers", "3 loader processes on 2 core(s)"),
    ],
)
def test_each_surprise_is_said_alone(options: dict[str, Any], kind: str, words: str) -> None:
    report = noted(**options)
    assert kinds(report) == [kind]
    assert words in report.warnings[0].message
    assert report.warnings[0].suggestion
    assert report.exit_code == 0


@pytest.mark.parametrize(
    "options", [{"optimizer": "sgd", "lr": 0.9}, {"optimizer": "somebody:Own", "lr": 30.0}, {"workers": 2}]
)
def test_the_edge_of_the_usual_is_usual(options: dict[str, Any]) -> None:
    assert noted(**options).findings == []


def test_accumulated_batches_count_for_an_epoch() -> None:
    assert noted(images=801, settings={"accumulate": 2}).findings == []


def test_no_evaluation_no_word_of_it() -> None:
    assert noted(val_images=0, settings={"evaluate_every": 1000}).findings == []


def test_batch_normalisation_with_one_image() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    report = noted(model, batch_size=1, settings={"steps": 1000})
    assert kinds(report) == ["batch_norm"]
    assert "(1 layers, 1 first) sees one image at a time" in report.warnings[0].message
    assert kinds(noted(model, batch_size=2, settings={"steps": 1000, "devices": 2})) == ["batch_norm"]
    assert kinds(noted(nn.Conv2d(3, 4, 1), batch_size=1, settings={"steps": 1000})) == []
    assert kinds(noted(model, batch_size=1, settings={"steps": 1000, "frozen": ["1"]})) == []
    assert kinds(noted(model.eval(), batch_size=1, settings={"steps": 1000})) == []


def test_the_same_images_to_train_and_to_measure(tmp_path: Path) -> None:
    report = check_config(tiny_config(tmp_path / "d", "data.val.dataset.split=train"))
    (finding,) = report.findings
    assert (finding.kind, finding.severity, finding.number) == ("same_files", "warning", 6)
    assert "'val' is the same images as 'train'" in finding.problem.message
    assert len(finding.files) == 6
    assert finding.files[0].endswith(".jpg")


def test_surprises_reach_the_report_of_a_config(tmp_path: Path) -> None:
    report = check_config(
        tiny_config(
            tmp_path / "d",
            "train.warmup_steps=50",
            "train.optimizer.lr=3",
            "data.batch_size=7",
            "train.evaluate_every=9",
        )
    )
    assert {finding.kind for finding in report.findings} == {"warmup", "learning_rate", "large_batch", "evaluate_every"}
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("loss", "settings", "said"),
    [
        (CrossEntropy(), {"devices": 2, "accumulate": 3}, ""),
        (Dice(), {"devices": 2}, ""),
        (Dice(), {"accumulate": 3}, "dice is no mean over pixels: taken in each of 3 accumulated batches alone"),
        (Lovasz(), {"devices": 2}, "lovasz is no mean over pixels: taken in each of 2 processes alone"),
        (OnlineHardExamples(), {"devices": 2, "nodes": 2}, "ohem is no mean over pixels: taken in each of 4 processes"),
        (OnlineHardExamples(), {}, ""),
        (WeightedSum([CrossEntropy(), Lovasz()]), {"accumulate": 2}, "lovasz is no mean over pixels"),
    ],
)
def test_losses_that_differ_when_a_batch_is_divided(loss: nn.Module, settings: dict[str, Any], said: str) -> None:
    messages = [problem.message for problem in noted(nn.Sequential(loss), settings=settings).warnings]
    assert [message for message in messages if "mean over pixels" in message] == [
        m for m in messages if said and said in m
    ]
    assert bool(said) == any("mean over pixels" in message for message in messages)

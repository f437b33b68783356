"""A study: every run the run it would be alone, killed and continued, and what the runs say together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from run_laws import assert_same_run
from tiny_run import tiny_config, write_tiny

from toolkit.cli.main import command_line
from toolkit.config.load import load_config
from toolkit.engine.interrupt import Interrupted
from toolkit.errors import ConfigError
from toolkit.jobs import study as study_module
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.study import run_study
from toolkit.jobs.study_plan import Asked, planned_runs
from toolkit.jobs.train import run_training
from toolkit.results.record import Record

SHORT = ("train.steps=4", "data.val.dataset.split=train")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, tmp_path / "shapes")


def test_each_fold_is_its_single_run_and_the_mean_is_theirs(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = (*SHORT, "evaluate.record=true")
    found = run_study(config, short, Asked(folds=2), tmp_path / "study")
    values = [run["metrics"]["mIoU"] for run in found["runs"]]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["low"] < found["mean"] < found["high"]
    for number, run in enumerate(found["runs"]):
        alone = load_config(config, [*short, *run["overrides"]])
        run_training(alone, tmp_path / f"alone_{number}", quiet=True)
        assert_same_run(tmp_path / f"alone_{number}", Path(run["run"]))
    names = [name for run in found["runs"] for name in Record.read(Path(run["run"]) / "evaluation" / "val").images]
    assert len(set(names)) == len(names) == 6  # each image judged once, by the model that has not seen it
    assert {one["image"] for one in found["worklist"]} <= set(names)
    kept = json.loads((tmp_path / "study" / "study.json").read_text())["result"]
    assert kept["mean"] == found["mean"]


def test_a_killed_study_goes_on_where_it_was(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(seeds=2)
    whole = run_study(config, SHORT, asked, tmp_path / "whole")
    real, trained = run_training, list[str]()

    def killed(one: Any, run: Path, **options: Any) -> dict[str, Any]:
        trained.append(run.name)
        result = real(one, run, **options)
        if len(trained) == 2:
            raise Interrupted  # after the run was done and before the study knew of it
        return result

    monkeypatch.setattr(study_module, "run_training", killed)
    with pytest.raises(Interrupted):
        run_study(config, SHORT, asked, tmp_path / "cut")
    with pytest.raises(ConfigError):  # a folder that is not empty is continued on demand only
        run_study(config, SHORT, asked, tmp_path / "cut")
    with pytest.raises(ConfigError):  # and by the same study only
        run_study(config, SHORT, Asked(seeds=3), tmp_path / "cut", resume=True)
    cut = run_study(config, SHORT, asked, tmp_path / "cut", resume=True)
    assert trained == ["seed_0", "seed_1", "seed_1"]
    assert (cut["mean"], cut["low"], cut["high"]) == (whole["mean"], whole["low"], whole["high"])
    for run in ("seed_0", "seed_1"):
        assert_same_run(tmp_path / "whole" / run, tmp_path / "cut" / run)


def test_shares_give_a_curve(config: Path, tmp_path: Path) -> None:
    command = [
        "study",
        str(config),
        "train.steps=2",
        "--shares",
        "50,100",
        "--json",
        "--out",
        str(tmp_path / "s"),
    ]
    result = CliRunner().invoke(command_line, command)
    assert result.exception is None, result.exception
    found = json.loads(result.stdout)
    assert [run["images"] for run in found["runs"]] == [3, 6]
    assert found["mean"] == found["runs"][1]["value"]
    assert found["curve"]["doubling"]["to"] == 12
    assert found["curve"]["doubling"]["low"] is None
    assert (tmp_path / "s" / "curve.svg").read_text().startswith("<svg")


def test_folds_measure_every_training_image_once(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "shapes")
    (tmp_path / "tiny.yaml").write_text("")
    path = write_tiny(tmp_path, tmp_path / "shapes")
    measured = []
    for run in planned_runs(config, Asked(folds=3)):
        one = load_config(path, run.overrides)
        assert [type(t).__name__ for t in (one.data.val.transforms if one.data.val else [1])] == []
        measured += [sample.name for sample in build_dataset(one, "val")]
    assert sorted(measured) == [sample.name for sample in build_dataset(config, "train")]


def test_values_are_parted_at_commas_outside_of_brackets(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    runs = planned_runs(config, Asked(vary=("train.optimizer.lr=0.1,0.01", "data.classes=[a, b],[c]")))
    assert [run.overrides for run in runs] == [
        ("train.optimizer.lr=0.1", "data.classes=[a, b]"), ("train.optimizer.lr=0.1", "data.classes=[c]"),
        ("train.optimizer.lr=0.01", "data.classes=[a, b]"), ("train.optimizer.lr=0.01", "data.classes=[c]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "asked", [Asked(), Asked(folds=1), Asked(seeds=0), Asked(shares=(0.0,)), Asked(vary=("seed",)), Asked(vary=("seed=1,1",))]
)  # fmt: skip
def test_what_varies_nothing_is_refused(tmp_path: Path, asked: Asked) -> None:
    with pytest.raises(ConfigError):
        planned_runs(tiny_config(tmp_path), asked)

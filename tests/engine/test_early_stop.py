"""Early stopping: counted in evaluations, known to a resumed run, said in the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from run_laws import assert_same_run, events, stop_after
from tiny_run import tiny_config

from toolkit.engine.checkpoint import load_state
from toolkit.errors import ConfigError
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.jobs.train import run_training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evaluations give made-up numbers, by the step."""

    def of(numbers: Sequence[float | None]) -> None:
        given = iter(numbers)
        monkeypatch.setattr(SemanticEvaluator, "compute", lambda self: {"mIoU": next(given)})
        monkeypatch.setattr(SemanticEvaluator, "tables", lambda self: [])

    return of


def config(data: Path, *overrides: str) -> Any:
    return tiny_config(data, "train.evaluate_every=1", "train.patience=2", "train.steps=9", *overrides)


def test_two_evaluations_without_a_better_one_end_the_run(data: Path, tmp_path: Path, values: Any) -> None:
    values([0.5, 0.4, 0.6, 0.6, 0.5, 0.9])
    result = run_training(config(data), tmp_path / "run", quiet=True)
    assert result["step"] == 5  # 0.6 a second time is not better
    assert [event["val/mIoU"] for event in events(tmp_path / "run") if "val/mIoU" in event] == [0.5, 0.4, 0.6, 0.6, 0.5]
    assert (
        "early stop at step 5: 2 evaluations without a better mIoU; the best is 60.00 of step 3"
        in (tmp_path / "run" / "train.log").read_text()
    )
    assert load_state(tmp_path / "run" / "last.state").best == {"value": 0.6, "step": 3}


def test_undefined_numbers_are_not_better(data: Path, tmp_path: Path, values: Any) -> None:
    values([None, None, 0.5])
    assert run_training(config(data), tmp_path / "run", quiet=True)["step"] == 2


def test_of_errors_the_smallest_is_best(
    data: Path, tmp_path: Path, values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluator whose number is an error in a unit: kept, stopped and written in its own direction."""
    monkeypatch.setattr(SemanticEvaluator, "larger_is_better", False)
    monkeypatch.setattr(SemanticEvaluator, "percent", False)
    numbers = [7.5, 8.0, 3.25, 4.0, 3.25, 1.0]
    values(numbers)
    assert run_training(config(data), tmp_path / "whole", quiet=True)["step"] == 5
    text = (tmp_path / "whole" / "train.log").read_text()
    assert "the best is 3.25 of step 3" in text
    assert load_state(tmp_path / "whole" / "last.state").best == {"value": 3.25, "step": 3}
    values(numbers)
    stop_after(config(data), tmp_path / "run", 4, monkeypatch)
    values(numbers[max(0, load_state(tmp_path / "run" / "last.state").evaluated) :])
    run_training(config(data), tmp_path / "run", resume=True, quiet=True)
    assert load_state(tmp_path / "run" / "last.state").best == {"value": 3.25, "step": 3}


@pytest.mark.parametrize("step", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3, 4))])
def test_resumed_is_the_uninterrupted_run(
    data: Path, tmp_path: Path, step: int, values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [0.5, 0.4, 0.6, 0.3, 0.2, 0.9]
    values(numbers)
    run_training(config(data), tmp_path / "whole", quiet=True)
    values(numbers)
    stop_after(config(data), tmp_path / "run", step, monkeypatch)
    state = load_state(tmp_path / "run" / "last.state")
    values(numbers[max(0, state.evaluated) :])
    assert run_training(config(data), tmp_path / "run", resume=True, quiet=True)["step"] == 5
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_an_ended_run_stays_ended(data: Path, tmp_path: Path, values: Any) -> None:
    values([0.5, 0.4, 0.3])
    run_training(config(data), tmp_path / "run", quiet=True)
    values([])
    assert run_training(config(data), tmp_path / "run", resume=True, quiet=True)["step"] == 3


def test_statistics_are_recomputed_at_an_early_end_too(data: Path, tmp_path: Path, values: Any) -> None:
    values([0.5, 0.4, 0.3, 0.9])
    run = tmp_path / "run"
    assert run_training(config(data, "train.recompute_bn=2"), run, quiet=True)["step"] == 3
    assert "statistics of 2 batches" in (run / "train.log").read_text()
    state = load_state(run / "last.state")
    assert (state.best, state.stale) == ({"value": 0.9, "step": 3}, 2)  # better, but the end is the end
    values([])
    assert run_training(config(data, "train.recompute_bn=2"), run, resume=True, quiet=True)["step"] == 3


@pytest.mark.parametrize("override", ["train.evaluate_every=null", "evaluate.evaluators=[]", "data.val=null"])
def test_patience_needs_evaluations(data: Path, tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.patience.*evaluat"):
        run_training(config(data, override), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 5))])
def test_everything_at_once_resumed_is_the_uninterrupted_run(
    data: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averages, patience, a part trained from step 3 on, clipping, accumulation, rates by part, batch norms that stay."""
    options = [
        "train.ema_decay=0.8", "train.patience=4", "train.freeze_until={neck: 3}", "train.clip_norm=0.5",
        "train.accumulate=2", "train.lr_factors={backbone: 0.3}", "train.frozen_bn=[backbone.levels.0]",
        "train.evaluate_every=2", "train.recompute_bn=2", "train.optimizer={name: sgd, lr: 0.05}", "train.log_every=2",
    ]  # fmt: skip
    run_training(tiny_config(data, *options), tmp_path / "whole", quiet=True)
    stop_after(tiny_config(data, *options), tmp_path / "run", step, monkeypatch)
    run_training(tiny_config(data, *options), tmp_path / "run", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_resumed_run_that_had_stopped_early_says_so(data: Path, tmp_path: Path, values: Any) -> None:
    values([0.5, 0.4, 0.3, 0.2])
    run = tmp_path / "run"
    run_training(config(data), run, quiet=True)
    assert "had stopped early" not in (run / "train.log").read_text()
    assert run_training(config(data, "train.steps=12"), run, resume=True, quiet=True)["step"] == 3
    assert "note       it had stopped early: more steps need a larger train.patience" in (run / "train.log").read_text()

"""TensorBoard, MLflow and Weights & Biases get what metrics.jsonl has: without gaps and doubles, across a resume too."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from run_laws import events, stop_after
from tiny_run import tiny_config

from toolkit.engine import loggers
from toolkit.engine.log import RunLog
from toolkit.errors import ConfigError
from toolkit.jobs.train import run_training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


def numbers_of(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every number of metrics.jsonl, by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(run):
        for name, value in event.items():
            if name != "step" and value is not None:
                found.setdefault(name, []).append((event["step"], value))
    return found


def assert_sent(run: Path, sent: dict[str, list[tuple[int, float]]]) -> None:
    wanted = numbers_of(run)
    assert set(wanted) <= set(sent)
    for name, values in wanted.items():
        # "epoch" is in two events of a step when it was both logged and measured.
        assert sorted(set(sent[name])) == [(s, pytest.approx(v, rel=1e-6)) for s, v in sorted(set(values))], name
        if name != "epoch":
            assert len(sent[name]) == len(values), name


def interrupted_and_resumed(data: Path, run: Path, logger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(data, f"train.loggers=[{logger}]", "train.log_every=1")
    stop_after(config, run, 5, monkeypatch)
    run_training(config, run, resume=True, quiet=True)


def test_tensorboard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    interrupted_and_resumed(data, tmp_path / "run", "tensorboard", monkeypatch)
    assert_sent(tmp_path / "run", scalars(accumulator, tmp_path / "run"))


def scalars(accumulator: Any, run: Path) -> dict[str, list[tuple[int, float]]]:
    reader = accumulator.EventAccumulator(str(run / "tensorboard"))
    reader.Reload()
    return {name: [(e.step, e.value) for e in reader.Scalars(name)] for name in reader.Tags()["scalars"]}


def test_tensorboard_after_a_kill_repeats_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is of step 4; steps 5 and 6 were sent, and die with the process."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    config = tiny_config(data, "train.loggers=[tensorboard]", "train.log_every=1", "train.save_every=4")
    real = RunLog.event

    def killed(self: RunLog, **values: Any) -> None:
        real(self, **values)
        if values["step"] == 6:
            raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "event", killed)
        with pytest.raises(SystemError):
            run_training(config, run, quiet=True)
    run_training(config, run, resume=True, quiet=True)
    assert_sent(run, scalars(accumulator, run))


def test_mlflow(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_of = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tmp_path / "run"
    interrupted_and_resumed(data, run, "mlflow", monkeypatch)
    client = client_of(f"file:{run / 'mlflow'}")
    (experiment,) = client.search_experiments(filter_string="name = 'toolkit'")
    (found,) = client.search_runs([experiment.experiment_id])  # one run, not two
    assert found.info.status == "FINISHED"
    assert found.data.params["train.optimizer.lr"] == "0.01"
    sent = {
        name: [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, name.replace("/", "."))]
        for name in numbers_of(run)
    }
    assert_sent(run, sent)


def test_wandb_offline(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network; the same id after the resume. What was logged is watched at the run's own `log`."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    sent: dict[str, list[tuple[int, float]]] = {}
    real = wandb.Run.log

    def log(self: Any, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            sent.setdefault(name, []).append((step, value))
        real(self, numbers, step=step)

    monkeypatch.setattr(wandb.Run, "log", log)
    run = tmp_path / "run"
    interrupted_and_resumed(data, run, "wandb", monkeypatch)
    folders = [path.name for path in (run / "wandb").iterdir() if path.name.startswith("offline-run-")]
    identity = json.loads((run / "loggers.json").read_text())["wandb"]["id"]
    assert len(folders) == 2
    assert all(name.endswith(identity) for name in folders)
    wanted = numbers_of(run)
    assert {name: sorted(set(values)) for name, values in sent.items() if name in wanted} == {
        name: sorted(set(values)) for name, values in wanted.items()
    }


def test_a_missing_package_is_told_before_anything_begins(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "PACKAGES", {"wandb": "no_such_wandb", "mlflow": "no_such_mlflow"})
    with pytest.raises(ConfigError) as caught:
        run_training(tiny_config(data, "train.loggers=[wandb, mlflow]"), tmp_path / "run", quiet=True)
    assert [problem.suggestion for problem in caught.value.problems] == [
        "pip install no_such_wandb", "pip install no_such_mlflow",
    ]  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_logger_that_fails_is_left_out_and_the_training_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_: Any) -> None:
            self.calls = 0

        def log(self, step: int, numbers: dict[str, float]) -> None:
            raise ConnectionError("no route to host")

        def close(self, *, finished: bool) -> None:
            raise AssertionError("it was left out")

    monkeypatch.setattr(loggers, "TensorBoardLogger", Broken)
    if importlib.util.find_spec("tensorboard") is None:
        monkeypatch.setattr(loggers, "missing_packages", lambda names: [])
    run_training(tiny_config(data, "train.loggers=[tensorboard]"), tmp_path / "run", quiet=True)
    assert events(tmp_path / "run")[-1]["step"] == 8
    text = (tmp_path / "run" / "train.log").read_text()
    assert text.count("Broken failed and is left out from here on: no route to host") == 1

"""Other places that the events of a run go to: TensorBoard, Weights & Biases, MLflow. `metrics.jsonl` stays the record.

Each sees every number once. What a killed run had sent after its last state is sent again by the resumed run:
TensorBoard cuts off what was there, the others know the last step they have and take nothing twice.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from toolkit.errors import Problem, UserError
from toolkit.files import replacing

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Logger -> the module it needs, which is also what pip calls it and the name of the extra."""
_RECORD = "loggers.json"


class Logger(Protocol):
    """Takes the numbers of an event."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Sends numbers, by name, of a step."""

    def close(self, *, finished: bool) -> None:
        """Sends what is waiting. finished: whether the run came to its end."""


def missing_packages(names: Sequence[str]) -> list[Problem]:
    """A problem for each logger whose package is not installed."""
    return [
        Problem("train.loggers", f"{name} needs a package that is not installed", f"pip install {PACKAGES[name]}")
        for name in dict.fromkeys(names)
        if importlib.util.find_spec(PACKAGES[name]) is None
    ]


def open_loggers(names: Sequence[str], folder: Path, config: dict[str, Any], step: int) -> list[Logger]:
    """The loggers of a run, fresh (step 0) or continued from `step`, whose own events have to be sent again.

    Raises UserError, naming the logger, when its service or folder refuses.

    Args:
        names: "tensorboard", "wandb" or "mlflow", each an extra to install.
        folder: run folder, where their files and ids are kept.
        config: what the run was made with, plain values by name.
        step: optimizer updates the run has made, 0 for a fresh one.
    """
    return [_opened(name, folder, config, step) for name in dict.fromkeys(names)]


def _opened(name: str, folder: Path, config: dict[str, Any], step: int) -> Logger:
    makers: dict[str, Callable[[Path, dict[str, Any], int], Logger]] = {
        "tensorboard": TensorBoardLogger, "wandb": WandbLogger, "mlflow": MlflowLogger,
    }  # fmt: skip
    try:
        return makers[name](folder, config, step)
    except Exception as error:  # whatever a foreign library raises, the user must know which logger it was
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        remedy = f"see the documentation of {name}, or take it out of train.loggers"
        raise UserError(Problem("train.loggers", f"{name} cannot be started: {reason}", remedy)) from error


class TensorBoardLogger:
    """Event files in `RUN/tensorboard`; look with `tensorboard --logdir RUN`.

    Args:
        folder: run folder, in which the event files lie.
        config: what the run was made with, plain values by name.
        step: optimizer updates the run has made; later events are written anew.
    """

    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow third party

        # Readers drop what an interrupted run had written from purge_step on.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Writes numbers of a step, by name, as one scalar each."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """Ends the event file, whether or not the run has finished."""
        self._writer.close()


class WandbLogger:
    """A run at Weights & Biases; its id is kept in `RUN/loggers.json`. WANDB_MODE=offline works without a network.

    Args:
        folder: run folder, where the id of the run is kept.
        config: what the run was made with, plain values by name.
        step: optimizer updates the run has made; later events are sent anew.
    """

    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        import wandb  # slow third party

        known = _recorded(folder, "wandb") if step else None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "toolkit"),
            name=folder.name,
            dir=str(folder),
            id=known["id"] if known else None,
            resume="allow" if known else None,
            config=config,
        )
        _record(folder, "wandb", {"id": self._run.id})

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """W&B's step only grows: what it has already is left out there."""
        self._run.log(numbers, step=step)

    def close(self, *, finished: bool) -> None:
        """Sends what is left and says whether the run has finished."""
        self._run.finish(exit_code=0 if finished else 1)


class MlflowLogger:
    """A run at the server of MLFLOW_TRACKING_URI, else in files under `RUN/mlflow`; its id is kept in `RUN/loggers.json`.

    Names have dots for slashes: val.mIoU.

    Args:
        folder: run folder, where the id of the run is kept.
        config: what the run was made with, plain values by name.
        step: optimizer updates the run has made; later events are sent anew.
    """

    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer MLflows ask for this before they write files
        from mlflow import MlflowClient  # slow third party

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"file:{folder.absolute() / 'mlflow'}")
        known = _recorded(folder, "mlflow") if step else None
        self._id = known["id"] if known else self._new(folder, config)
        self._sent = {name: self._last_step(name) for name in self._client.get_run(self._id).data.metrics}
        _record(folder, "mlflow", {"id": self._id})

    def _new(self, folder: Path, config: dict[str, Any]) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "toolkit")
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=folder.name)
        parameters = [Param(_mlflow_name(key), str(value)[:500]) for key, value in config.items()]
        for start in range(0, len(parameters), 100):  # the most that a server takes at once
            self._client.log_batch(run.info.run_id, params=parameters[start : start + 100])
        return str(run.info.run_id)

    def _last_step(self, name: str) -> int:
        return max(metric.step for metric in self._client.get_metric_history(self._id, name))

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A number whose step is there already is not sent again."""
        for name, value in numbers.items():
            if step > self._sent.get(_mlflow_name(name), -1):
                self._client.log_metric(self._id, _mlflow_name(name), value, step=step)

    def close(self, *, finished: bool) -> None:
        """Marks the run as finished or stopped."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


def _mlflow_name(name: str) -> str:
    """loss.cross_entropy for loss/cross_entropy: its files cannot hold both loss and loss/...; AP_0.5 for AP@0.5."""
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name.replace("/", "."))


def _record(folder: Path, logger: str, values: dict[str, str]) -> None:
    """Notes how a run is called elsewhere, so that it can be continued there."""
    path = folder / _RECORD
    both = {**_read(path), logger: values}
    with replacing(path) as part:
        part.write_text(json.dumps(both, indent=2) + "\n", encoding="utf-8")


def _recorded(folder: Path, logger: str) -> dict[str, str] | None:
    return _read(folder / _RECORD).get(logger)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}

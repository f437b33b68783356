"""Several trainings of one config, one answer: each an ordinary run in the study's folder, killed and resumed like one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.config.load import load_config
from toolkit.config.plain import to_yaml
from toolkit.config.sections import Config
from toolkit.contracts import Evaluator
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.files import replacing
from toolkit.jobs.part_classes import part_class
from toolkit.jobs.study_plan import Asked, Planned, as_json, planned_runs
from toolkit.jobs.train import run_training
from toolkit.report.page import write_drawing
from toolkit.report.study_curve import learning_curve_chart
from toolkit.results.record import NUMBERS_FILE, Record
from toolkit.results.studies import learning_curve, mean_interval
from toolkit.results.worklist import worklist

FILE, CURVE = "study.json", "curve.svg"
_VAL = "val/"


def run_study(
    path: str | Path, overrides: Sequence[str], asked: Asked, out: str | Path | None = None, *, resume: bool = False
) -> dict[str, Any]:
    """Trains every run of a study and returns what they say together.

    {"study", "metric", "runs", "mean", "low", "high", "how", "settings", "curve", "worklist"}; `study.json` in the folder holds the
    same, and what is done so far while it runs. A run's number is that of its last weights: the best ones are chosen on
    the images they are measured on.

    Args:
        path: the config file that all runs are made from.
        overrides: `key=value` texts that all runs share.
        asked: what differs between the runs.
        out: folder of the study; None is `runs/NAME-study`.
        resume: whether the study in that folder goes on.

    Raises:
        ConfigError: for a folder that holds something else, and whatever a training raises.
    """
    config = load_config(path, overrides)
    runs = planned_runs(config, asked)
    configs = [load_config(path, [*overrides, *run.overrides]) for run in runs]  # all mistakes before the first step
    folder = Path(out) if out is not None else Path("runs") / f"{config.name or 'run'}-study"
    plan = {"config": to_yaml(config), "runs": as_json(runs)}
    done = _begun(folder, plan, resume=resume)
    for run, one in zip(runs, configs, strict=True):
        if run.name not in done:
            done[run.name] = _trained(folder / run.name, one)
            _keep(folder, {"plan": plan, "done": done})
    result = _answer(path, folder, config, asked, overrides, runs, done)
    if len(runs) == asked.folds:  # with several seeds or settings an image would be judged several times
        result["worklist"] = _out_of_fold(folder, runs)
    if result.get("curve", {}).get("band"):
        write_drawing(folder / CURVE, learning_curve_chart(result["curve"], result["points"], result["metric"]))
    _keep(folder, {"plan": plan, "done": done, "result": result})
    return result


def _begun(folder: Path, plan: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """What is done of a study, {} for a new one. Raises ConfigError for another study's folder."""
    file = folder / FILE
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            message = f"{folder} is there already and is not empty"
            raise ConfigError(Problem("--out", message, "continue it with --resume, or name another folder: --out DIR"))
        _keep(folder, {"plan": plan, "done": {}})
        return {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        then, done = kept["plan"], dict(kept["done"])
    except FileNotFoundError:
        message = f"{folder} holds no {FILE}: there is no study to continue"
        raise ConfigError(Problem("--resume", message, "start it without --resume")) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(Problem(file, f"cannot be read ({error})", "start the study anew in another folder")) from None
    if then != plan:
        what = "config" if then.get("config") != plan["config"] else "runs"
        message = f"the study in {folder} has another {what} than is asked for now"
        raise ConfigError(Problem("--resume", message, "ask for the same, or start another study: --out DIR"))
    return done


def _trained(folder: Path, config: Config) -> dict[str, Any]:
    """One run, begun or continued: the numbers of its last evaluation and how many images it was trained on."""
    result, run = run_training(config, folder, resume=folder.exists()), RunFolder(folder)
    counts = json.loads(run.environment.read_text(encoding="utf-8"))["images"]
    # Read, not taken from the result: a run that was done when the study was killed is not measured again.
    events = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    measured = [event for event in events if any(key.startswith(_VAL) for key in event)][-1:]
    numbers = [
        (key.removeprefix(_VAL), value) for event in measured for key, value in event.items() if key.startswith(_VAL)
    ]
    return {"step": result["step"], "metrics": dict(numbers), "images": counts}


def _answer(
    path: str | Path, folder: Path, config: Config, asked: Asked, overrides: Sequence[str], runs: Sequence[Planned],
    done: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Everything the runs say together, in plain values."""
    judge = _judge(config)
    metric = judge.metric
    told = [
        {
            "name": run.name,
            "run": str(folder / run.name),
            "setting": run.setting,
            "value": done[run.name]["metrics"].get(metric),
            "images": done[run.name]["images"].get("train"),
            "image_interval": _of_record(folder / run.name, metric),
            "metrics": done[run.name]["metrics"],
            "overrides": list(run.overrides),
            "command": _command(path, overrides, run),
        }
        for run in runs
    ]
    held_out = 1 / (asked.folds - 1) if asked.folds else None
    settings = {}
    for setting in dict.fromkeys(run.setting for run in runs):
        values = [one["value"] for one in told if one["setting"] == setting]
        settings[setting] = mean_interval(values, held_out=held_out, fraction=judge.percent)
    whole = max(asked.shares, default=None)
    counted = [
        one["value"] for run, one in zip(runs, told, strict=True)
        if whole is None or f"data.share={whole / 100:g}" in run.overrides
    ]  # fmt: skip
    mean = mean_interval(counted, held_out=held_out, fraction=judge.percent)
    result = {
        "study": str(folder), "metric": metric, "larger_is_better": judge.larger_is_better, "percent": judge.percent,
        "mean": mean["value"], "low": mean["low"], "high": mean["high"], "how": mean.get("how", mean.get("why")),
        "settings": [{"setting": name, **found} for name, found in settings.items()], "runs": told,
    }  # fmt: skip
    if asked.shares:
        points = [(one["images"], one["value"]) for one in told]
        result["points"] = [point for point in points if point[1] is not None]
        result["curve"] = learning_curve(
            *map(list, zip(*points, strict=True)),  # type: ignore[arg-type]
            larger_is_better=judge.larger_is_better, fraction=judge.percent,
        )  # fmt: skip
    return result


def _judge(config: Config) -> type[Evaluator]:
    cls: type[Evaluator] = part_class("evaluator", config.evaluate.evaluators[0].name)
    return cls


def _command(path: str | Path, overrides: Sequence[str], run: Planned) -> list[str]:
    """What trains this run alone, to the same bits."""
    return ["toolkit", "train", str(path), *overrides, *run.overrides]


def _of_record(run: Path, metric: str) -> dict[str, Any] | None:
    """The interval over images of the run's best weights, from its record; None where there is none."""
    try:
        intervals = json.loads((run / "evaluation" / "val" / NUMBERS_FILE).read_text(encoding="utf-8"))["intervals"]
        found = intervals[metric]
        return {name: found[name] for name in ("value", "low", "high", "groups")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _out_of_fold(folder: Path, runs: Sequence[Planned]) -> list[dict[str, Any]]:
    """Suspicious labels of all folds, ranked together: each image was judged by a model that had not seen it.

    From the records of the runs' best weights; a run without one says why in its log, and is left out.
    """
    records = []
    for run in runs:
        with suppress(DataError):
            records.append(Record.read(folder / run.name / "evaluation" / "val"))
    return worklist(records) if records else []


def _keep(folder: Path, value: Any) -> None:
    _write(folder / FILE, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")

"""The whole job on data it makes itself, through the same code as everybody's: check, train, evaluate, predict, look."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.engine.run_folder import next_free
from toolkit.errors import ConfigError
from toolkit.inference.folder import predict
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.check import check_config
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import restore
from toolkit.jobs.train import run_training
from toolkit.report.evaluation.page import PAGE_FILE
from toolkit.report.figures import grid

Say = Callable[[str], None]
_ROWS = 4


def demo_text(task: str) -> str:
    """The config of a task, as it lies in the package."""
    return (resources.files("toolkit.config") / "demo" / f"{task}.yaml").read_text(encoding="utf-8")


def run_demo(task: str, out: str | Path, say: Say) -> dict[str, Any]:
    """Runs a task's demo under `out` (a used folder gets a number); returns its metrics and paths.

    Raises UserError as the jobs do.

    Args:
        task: name of the demo: "segmentation" or "detection".
        out: folder for data, config and run; a used one gets a number.
        say: called with a sentence for each thing that happens.
    """
    began = time.monotonic()
    folder = next_free(Path(out))
    config = parse_config(demo_text(task), f"demo/{task}.yaml", [f"data.root={folder / 'data'}"])
    say(f"1/5  data: synthetic scenes in {folder / 'data'}")
    report = check_config(config, full=True)
    say(
        "2/5  check: "
        + "; ".join(f"{fact.topic} {fact.text}" for fact in report.facts if fact.topic in ("read", "batch"))
    )
    if report.errors:
        raise ConfigError(report.errors)
    say(f"3/5  train: {config.train.steps} steps")
    run = folder / "run"
    run_training(config, run, quiet=False)
    result = run_evaluation(run, "val")
    say("4/5  predict: the validation pictures")
    pictures = folder / "data" / "images" / "val"
    predicted = run_prediction(run, [pictures], folder / "predictions")
    figure = _figure(config, run, folder / "grid.png")
    say(f"5/5  look: {figure}")
    return {
        "task": task,
        "metrics": result["metrics"],
        "tables": result["tables"],
        "seconds": round(time.monotonic() - began, 1),
        "paths": {
            "data": str(folder / "data"),
            "run": str(run),
            "predictions": str(folder / "predictions"),
            "picture": str(figure),
            "page": str(Path(result["record"]) / PAGE_FILE),
        },
        "predicted": predicted["images"],
    }


def _figure(config: Config, run: Path, path: Path) -> Path:
    """Image, truth and prediction of the first validation pictures."""
    dataset = build_dataset(config, "val")
    model = restore(run).model
    samples = [dataset[index] for index in range(min(_ROWS, len(dataset)))]
    root = Path(str(config.data.root))
    results = predict(model, [root / sample.name for sample in samples])
    rows = []
    for sample, result in zip(samples, results, strict=True):
        truth = sample.label_map if sample.label_map is not None else sample.boxes
        if truth is None or result.prediction is None:
            continue
        rows.append((np.asarray(sample.image), truth, result.prediction))
    return grid(rows, model.palette, model.classes, path)  # type: ignore[arg-type]

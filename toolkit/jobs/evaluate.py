"""A checkpoint measured on a split of the data that its own config names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loading.workers import worker_deaths_explained
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.process import make_fabric
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.jobs.agreement import check_channels
from toolkit.jobs.assemble import agreed_parts, agreed_table, evaluation
from toolkit.jobs.build import build_dataset, check_classes
from toolkit.jobs.restore import restore
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report


def run_evaluation(
    checkpoint: str | Path,
    split: str = "val",
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Evaluates a checkpoint or run folder on a split of its own config's data; returns {"metrics", "tables", ...}.

    Args:
        checkpoint: a weights file or a run folder, whose best weights are taken.
        split: name of the split: "val", "test" or "train".
        overrides: changes of the config it was trained with, each `key=value`.
        quiet: whether nothing is said on stderr.
        trust_code: whether parts of the form module:Class that the file names are imported, which runs their module.
    """
    restored = restore(checkpoint, overrides, trust_code=trust_code)
    config = restored.config
    settings: TrainSettings = dataclasses.replace(config.train, deterministic=False)
    fabric = make_fabric(settings)
    parts = agreed_parts(fabric, config, RunFolder(restored.path.parent).splits)
    dataset = build_dataset(config, split, agreed_table(fabric, config, None, [split], parts), parts)
    check_classes(dataset, restored.model, split)
    _refuse_unannotated(dataset, split)
    _refuse_other_channels(config, restored.model, dataset, split)
    if not config.evaluate.evaluators:
        raise ConfigError(
            Problem("evaluate.evaluators", "the config names no evaluator", "add evaluate.evaluators=[semantic]")
        )
    model = restored.model.to(fabric.device)
    with worker_deaths_explained(), StopRequest() as stop:
        result = evaluation(config, fabric, model, dataset, split, stop)
    return {
        "checkpoint": str(restored.path),
        "split": split,
        "images": result.images,
        "skipped": [skip._asdict() for skip in dataset.skips],
        "seconds": round(result.seconds, 3),
        "metrics": result.metrics,
        "losses": result.losses,
        "unlabelled": result.unlabelled,
        "tables": result.tables,
    }


def _refuse_unannotated(dataset: Dataset, split: str) -> None:
    if not dataset.annotated:
        message = f"its {len(dataset)} images have no annotations, so there is nothing to measure"
        remedy = f"toolkit predict makes results of them: give it {dataset.files(0)[0].parent}"
        raise DataError(Problem(f"data.{split}", message, remedy))


def _refuse_other_channels(config: Config, model: VisionModel, dataset: Dataset, split: str) -> None:
    """Raises ConfigError when the images of a split have not the channels that the model takes."""
    report = Report()
    if len(dataset):
        check_channels(report, config, model, dataset[0], split)
    report.stop_on_errors()

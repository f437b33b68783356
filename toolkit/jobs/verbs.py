"""The verbs of the command line as Python functions: the same jobs, with configs and runs by path or as objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.analysis.anatomy import Anatomy, Pair
from toolkit.analysis.describe import describable_size
from toolkit.analysis.describe import describe as describe_model
from toolkit.config.load import load_config
from toolkit.config.sections import Config
from toolkit.errors import ConfigError, Problem
from toolkit.jobs.check import check_config
from toolkit.jobs.describe import USUAL_SIZES, describe_config
from toolkit.jobs.evaluate import AnswerWishes, RecordWishes, run_evaluation
from toolkit.jobs.train import run_training
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report

ConfigOrPath = Config | str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A training that has ended. It stands for its folder wherever a path is wanted.

    Args:
        path: of the run folder, with its weights, log and metrics.
        step: how many updates have been made, those before a resume too.
        metrics: numbers of the last evaluation by name, fractions 0..1.
    """

    path: Path
    step: int
    metrics: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured.

    Args:
        metrics: numbers by name, fractions 0..1, None where undefined.
        losses: mean losses by name, of the images that have a target.
        tables: title, header and rows of each, as the command line shows them.
        images: how many were predicted and counted.
        skipped: samples that were left out as bad, {"name", "reason"} each.
        intervals: 95 % intervals by name of the number: {"value", "low", "high", "groups"}, with "why" where there is none.
        baseline: answers that look at no image, {"answer", "metrics"} each.
        record: the folder of the record and its page, None for weights outside of a run.
    """

    metrics: dict[str, float | None]
    losses: dict[str, float]
    tables: list[Any]
    images: int
    skipped: list[dict[str, Any]]
    intervals: dict[str, Any] = field(default_factory=dict)
    baseline: list[dict[str, Any]] = field(default_factory=list)
    record: Path | None = None


def train(
    config: ConfigOrPath,
    run: str | os.PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    allow_changes: bool = False,
    quiet: bool = False,
    trust_code: bool = False,
) -> Run:
    """Trains, as `toolkit train` does, in this process.

    Args:
        config: a checked config, or the path of a YAML file.
        run: the run folder; None makes `runs/NAME` of the config's name, with a number when that is used.
        overrides: changes of the config's values, "train.steps=100", for a config that is given by path.
        resume: whether to continue the run in that folder, to the bit, instead of beginning one.
        allow_changes: with `resume`, although the config differs from the one the run began with.
        quiet: whether nothing is printed; the run's log and metrics are written all the same.
        trust_code: with `resume`, whether code that the run's state names, but the config does not, may be imported.

    Raises:
        UserError: for everything that a user can mend, all problems at once.
    """
    folder = None if run is None else Path(run)
    result = run_training(
        _config(config, overrides),
        folder,
        resume=resume,
        allow_changes=allow_changes,
        quiet=quiet,
        trust_code=trust_code,
    )
    return Run(Path(result["run"]), result["step"], result["metrics"])


def evaluate(
    checkpoint: str | os.PathLike[str],
    split: str = "val",
    *,
    overrides: Sequence[str] = (),
    quiet: bool = False,
    trust_code: bool = False,
    out: str | os.PathLike[str] | None = None,
    group: str | None = None,
    tags: str | os.PathLike[str] | None = None,
    save_predictions: bool = False,
    tta: str | None = None,
    tile: int | Literal["auto", "off"] | None = None,
    overlap: int | None = None,
    samples: int | None = None,
    score: float | None = None,
) -> Evaluation:
    """Measures a checkpoint on a split of its own config's data, as `toolkit evaluate` does.

    Args:
        checkpoint: a run folder (its best weights, else the last), a weights file, or what `train` returned.
        split: which part of the data is measured: train, val or test.
        overrides: changes of the checkpoint's config, "data.root=elsewhere".
        quiet: whether no progress is shown on standard error.
        trust_code: whether parts of the form module:Class that the checkpoint names are imported, which runs their module.
        out: folder of the record; None is `evaluation/SPLIT` in the run.
        group: which images belong together: "folder", a CSV file, or a pattern in the name; None is the config's `data.group`.
        tags: a CSV file of image and tags, each of whose values gets numbers of its own.
        save_predictions: whether predicted label maps are written as pictures into the record's `masks/`.
        tta: "none", "flips", "scales" or "flips+scales", as `predict` takes it; None is as the config says.
        tile: side of a tile in pixels, "auto" or "off"; None is as the config says.
        overlap: pixels that a detector's tiles share at least; None is as the config says.
        samples: forward passes with dropout that an answer is the mean of; None is as the config says.
        score: detections below it, 0..1, are left out; None keeps all.

    Raises:
        UserError: for a bad checkpoint, missing data, a split that the config has not, and a folder that holds the record
            of other weights or options.
    """
    wishes = RecordWishes(
        Path(out) if out is not None else None, group, Path(tags) if tags is not None else None, save_predictions
    )
    answers = AnswerWishes(tta, tile, overlap, samples, score)
    result = run_evaluation(
        Path(checkpoint), split, overrides, quiet=quiet, trust_code=trust_code, wishes=wishes, answers=answers
    )
    names = ("metrics", "losses", "tables", "images", "skipped", "intervals", "baseline")
    folder = Path(result["record"]) if result["record"] is not None else None
    return Evaluation(**{name: result[name] for name in names}, record=folder)


def check(config: ConfigOrPath, *, overrides: Sequence[str] = (), full: bool = False) -> Report:
    """Everything that can be known before a training, as `toolkit check` does; `errors` and `warnings` of the result.

    Args:
        config: a checked config, or the path of a YAML file.
        overrides: changes of the config's values, "data.batch_size=2", for a config that is given by path.
        full: whether every file of every split is read as well, instead of a few.

    Raises:
        ConfigError: the file is no config, or its keys and values are wrong; what it describes is in the result.
    """
    return check_config(_config(config, overrides), full=full)


def describe(
    model: VisionModel | ConfigOrPath, size: Pair | None = None, *, batch_size: int = 1, name: str = ""
) -> Anatomy:
    """A model's anatomy: its layers with sizes, receptive fields, parameters and multiply-adds; memory. Nothing is trained.

    Args:
        model: the model, on any device, in training mode or not, compiled or not yet run.
        size: (height, width) of the images in pixels, a legal size.
        batch_size: images of the batch whose memory is measured beside that of one.
        name: name of the model for the report.

    Raises:
        ImageSizeError: a size that the model cannot take, with the nearest that it can.
        ConfigError: parts of a config that do not fit together.
    """
    if not isinstance(model, VisionModel):
        return describe_config(_config(model, ()), size)
    sizes = [size] if size is not None else [describable_size(model, usual) for usual in USUAL_SIZES]
    return describe_model(model, sizes[0], batch_size=batch_size, name=name)


def _config(config: ConfigOrPath, overrides: Sequence[str]) -> Config:
    if isinstance(config, (str, os.PathLike)):
        return load_config(Path(config), overrides)
    if overrides:
        message = "change a config that is loaded from a file, and this one is loaded already"
        raise ConfigError(Problem("overrides", message, "give them to load_config"))
    if not isinstance(config, Config):
        message = f"wanted a config (load_config) or the path of one, found {type(config).__name__}"
        raise ConfigError(Problem("config", message))
    return config

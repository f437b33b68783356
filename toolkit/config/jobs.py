"""Whole jobs from a checked config: train, evaluate. What the command line calls, and what Python users may call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from toolkit.config.build import (
    aspect_groups_of,
    build_dataset,
    build_evaluators,
    build_model,
    build_optimizer_rule,
    build_schedule,
    build_transforms,
    check_classes,
    classes_of,
    computed_weights,
    with_class_weights,
)
from toolkit.config.load import parse_config
from toolkit.config.plain import to_plain, to_yaml
from toolkit.config.restore import initialise, restore
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loader import eval_loader, train_loader
from toolkit.engine.checkpoint import TrainState, load_state
from toolkit.engine.environment import environment
from toolkit.engine.evaluate import Evaluation, evaluate
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.log import RunLog
from toolkit.engine.process import leave, make_fabric
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.settings import TrainSettings
from toolkit.engine.train import Job, train
from toolkit.errors import ConfigError, Problem
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel

_MAY_CHANGE = ("steps", "log_every", "evaluate_every", "save_every", "device", "devices", "nodes", "threads")


def run_training(
    config: Config, run: str | Path | None = None, *, resume: bool = False, quiet: bool = False, root: str = "runs"
) -> dict[str, Any]:
    """Trains; returns {"run", "step", "metrics"}.

    run: the folder; None makes `runs/NAME`, with a number when that is used. resume: continue in place.
    Raises UserError (see `toolkit.errors`) for everything a user can mend, Interrupted after a saved stop.
    """
    fabric = make_fabric(config.train)
    first = fabric.is_global_zero
    base = Path(run) if run is not None else Path(root) / (config.name or "run")
    # Everything that can fail for the user's reasons comes before the folder is made.
    datasets = {split: build_dataset(config, split) for split in ("train", "val") if getattr(config.data, split)}
    asked, config = config, with_class_weights(config, datasets["train"])
    model = _model(config, datasets["train"], resume)
    taken = None if resume else initialise(model, config)
    for split, dataset in datasets.items():
        check_classes(dataset, model, split)
    build_transforms(config, "train")
    folder = RunFolder.existing(base) if resume else _fresh_folder(fabric, base, exact=run is not None)
    state = _resumed(folder, config) if resume else None
    log = RunLog(folder.metrics, folder.log, shown=first, quiet=quiet)
    text = to_yaml(config)
    if first:
        folder.write_text(folder.config, text)
        folder.write_json(folder.environment, environment(str(fabric.device.type), config.seed))
    job = _job(config, fabric, model, datasets, folder, log, text)
    _introduce(log, config, model, datasets, fabric, state, folder)
    _say_start(log, config, taken, computed_weights(asked, config) if config is not asked else [])
    metrics = train(fabric, job, config.train, state)
    log.line(f"done: {config.train.steps} steps; {folder.path}")
    leave(fabric)
    return {"run": str(folder.path), "step": config.train.steps, "metrics": metrics}


def _fresh_folder(fabric: Any, base: Path, *, exact: bool) -> RunFolder:
    """Made by the first process, known to all."""
    path = str(RunFolder.fresh(base, exact=exact).path) if fabric.is_global_zero else None
    return RunFolder(Path(fabric.broadcast(path)))


def _model(config: Config, dataset: Dataset, resume: bool) -> VisionModel:
    """The fresh weights are a function of the seed, whatever happened before in this process."""
    torch.manual_seed(config.seed)
    pretrained = not resume and config.model.init_from is None
    return build_model(config, pretrained=pretrained, classes=classes_of(config, dataset))


def _say_start(log: RunLog, config: Config, taken: Transfer | None, weights: list[list[float]]) -> None:
    """Where the weights come from, and class weights that the data gave."""
    if taken is not None:
        log.line(f"start      {config.model.init_from}")
        for line in taken.lines():
            log.line(f"           {line}")
    for values in weights:
        log.line(f"balance    class weights {', '.join(f'{value:g}' for value in values)}")


def _resumed(folder: RunFolder, config: Config) -> TrainState:
    """The saved state, if the config is still the same experiment. Raises ConfigError listing what differs."""
    state = load_state(folder.state)
    saved = to_plain(parse_config(state.config, str(folder.config)))
    now = to_plain(config)
    differences = list(_differences(saved, now))
    if differences:
        raise ConfigError(
            Problem(f"--resume {folder.path}", f"{key} was {old!r} and is now {new!r}", "start a new run for that")
            for key, old, new in differences
        )
    return state


def _differences(saved: Any, now: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*saved, *now}, key=str):
            place = f"{path}.{key}" if path else str(key)
            if place not in {"name", "data.workers", *(f"train.{name}" for name in _MAY_CHANGE)}:
                found += _differences(saved.get(key), now.get(key), place)
        return found
    return [] if saved == now else [(path, saved, now)]


def _job(
    config: Config,
    fabric: Any,
    model: VisionModel,
    datasets: dict[str, Dataset],
    folder: RunFolder,
    log: RunLog,
    text: str,
) -> Job:
    settings, data = config.train, config.data
    pin = fabric.device.type == "cuda"
    groups = aspect_groups_of(config, datasets["train"])

    def batches(step: int) -> Any:
        start = step * settings.accumulate
        stop = settings.steps * settings.accumulate
        return train_loader(
            datasets["train"], build_transforms(config, "train"), data.batch_size, config.seed, start, stop,
            data.workers, True, pin, fabric.global_rank, fabric.world_size, groups,
        )  # fmt: skip

    def statistics() -> Any:
        transforms = build_transforms(config, "train")
        return train_loader(
            datasets["train"], transforms, data.batch_size, config.seed, 0, settings.recompute_bn, data.workers
        )

    evaluators = build_evaluators(config, model.classes)
    measured = "val" in datasets and bool(evaluators)

    def evaluate_val(stop: StopRequest) -> Evaluation:
        return _evaluation(config, fabric, model, datasets["val"], "val", stop)

    return Job(
        model=model,
        rule=build_optimizer_rule(config),
        schedule=build_schedule(config),
        batches=batches,
        evaluate=evaluate_val if measured else None,
        best_metric=evaluators[0].metric if measured else None,
        images_per_epoch=len(datasets["train"]),
        step_images=data.batch_size * settings.accumulate,
        seed=config.seed,
        run=folder,
        log=log,
        config_text=text,
        metadata=model_metadata(model, text, datasets["train"]),
        statistics=statistics if settings.recompute_bn else None,
    )


def model_metadata(model: VisionModel, config_text: str, dataset: Dataset) -> dict[str, Any]:
    """What a weights file says of itself, beside its step and metrics.

    category_ids: of the labels, for COCO files, where the training data has such ids.
    """
    ids = getattr(dataset, "category_ids", None)
    return ({"category_ids": list(ids)} if ids is not None else {}) | {
        "classes": list(model.classes),
        "palette": [list(color) for color in model.palette],
        "pixel_stats": model.backbone.pixel_stats._asdict(),
        "config": config_text,
    }


def _evaluation(
    config: Config, fabric: Any, model: VisionModel, dataset: Dataset, split: str, stop: StopRequest | None
) -> Evaluation:
    loader = eval_loader(
        dataset,
        build_transforms(config, split),
        config.evaluate.batch_size or max(1, config.data.batch_size // fabric.world_size),
        config.data.workers,
        fabric.device.type == "cuda",
        fabric.global_rank,
        fabric.world_size,
    )
    return evaluate(fabric, model, loader, build_evaluators(config, model.classes), images=len(dataset), stop=stop)


def _introduce(
    log: RunLog, config: Config, model: VisionModel, datasets: dict[str, Dataset], fabric: Any, state: TrainState | None,
    folder: RunFolder,
) -> None:  # fmt: skip
    """One screen that says what is about to happen."""
    settings = config.train
    count = sum(parameter.numel() for parameter in model.parameters())
    images = ", ".join(f"{len(dataset)} {split}" for split, dataset in datasets.items())
    steps = f"{settings.steps} steps of {config.data.batch_size * settings.accumulate} images"
    epochs = settings.steps * config.data.batch_size * settings.accumulate / max(len(datasets["train"]), 1)
    log.line(f"run        {folder.path}" + (f"  (continues at step {state.step})" if state else ""))
    log.line(f"data       {images}; {len(model.classes)} classes: {', '.join(model.classes[:12])}")
    parts = [config.model.backbone.name, config.model.neck.name if config.model.neck else "-", config.model.head.name]
    log.line(f"model      {' -> '.join(parts)}; {count:,} parameters")
    log.line(
        f"training   {steps} ({epochs:.1f} epochs); {settings.optimizer.name}, lr {build_optimizer_rule(config).lr:g}"
    )
    log.line(f"device     {fabric.device} x {fabric.world_size}, {settings.precision}, {config.data.workers} workers")
    was = parse_config(state.config, str(folder.config)).train.steps if state else settings.steps
    if was != settings.steps:
        log.line(f"note       train.steps was {was}: the schedule goes on by the new number")
    if settings.warmup_steps >= settings.steps:
        log.line(
            f"note       warm-up ({settings.warmup_steps} steps) is not over when the run is: the rate never gets there"
        )


def run_evaluation(
    checkpoint: str | Path, split: str = "val", overrides: Sequence[str] = (), *, quiet: bool = False
) -> dict[str, Any]:
    """Evaluates a checkpoint or run folder on a split of its own config's data; returns {"metrics", "tables", ...}."""
    restored = restore(checkpoint, overrides)
    config = restored.config
    settings: TrainSettings = dataclasses.replace(config.train, deterministic=False)
    fabric = make_fabric(settings)
    dataset = build_dataset(config, split)
    check_classes(dataset, restored.model, split)
    if not config.evaluate.evaluators:
        raise ConfigError(
            Problem("evaluate.evaluators", "the config names no evaluator", "add evaluate.evaluators=[semantic]")
        )
    model = restored.model.to(fabric.device)
    with StopRequest() as stop:
        result = _evaluation(config, fabric, model, dataset, split, stop)
    return {
        "checkpoint": str(restored.path),
        "split": split,
        "images": result.images,
        "seconds": round(result.seconds, 3),
        "metrics": result.metrics,
        "tables": result.tables,
    }

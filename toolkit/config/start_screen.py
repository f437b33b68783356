"""The one screen at the start of a training: what is about to happen."""

from __future__ import annotations

from typing import Any

from toolkit.config.build import build_optimizer_rule
from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.skipped import skipped_text, skips_of
from toolkit.engine.checkpoint import TrainState
from toolkit.engine.log import RunLog
from toolkit.engine.run_folder import RunFolder
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel


def introduce(
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
    for split, dataset in datasets.items():
        if skips_of(dataset):
            log.line(f"skipped    {split}: {skipped_text(dataset)}")
    parts = [config.model.backbone.name, config.model.neck.name if config.model.neck else "-", config.model.head.name]
    log.line(f"model      {' -> '.join(parts)}; {count:,} parameters")
    log.line(
        f"training   {steps} ({epochs:.1f} epochs); {settings.optimizer.name}, lr {build_optimizer_rule(config).lr:g}"
    )
    log.line(f"device     {fabric.device} x {fabric.world_size}, {settings.precision}, {config.data.workers} workers")
    was = parse_config(state.config, str(folder.config)).train.steps if state else settings.steps
    if was != settings.steps:
        log.line(f"note       train.steps was {was}: the schedule goes on by the new number")


def say_start(log: RunLog, config: Config, taken: Transfer | None, weights: list[list[float]]) -> None:
    """Where the weights come from, and class weights that the data gave."""
    if taken is not None:
        log.line(f"start      {config.model.init_from}")
        for line in taken.lines():
            log.line(f"           {line}")
    for values in weights:
        log.line(f"balance    class weights {', '.join(f'{value:g}' for value in values)}")

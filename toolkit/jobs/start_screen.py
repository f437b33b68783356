"""The one screen at the start of a training: what is about to happen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.classes.frequencies import FAR_APART, softened_weights, weight_ratio
from toolkit.data.faults.skipped import skipped_text
from toolkit.engine.checkpoint import TrainState
from toolkit.engine.log import RunLog
from toolkit.engine.machine import crowding, load_average, usable_cores
from toolkit.engine.prepare import lies_channels_last, trained_groups
from toolkit.engine.process import precision_on
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.settings import TrainSettings
from toolkit.freed_memory import is_kept
from toolkit.jobs.assemble import Assembled
from toolkit.jobs.build import build_optimizer_rule
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.ops.native import without_kernels
from toolkit.preflight.data.readings import box_amount


def announce(
    log: RunLog, built: Assembled, fabric: Any, state: TrainState | None, folder: RunFolder, notes: Sequence[str] = ()
) -> None:
    """One screen that says what is about to happen.

    Args:
        log: the log where the lines go.
        built: everything the training consists of.
        fabric: says device and number of processes.
        state: what is continued, or None for a new training.
        folder: folder of the run that begins or goes on.
        notes: lines that other stages have to say, in order.
    """
    _introduce(log, built.config, built.model, built.datasets, fabric, state, folder)
    for line in notes:
        log.line(line)
    _say_start(log, built.config, built.taken, built.weights, built.model.backbone.origin)


def _introduce(
    log: RunLog, config: Config, model: VisionModel, datasets: dict[str, Dataset], fabric: Any, state: TrainState | None,
    folder: RunFolder,
) -> None:  # fmt: skip
    settings = config.train
    images = ", ".join(_amount_of(split, dataset) for split, dataset in datasets.items())
    classes = ", ".join(model.classes[:12]) + (", ..." if len(model.classes) > 12 else "")
    log.line(f"run        {folder.path}" + (f"  (continues at step {state.step})" if state else ""))
    log.line(f"data       {images}; {len(model.classes)} classes: {classes}")
    for split, dataset in datasets.items():
        if dataset.skips:
            log.line(f"skipped    {split}: {skipped_text(dataset)}")
    log.line(f"model      {_model(config, model)}")
    log.line(f"training   {_amount(config, len(datasets['train']), fabric.world_size)}")
    log.line(f"rate       {_rate(config)}")
    if "val" in datasets and config.evaluate.evaluators:
        log.line(f"evaluate   {_evaluations(config, len(datasets['val']))}")
    aids = _aids(settings, fabric.device.type)
    if aids:
        log.line(f"aids       {', '.join(aids)}")
    threads, cores = torch.get_num_threads(), usable_cores()
    log.line(
        f"device     {_device(fabric)}, {_precision(settings, fabric.device.type)}; {threads} thread(s), "
        f"{config.data.workers} loader worker(s), {cores} core(s)"
    )
    if is_kept():
        log.line("memory     freed tensors' memory is kept for the next ones (glibc); TOOLKIT_MALLOC=0 gives it back")
    lacking = without_kernels()
    if lacking is not None:
        log.line(f"kernels    {lacking}")
    was = parse_config(state.config, str(folder.config), trust=True).train.steps if state else settings.steps
    if was != settings.steps:
        log.line(f"note       train.steps was {was}: the schedule goes on by the new number")
    local = max(1, fabric.world_size // max(settings.nodes, 1))
    for note in crowding(threads, local, config.data.workers, cores, load_average(), os.cpu_count() or 1):
        log.line(f"note       {note}")
    if settings.ema_decay is not None and settings.steps * (1 - settings.ema_decay) < 3:
        steps = round(1 / (1 - settings.ema_decay))
        log.line(f"note       ema_decay {settings.ema_decay:g} averages about {steps} steps: too many for this run")


def _amount_of(split: str, dataset: Dataset) -> str:
    boxes = box_amount(dataset)
    if boxes is None:
        return f"{len(dataset)} {split}"
    without = f", {boxes.empty} without" if boxes.empty else ""
    return f"{len(dataset)} {split} ({boxes.targets} boxes{without})"


def _model(config: Config, model: VisionModel) -> str:
    """Parts, and how many numbers are trained; what is not, by the names of the config."""
    settings, section = config.train, config.model
    parts = [section.backbone.name, *([section.neck.name] if section.neck else []), section.head.name]
    trained_groups(model, build_optimizer_rule(config).lr, settings)
    every = list(model.parameters())
    trained = sum(parameter.numel() for parameter in every if parameter.requires_grad)
    text = f"{' -> '.join(parts)}; {sum(parameter.numel() for parameter in every):,} parameters, {trained:,} trained"
    frozen = [*settings.frozen, *(["backbone"] if settings.backbone_lr_factor == 0 else [])]
    late = [f"{part} until step {step}" for part, step in settings.freeze_until.items()]
    norms = [f"batch norms of {part}" for part in settings.frozen_bn]
    return text + (f"; frozen: {', '.join([*frozen, *late, *norms])}" if frozen or late or norms else "")


def _amount(config: Config, images: int, processes: int) -> str:
    settings, batch = config.train, config.data.batch_images
    effective = batch * settings.accumulate
    made_of = [f"batch {batch}"] + ([f"accumulate {settings.accumulate}"] if settings.accumulate > 1 else [])
    shared = f", {processes} processes" if processes > 1 else ""
    epochs = settings.steps * effective / max(images, 1)
    return f"{settings.steps} steps of {effective} images ({' x '.join(made_of)}{shared}) = {epochs:.1f} epochs"


def _rate(config: Config) -> str:
    settings = config.train
    schedule = settings.schedule.name if settings.schedule is not None else "constant"
    warm_up = f", warm-up {settings.warmup_steps} steps" if settings.warmup_steps else ""
    return f"{settings.optimizer.name}, lr {build_optimizer_rule(config).lr:g}, {schedule}{warm_up}"


def _evaluations(config: Config, images: int) -> str:
    every = config.train.evaluate_every
    when = f"every {every} steps and at the end" if every else "at the end"
    return f"{when}, on {images} images: {', '.join(part.name for part in config.evaluate.evaluators)}"


def _memory_order(settings: TrainSettings, device: str) -> str:
    if settings.channels_last != "auto":
        return "channels last" if settings.channels_last else ""
    if lies_channels_last(settings, device):
        return "channels last (auto: mixed precision on a GPU)"
    return "channels first (auto: last pays with mixed precision on a GPU)"


def _precision(settings: TrainSettings, device: str) -> str:
    precision = precision_on(settings, device)
    if settings.precision != "auto":
        return precision
    return f"{precision} (auto: it has {'' if precision == 'bf16-mixed' else 'no '}matrix units for bf16)"


def _aids(settings: TrainSettings, device: str) -> list[str]:
    """What is switched on beside plain training. device: its type."""
    words = {
        "ema_decay": settings.ema_decay and f"averaged weights ({settings.ema_decay:g})",
        "patience": settings.patience and f"early stop after {settings.patience} evaluations",
        "clip_norm": settings.clip_norm and f"gradients clipped at {settings.clip_norm:g}",
        "recompute_bn": settings.recompute_bn and f"batch statistics of {settings.recompute_bn} batches at the end",
        "compile": settings.compile and "compiled",
        "recompute": settings.recompute != "none" and f"{settings.recompute} recomputed in backward",
        "channels_last": _memory_order(settings, device),
        "sync_bn": settings.sync_bn and "synchronised batch norm",
        "deterministic": settings.deterministic and "deterministic",
        "loggers": settings.loggers and f"also sent to {' and '.join(settings.loggers)}",
    }
    return [str(text) for text in words.values() if text]


def _device(fabric: Any) -> str:
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else str(fabric.device)
    return f"{name} x {fabric.world_size}"


def _say_start(log: RunLog, config: Config, taken: Transfer | None, weights: list[list[float]], origin: str) -> None:
    """Where the weights come from and under which licence, and class weights that the data gave."""
    if origin:
        log.line(f"weights    {origin}")
    if taken is not None:
        log.line(f"start      {config.model.init_from}")
        for line in taken.lines():
            log.line(f"           {line}")
    for values in weights:
        log.line(f"balance    class weights {_listed(values)}")
        ratio = weight_ratio(values)
        if ratio > FAR_APART:
            softer = _listed(softened_weights(values))
            log.line(f"note       they differ by a factor of {ratio:.0f}; softer are class_weights: [{softer}]")


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)

"""What of the `train` section will surprise: numbers that are legal and yet seldom meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from toolkit.contracts import PixelLoss
from toolkit.engine.machine import usable_cores
from toolkit.engine.process import process_counts
from toolkit.engine.settings import TrainSettings
from toolkit.errors import Problem
from toolkit.preflight.findings import Report

USUAL_RATES = {"sgd": (1e-7, 1.0), "adamw": (1e-7, 0.05), "adam": (1e-7, 0.05)}
"""Learning rates, lowest and highest, between which published recipes of each optimizer lie with room to spare: SGD from
1e-7 (Caffe's summed losses) to 1 (large batches), Adam and AdamW from 1e-6 to 1e-2."""


class Plan(NamedTuple):
    """A training in numbers.

    Args:
        settings: the section `train` of the config.
        optimizer: name of the optimizer in the config.
        lr: base learning rate of the optimizer.
        images: number of images of the training data.
        val_images: number of images that are evaluated; 0 means no evaluation.
        batch_size: images of a batch of all processes together, 0 when it is still to be found.
        workers: number of loader processes of each process.
    """

    settings: TrainSettings
    optimizer: str
    lr: float
    images: int
    val_images: int
    batch_size: int
    workers: int

    @property
    def processes(self) -> int:
        """That train together: of the config, or as many as a launcher has started."""
        return math.prod(process_counts(self.settings))


def check_plan(report: Report, plan: Plan, model: nn.Module | None = None, cores: int | None = None) -> None:
    """Notes each surprise as a warning.

    Args:
        report: takes each surprise, as a warning.
        plan: the training that is asked for, in numbers.
        model: the model, for its batch normalisation; None leaves that out.
        cores: cores of this machine, None to count them.
    """
    _times(report, plan)
    _amounts(report, plan)
    _rate(report, plan)
    if model is not None:
        _batch_norm(report, plan, model)
        _divided_losses(report, plan, model)
    cores = cores if cores is not None else usable_cores()
    if plan.workers > cores:
        message = f"{plan.workers} loader processes on {cores} core(s) get in one another's way"
        report.warn("workers", Problem("data.workers", message, f"set it to {max(1, cores - 1)} or less"))


def _times(report: Report, plan: Plan) -> None:
    settings = plan.settings
    if settings.warmup_steps >= settings.steps:
        message = f"warm-up ({settings.warmup_steps} steps) is not over when the run is: the rate never gets there"
        report.warn("warmup", Problem("train.warmup_steps", message, f"set it to {settings.steps // 10} or so"))
    every = settings.evaluate_every
    if plan.val_images and every is not None and every > settings.steps:
        message = f"evaluates every {every} steps, but the run has {settings.steps}: only its end is measured"
        report.warn(
            "evaluate_every",
            Problem("train.evaluate_every", message, f"set it to {max(1, settings.steps // 10)} or so"),
        )


def _amounts(report: Report, plan: Plan) -> None:
    if not plan.images or not plan.batch_size:
        return
    if plan.batch_size > plan.images:
        message = f"a batch of {plan.batch_size} is more than the {plan.images} training images: some come twice in it"
        report.warn("large_batch", Problem("data.batch_size", message, f"set it to {max(1, plan.images // 2)} or less"))
    seen = plan.settings.steps * plan.batch_size * plan.settings.accumulate
    if seen < plan.images:
        message = f"{plan.settings.steps} steps show {seen} of the {plan.images} training images: less than one epoch"
        enough = -(-plan.images // (plan.batch_size * plan.settings.accumulate))
        report.warn("short_run", Problem("train.steps", message, f"an epoch is {enough} steps"))


def _rate(report: Report, plan: Plan) -> None:
    if plan.optimizer not in USUAL_RATES:
        return
    low, high = USUAL_RATES[plan.optimizer]
    if not low <= plan.lr <= high:
        word = "high" if plan.lr > high else "low"
        message = f"{plan.lr:g} is very {word} for {plan.optimizer}: recipes lie between {low:g} and {high:g}"
        report.warn("learning_rate", Problem("train.optimizer.lr", message, "check its power of ten"))


def _batch_norm(report: Report, plan: Plan, model: nn.Module) -> None:
    """Batches of one image give batch normalisation the statistics of that image alone."""
    each = plan.batch_size // plan.processes
    if each != 1 or (getattr(plan.settings, "sync_bn", False) and plan.processes > 1):
        return
    norms = [name for name, module in model.named_modules() if _trains_statistics(module)]
    frozen: Sequence[str] = [*plan.settings.frozen, *getattr(plan.settings, "frozen_bn", [])]
    norms = [name for name in norms if not any(name == part or name.startswith(f"{part}.") for part in frozen)]
    if norms:
        message = (
            f"batch normalisation ({len(norms)} layers, {norms[0]} first) sees one image at a time: its statistics in "
            "training are that image's, and differ from the averages used at evaluation"
        )
        remedy = "set data.batch_size to 2 or more a process, or norm: frozen_batch (resnet), or train.frozen_bn"
        report.warn("batch_norm", Problem("data.batch_size", message, remedy))


def _divided_losses(report: Report, plan: Plan, model: nn.Module) -> None:
    """Losses that see a part of a step's pixels at a time, and are another loss then."""
    losses = [module for module in model.modules() if isinstance(module, PixelLoss)]
    by_processes = [one.term_name for one in losses if one.divides == "nowhere"] if plan.processes > 1 else []
    by_batches = [one.term_name for one in losses if one.divides != "anywhere"] if plan.settings.accumulate > 1 else []
    for names, parts, remedy in (
        (by_processes, f"{plan.processes} processes", "train in one process, or take it as a loss of smaller batches"),
        (by_batches, f"{plan.settings.accumulate} accumulated batches", "set train.accumulate=1, or take it as that"),
    ):
        if names:
            message = (
                f"{', '.join(names)} is no mean over pixels: taken in each of {parts} alone, it is not that of all"
            )
            report.warn("divided_loss", Problem("model.head.loss", message, remedy))


def _trains_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.track_running_stats

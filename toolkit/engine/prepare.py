"""Model and optimizer on their device, wrapped for precision and processes, with a saved state in them."""

from __future__ import annotations

from typing import Any

import torch

from toolkit.engine.checkpoint import TrainState
from toolkit.engine.frozen_bn import freeze_batch_norms
from toolkit.engine.job import Job
from toolkit.engine.loss_module import LossModule
from toolkit.engine.parameters import group_lines, parameter_groups
from toolkit.engine.restore_state import restore_state
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.layers.recomputed import recompute
from toolkit.layers.sync_batch_norm import sync_batch_norm
from toolkit.models.vision_model import VisionModel


def prepare(
    fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None
) -> tuple[Any, torch.optim.Optimizer]:
    """The wrapped loss module and the optimizer, on their device, with the saved state in them.

    Raises UserError when nothing is trained.
    """
    module = trained_module(fabric, job.model, settings)
    optimizer = job.rule.build(trained_groups(job.model, job.rule.lr, settings))
    for line in group_lines(optimizer.param_groups) if len(optimizer.param_groups) > 1 else []:
        job.log.line(f"group      {line}")
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    module, optimizer = fabric.setup(module, optimizer)
    if state is not None:
        restore_state(fabric, job.model, optimizer, state, job.run.state)
        as_parameters_lie(optimizer)
    return module, optimizer


def trained_module(fabric: Any, model: VisionModel, settings: TrainSettings) -> LossModule:
    """The loss of a model, changed in place to what the settings ask of it: memory, batch statistics, what is frozen.

    May be called again. Raises ConfigError for what cannot be done with it.
    """
    if settings.sync_bn and fabric.world_size > 1:
        if settings.compile and fabric.device.type != "cuda":
            message = "train.compile and train.sync_bn do not go together on CPUs"
            raise ConfigError(Problem("train.compile", message, "leave one of them out"))
        sync_batch_norm(model, fabric.device.type)
    freeze_batch_norms(model, settings.frozen_bn)
    if settings.recompute != "none" and not recompute(model, settings.recompute):
        message = f"finds no {settings.recompute} of a convolution and a norm in this model"
        other = "set recompute: blocks" if settings.recompute == "units" else "set recompute: none"
        raise ConfigError(Problem("train.recompute", message, other))
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    if settings.compile and fabric.world_size > 1:
        # One graph a process. Cut at DDP's buckets, as is the default, it could hold none of our own gradients.
        torch._dynamo.config.optimize_ddp = False
    model.train()
    return LossModule(model, channels_last=settings.channels_last, compiled=settings.compile)


def as_parameters_lie(optimizer: Any) -> None:
    """Moments in the memory order of their parameters, which fused optimizers take for granted: a file may have another."""
    for parameter, moments in getattr(optimizer, "optimizer", optimizer).state.items():
        for name, value in moments.items():
            dense = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if dense and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def trained_groups(model: VisionModel, lr: float, settings: TrainSettings) -> list[dict[str, Any]]:
    """Parameter groups as the settings ask for; parameters that are not trained need no gradient from here on.

    Raises UserError when nothing is trained.
    """
    groups = parameter_groups(
        model,
        lr,
        backbone_lr_factor=settings.backbone_lr_factor,
        decay_norm_and_bias=settings.decay_norm_and_bias,
        bias_lr_factor=settings.bias_lr_factor,
        frozen=settings.frozen,
        lr_factors=settings.lr_factors,
        layer_decay=settings.layer_decay,
    )
    if not groups:
        raise UserError(Problem("train", "no parameter of the model is trained", "unfreeze a part"))
    return groups

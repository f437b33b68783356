"""Model and optimizer on their device, wrapped for precision and processes, with a saved state in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from toolkit.engine.checkpoint import TrainState
from toolkit.engine.frozen_bn import freeze_batch_norms
from toolkit.engine.job import Job
from toolkit.engine.optimizer_state import restore_optimizer
from toolkit.engine.parameters import group_lines, parameter_groups
from toolkit.engine.settings import TrainSettings
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import load_into
from toolkit.samples import Batch


class LossModule(nn.Module):
    """What Fabric wraps: mixed precision reaches only a wrapped module's `forward`, so the loss has to be that."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The named loss terms of a batch."""
        return self.model.loss(batch)


def prepare(
    fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None
) -> tuple[Any, torch.optim.Optimizer]:
    """The wrapped loss module and the optimizer, on their device, with the saved state in them.

    Raises UserError when nothing is trained.
    """
    freeze_batch_norms(job.model, settings.frozen_bn)
    optimizer = job.rule.build(_groups(job, settings))
    for line in group_lines(optimizer.param_groups) if len(optimizer.param_groups) > 1 else []:
        job.log.line(f"group      {line}")
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    job.model.train()
    module, optimizer = fabric.setup(LossModule(job.model), optimizer)
    if state is not None:
        load_into(job.model, state.model, where=job.run.state)
        restore_optimizer(optimizer, state.optimizer, job.run.state)
        if state.scaler:
            fabric.strategy.precision.load_state_dict(state.scaler)
    return module, optimizer


def _groups(job: Job, settings: TrainSettings) -> list[dict[str, Any]]:
    groups = parameter_groups(
        job.model,
        job.rule.lr,
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

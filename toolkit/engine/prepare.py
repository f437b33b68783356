"""Model and optimizer on their device, wrapped for precision and processes, with a saved state in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid, OptimizerRule
from toolkit.engine.batch_norm import freeze_batch_norms
from toolkit.engine.checkpoint import TrainState, restore_state
from toolkit.engine.job import Job
from toolkit.engine.parameters import LateParts, group_lines, parameter_groups
from toolkit.engine.process import precision_on
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.layers.recomputed import recompute
from toolkit.layers.sync_batch_norm import sync_batch_norm
from toolkit.models.vision_model import VisionModel
from toolkit.samples import IGNORE_INDEX, Batch


def prepare(
    fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None, *, stop_at_nonfinite: bool = True
) -> TrainingStep:
    """The training step of a job, model and optimizer on their device, with a saved state in them.

    Args:
        fabric: a launched Fabric; it wraps module and optimizer for its precision and its processes.
        job: its model is changed in place: moved, marked as trained or frozen, its weights those of the state.
        settings: settings of the training, or of a shorter work with other ones.
        state: state of the run that is continued; None begins with the model's weights as they are.
        stop_at_nonfinite: whether a loss or gradient that is not finite ends the work with a UserError.

    Raises UserError when nothing is trained.
    """
    module = trained_module(fabric, job.model, settings)
    optimizer = job.optimizer_rule.build(
        trained_groups(job.model, job.optimizer_rule.lr, settings, job.optimizer_rule.weight_decay)
    )
    for line in group_lines(optimizer.param_groups) if len(optimizer.param_groups) > 1 else []:
        job.log.line(f"group      {line}")
    module, optimizer = fabric.setup(module, with_base_rates(optimizer))
    if state is not None:
        restore_state(fabric, job.model, optimizer, state, job.run.state)
        match_strides(optimizer)
    return TrainingStep(
        fabric,
        module,
        optimizer,
        settings,
        schedule=job.schedule,
        seed=job.seed,
        stop_at_nonfinite=stop_at_nonfinite,
        folder=job.run.path if job.kept else None,
        config=job.config_text,
    )


def trial_step(fabric: Any, model: VisionModel, rule: OptimizerRule, settings: TrainSettings) -> TrainingStep:
    """A training step that is made to see what it costs; no run comes of it, and what is not finite does not stop it.

    Args:
        fabric: a launched Fabric, whose device and precision it has.
        model: what is trained, on the fabric's device; it is changed in place as in a training.
        rule: the optimizer, whose update is made too.
        settings: what of the model is trained, and how its update is made; the schedule does not count.
    """
    module = trained_module(fabric, model, settings)
    optimizer = with_base_rates(rule.build(trained_groups(model, rule.lr, settings, rule.weight_decay)))
    module, optimizer = fabric.setup(module, optimizer)
    return TrainingStep(fabric, module, optimizer, settings, stop_at_nonfinite=False)


def with_base_rates(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer, the rate of each group noted as its "base_lr", of which schedules give factors."""
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def trained_module(fabric: Any, model: VisionModel, settings: TrainSettings) -> LossModule:
    """The loss of a model, changed in place to what the settings ask of it: memory, batch statistics, what is frozen.

    May be called again.

    Args:
        fabric: a launched Fabric, for its device and the number of its processes.
        model: the net, which is put into training mode.
        settings: what of it is synchronised, frozen, recomputed, laid out otherwise and compiled.

    Raises ConfigError for what cannot be done with it.
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
    last = lies_channels_last(settings, fabric.device.type)
    if last:
        model.to(memory_format=torch.channels_last)
    if settings.compile and fabric.world_size > 1:
        # One graph a process. Cut at DDP's buckets, as is the default, it could hold none of our own gradients.
        torch._dynamo.config.optimize_ddp = False
    model.train()
    return LossModule(model, channels_last=last, compiled=settings.compile)


def lies_channels_last(settings: TrainSettings, device: str) -> bool:
    """Whether images and weights lie with their channels last, on a device of that type; what auto means, too."""
    if settings.channels_last == "auto":
        return device == "cuda" and precision_on(settings, device) != "32-true"
    return settings.channels_last is True


def match_strides(optimizer: Any) -> None:
    """Restrides the optimizer's state to match its parameters: fused kernels assume equal strides, a file may have others."""
    for parameter, moments in getattr(optimizer, "optimizer", optimizer).state.items():
        for name, value in moments.items():
            dense = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if dense and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def trained_groups(
    model: VisionModel, lr: float, settings: TrainSettings, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups as the settings ask for; parameters that are not trained need no gradient from here on.

    Args:
        model: the net whose parameters are grouped.
        lr: learning rate of those that no factor changes.
        settings: factors of the rate, what is frozen, and what weight decay reaches.
        weight_decay: the optimizer's, which factors of the decay multiply.

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
        decay_factors=settings.decay_factors,
        weight_decay=weight_decay,
    )
    if not groups:
        raise UserError(Problem("train", "no parameter of the model is trained", "unfreeze a part"))
    return groups


class LossModule(nn.Module):
    """What Fabric wraps: mixed precision reaches only a wrapped module's `forward`, so the loss has to be that.

    The model itself stays as it was: its names, and every other use of it, in evaluation say, know nothing of it.

    Args:
        model: the net whose loss it is.
        channels_last: memory order of the images, and so of every map; the model's weights should be in the same.
        compiled: whether torch.compile is used, for the whole loss where it is of label maps, else (losses of boxes and
            of whole images look at their numbers) for backbone and neck.
    """

    def __init__(self, model: VisionModel, *, channels_last: bool = False, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self._compiled: tuple[Callable[..., dict[str, Tensor]], Callable[..., FeaturePyramid]] | None = None
        if compiled:
            self._compiled = torch.compile(model.loss), torch.compile(model.pyramid)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The named loss terms of a batch."""
        batch = batch._replace(images=batch.images.contiguous(memory_format=self.order))
        if self._compiled is None:
            return self.model.loss(batch)
        loss, pyramid = self._compiled
        if batch.label_maps is None or batch.boxes is not None:
            legal = self.model.legal(batch)
            return self.model.head.loss(pyramid(batch.images, batch.sizes), legal)
        if self._has_foreign_labels(batch.label_maps):
            return self.model.loss(batch)  # which says in which image
        # Every other name would be a new program.
        return loss(batch._replace(names=()))

    def _has_foreign_labels(self, labels: Tensor) -> bool:
        """As losses themselves, on the CPU only: elsewhere it would make every step wait."""
        if labels.device.type != "cpu":
            return False
        return bool(((labels >= self.model.num_classes) & (labels != IGNORE_INDEX)).any())


def check_parts(model: VisionModel, lr: float, settings: TrainSettings) -> None:
    """Raises what a training would: ConfigError for name prefixes that the model has not, UserError when nothing is trained.

    Args:
        model: the net, whose parameters are marked as the settings ask; it may be on the meta device.
        lr: learning rate of the optimizer, above 0.
        settings: which parts of the model they name.
    """
    freeze_batch_norms(model, settings.frozen_bn)
    trained_groups(model, lr, settings)
    LateParts(model, settings.freeze_until)

"""The largest batch that fits: found by real training steps before the training, never by bringing the machine down."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from toolkit.analysis.device_memory import device_memory, gigabytes, peak, reset_peak
from toolkit.analysis.out_of_memory import is_out_of_memory, kept_by
from toolkit.contracts import OptimizerRule
from toolkit.engine.prepare import trial_step
from toolkit.engine.process import alone, not_deterministic, precision_on
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.ops.kept_bytes import kept_for_backward
from toolkit.samples import Sample, collate

GPU_SHARE = 0.92
"""Of the memory that PyTorch could have, what the largest step may hold: fragments and longer box lists come on top."""
CPU_SHARE = 0.8
"""Of the memory that is free, loader workers and everybody else included in the rest."""
_PATIENCE = 20.0
"""Seconds: on a CPU, a larger batch than could be tried in that time is believed from the smaller ones."""


class Fit(NamedTuple):
    """The largest batch that fits, and how it was found.

    Args:
        images: number of images of the largest batch, of all processes together.
        tried: numbers of images a process that were tried, in order.
        peak: most bytes held during a step of that batch.
        limit: bytes that a step was allowed to hold.
    """

    images: int
    tried: tuple[int, ...]
    peak: int
    limit: int

    def describe(self) -> str:
        """What was tried and what the largest batch holds, in one line for the start screen."""
        tried = ", ".join(map(str, self.tried))
        held, allowed = gigabytes(self.peak), gigabytes(self.limit)
        return f"auto: {self.images} images; tried {tried} a process; a step holds {held} of the {allowed} it may"


def largest_fitting(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that fits, by doubling and then halving the gap; 0 when 1 does not fit.

    >>> largest_fitting(lambda n: n <= 11, 64)
    11
    """
    low, high = 0, 1
    while fits(high):
        low = high
        if high == most:
            return most
        high = min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_batch(
    fabric: Any, model: VisionModel, rule: OptimizerRule, settings: TrainSettings, samples: Sequence[Sample], most: int
) -> Fit:
    """Tries training steps with the model's settings (uncompiled); weights, statistics and random state stay as they were.

    Args:
        fabric: a launched Fabric; its processes agree on the smallest of their answers.
        model: what is trained; it comes back as it was, on the fabric's device.
        rule: the optimizer, whose moments a step makes too.
        settings: settings of the training, for precision, recomputation and what is frozen.
        samples: samples as large as training will see them, largest first; a batch repeats them.
        most: images that make sense, of all processes (those of the data set).

    Raises UserError when not even one image fits, or where nobody says how much memory there is.
    """
    model.to(fabric.device)
    state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    # What is frozen at first is trained in the end, and takes the most memory then.
    plain = dataclasses.replace(settings, sync_bn=False, compile=False, freeze_until={})
    with torch.random.fork_rng(devices):
        trials = _Trials(fabric, model, rule, plain, samples)
        alone = largest_fitting(trials.fits, max(1, most // fabric.world_size))
    tried, highest, limit = tuple(trials.tried), trials.highest, trials.limit
    del trials
    _give_back()
    model.load_state_dict(state)
    agreed = int(fabric.all_gather(torch.tensor(alone, device=fabric.device)).min()) if fabric.world_size > 1 else alone
    if agreed == 0:
        height, width = samples[0].image.shape[:2]
        message = f"not even one image of {height}x{width} fits: a training step may hold {gigabytes(limit)}"
        remedy = (
            "train.recompute=blocks, train.precision=bf16-mixed, or smaller images or crops in data.train.transforms"
        )
        raise UserError(Problem("data.batch_size", message, remedy))
    return Fit(agreed * fabric.world_size, tried, highest, limit)


class _Trials:
    """Steps of n images, and what they needed.

    On a GPU a step that does not fit fails, and nothing comes of it. On a CPU it might end the machine: there no step is
    made that, by the smaller ones, would not fit.
    """

    def __init__(
        self,
        fabric: Any,
        model: VisionModel,
        rule: OptimizerRule,
        settings: TrainSettings,
        samples: Sequence[Sample],
    ) -> None:
        self.device, self.samples = fabric.device, samples
        own = alone(fabric, precision_on(settings, fabric.device.type))
        self.step = trial_step(own, model, rule, settings)
        memory = device_memory(self.device)
        self.on_gpu = self.device.type == "cuda"
        if memory is None or not (self.on_gpu or reset_peak()):
            message = f"'auto' cannot see how much memory {self.device} has"
            raise ConfigError(Problem("data.batch_size", message, "give a number"))
        if self.on_gpu:
            self.limit = int(GPU_SHARE * (memory.free + memory.ours))
        else:
            self.limit = memory.ours + int(CPU_SHARE * memory.free) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if fabric.world_size > 1:  # DDP's buckets are a second copy of the gradients
            self.limit -= sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        if settings.ema_decay is not None:  # averages are a second copy of the weights
            self.limit -= sum(p.numel() * p.element_size() for p in model.parameters())
        self.known: list[tuple[int, int, float]] = [(0, memory.ours, 0.0)]
        height, width, channels = samples[0].image.shape
        self.kept = kept_by(model, torch.empty(1, channels, height, width, dtype=torch.uint8)) or 0
        self.tried: list[int] = []
        self.highest = 0

    def fits(self, images: int) -> bool:
        """Whether a step of so many images fits, tried or, on a CPU, known beforehand."""
        before, needed, seconds = self.known[-1]
        if not self.on_gpu:
            each = self.kept
            if before > 0:
                each = max(each, (needed - self.known[-2][1]) // (before - self.known[-2][0]))
            expected = needed + (images - before) * each
            if expected > self.limit:
                return False
            if seconds * images > _PATIENCE * before:
                self.highest = max(self.highest, expected)
                return True
        self.tried.append(images)
        began = time.monotonic()
        found = self._step(images)
        if found is None or found > self.limit:
            return False
        if images > before:
            self.known.append((images, found, time.monotonic() - began))
        self.highest = max(self.highest, found)
        return True

    def _step(self, images: int) -> int | None:
        """The most bytes held during two steps (the first makes the optimizer's moments); None when they do not fit."""
        _give_back()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            reset_peak()
        try:
            for _ in range(2 if images == 1 or self.on_gpu else 1):
                self._update(images)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            raise not_deterministic(error) or error from None
        finally:
            self.step.optimizer.zero_grad(set_to_none=True)
        return torch.cuda.max_memory_reserved(self.device) if self.on_gpu else peak()

    def _update(self, images: int) -> None:
        batch = collate([self.samples[number % len(self.samples)] for number in range(images)])
        with kept_for_backward(self.step.model) as kept:
            losses = self.step.losses(batch, seed=0)
        self.kept = max(self.kept, kept.bytes // images)
        self.step.backward(losses)
        self.step.update(0, [])


def _give_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""How much memory and time a training and its evaluations will take, for the sizes of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from toolkit.analysis.device_memory import device_memory, gigabytes
from toolkit.analysis.forecast import forecast_prediction, training_bytes
from toolkit.errors import Problem
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report
from toolkit.preflight.model.geometry_trace import Size
from toolkit.preflight.model.sizes import shown

WORTH = 2**20
"""Pixels of a batch, or of a validation image, from which on memory is a question at all."""
_TRIED_PIXELS = 2 * 256**2
_WORK = 30e9
"""Multiply-accumulates that the small passes of a forecast may take, some seconds on two cores."""


class Amounts(NamedTuple):
    """What is to be done.

    Args:
        size: (height, width) that most training images have.
        batch: images of one process's batch.
        steps: of the training, optimizer updates.
        step_images: images of an update, all processes together.
        validation: sizes of some validation images, the largest among them; () for no evaluation.
        evaluated: how many images each evaluation measures, 0 for none.
        together: images of an evaluation's batch.
        macs: multiply-accumulates of a training image, forward; 0 when not known.
    """

    size: Size
    batch: int
    steps: int
    step_images: int
    validation: Sequence[Size]
    evaluated: int
    together: int
    macs: float


def note_memory(report: Report, model: VisionModel, amounts: Amounts, device: torch.device) -> None:
    """Says what a step and the evaluation of the largest image take, and warns where the device has less free.

    Args:
        report: takes a fact, and a warning where something does not fit.
        model: with numbers, on the CPU; its mode and the random state stay.
        amounts: what is to be done, at which sizes.
        device: that the training will run on.
    """
    largest = max(amounts.validation, key=_pixels, default=None)
    needs: list[tuple[str, str, int, str]] = []
    if amounts.batch * _pixels(amounts.size) >= WORTH:
        need = training_bytes(model, amounts.size, amounts.batch)
        what = f"a training step of {amounts.batch} images of {shown(amounts.size)}"
        remedy = "lower data.batch_size (and raise train.accumulate), or use smaller crops"
        needs += [(what, "data.batch_size", need, remedy)] if need is not None else []
    costs = amounts.macs / max(1, _pixels(amounts.size)) * _TRIED_PIXELS
    if largest is not None and amounts.together * _pixels(largest) >= WORTH and costs <= _WORK:
        need = forecast_prediction(model).bytes(largest, amounts.together)
        number = f"{amounts.together} images" if amounts.together > 1 else "an image"
        what = f"the evaluation of {number} of {shown(largest)}, the largest of validation"
        lower = "set evaluate.batch_size to 1, or " if amounts.together > 1 else ""
        needs.append((what, "data.val.transforms", need, f"{lower}resize the images of data.val"))
    if not needs:
        return
    memory = device_memory(device)
    free = f"; {device} has {gigabytes(memory.free)} free" if memory is not None else ""
    report.note("memory", "; ".join(f"about {gigabytes(need)} for {what}" for what, _, need, _ in needs) + free)
    for what, key, need, remedy in needs:
        if memory is not None and need > memory.free:
            message = f"{what} takes about {gigabytes(need)}, but {device} has {gigabytes(memory.free)} free"
            report.warn("memory", Problem(key, message, remedy))


def note_time(report: Report, amounts: Amounts, seconds_per_mac: float) -> None:
    """Says how long a step, the training and an evaluation take on this machine's CPU, from the batch that was tried.

    Args:
        report: takes one fact, on the topic "time".
        amounts: what is to be done, at which sizes.
        seconds_per_mac: measured; a backward pass counts as two forward passes.
    """
    step = 3 * amounts.macs * amounts.step_images * seconds_per_mac
    text = f"about {_duration(step)} a step, {_duration(step * amounts.steps)} for {amounts.steps} steps"
    if amounts.validation:
        mean = sum(map(_pixels, amounts.validation)) / len(amounts.validation)
        one = amounts.macs * mean / max(1, _pixels(amounts.size)) * seconds_per_mac
        largest = max(amounts.validation, key=_pixels)
        whole = _duration(one * amounts.evaluated)
        text += f", {whole} for each evaluation of {amounts.evaluated} images (the largest {shown(largest)})"
    report.note("time", f"{text}, on this CPU")


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _duration(seconds: float) -> str:
    """Seconds for people.

    >>> _duration(0.25), _duration(95), _duration(7300)
    ('0.25 s', '1.6 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"

"""Too little memory, said with numbers and with what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from toolkit.analysis.device_memory import device_memory, gigabytes
from toolkit.analysis.memory import kept_for_backward, without_numbers
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel

_SIGNS = re.compile(
    r"out of memory|can't allocate memory|not enough memory|_ALLOC_FAILED|bad_alloc|could not create a memory",
    re.IGNORECASE,
)
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
_UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "bytes": 1}


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error of PyTorch or Python says that memory could not be had, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and _SIGNS.search(str(error)) is not None


def out_of_memory(
    error: BaseException, doing: str, model: VisionModel, images: Tensor | None, remedies: Sequence[str], kept: bool
) -> UserError:
    """The error for people.

    Args:
        error: what PyTorch or Python raised.
        doing: what did not fit, in words ("training step 12").
        model: the model, whose parts are asked what they keep.
        images: images of the batch, (N, C, H, W), or None where that says nothing.
        remedies: sentences on what to change, what helps most first.
        kept: whether to say how much the backward pass needs of them.
    """
    device = next(model.parameters()).device
    memory = device_memory(device)
    parts = [f"{doing} does not fit into the memory of {device}"]
    asked = _ASKED.search(str(error))
    if asked:
        parts.append(f"{gigabytes(float(asked.group(1)) * _UNITS[asked.group(2)])} more were asked for")
    if memory is not None:
        total, free, ours = map(gigabytes, memory)
        parts.append(f"of {total} this process holds {ours}, and {free} are free")
    if images is not None:
        shown = " x ".join(map(str, images.shape))
        number = kept_by(model, images) if kept else None
        held = f", of which backbone and neck keep about {gigabytes(number)} for the backward pass" if number else ""
        parts.append(f"the batch is {shown}{held}")
    return UserError(Problem("memory", "; ".join(parts), "; or ".join(remedies)))


@contextmanager
def memory_explained(doing: str, model: VisionModel, remedies: Sequence[str]) -> Iterator[None]:
    """Around passes without gradients: raises UserError in place of running out of memory.

    Args:
        doing: what the passes are for ("evaluation of val").
        model: that is running; its device is asked for its memory.
        remedies: what helps, the most helpful first.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, doing, model, None, remedies, kept=False) from None


def kept_by(model: VisionModel, images: Tensor) -> int | None:
    """Bytes that backbone and neck keep for the backward pass of images of this shape, in float32; None if unknown.

    Found on the meta device, with shapes only, in whatever memory is left.
    """
    try:
        with torch.device("meta"):
            copied = without_numbers(model)
            shapes = torch.empty(images.shape, dtype=images.dtype)
            return kept_for_backward(copied, shapes, copied.pyramid).bytes
    except Exception:  # an estimate inside an error message must not become another error
        return None

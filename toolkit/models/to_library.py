"""A model's weights under the names of another library: the tables that read its files, turned round.

Nothing is written down twice: the other net's tensors are filled with their own places, read as a file of that library is
read, and where each place arrives is where its number comes from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.errors import PartsError, Problem, listed
from toolkit.models.translate import translate
from toolkit.models.vision_model import VisionModel


def library_state(model: VisionModel, part: str, target: nn.Module, where: str) -> dict[str, Tensor]:
    """The state dict that `target.load_state_dict` takes strictly, with the model's numbers.

    Raises PartsError, with the tensors that the model has not, for a net that is not theirs.

    Args:
        model: the model, on the CPU.
        part: name of the model's backbone, whose tables of names are tried.
        target: the other library's net, with any numbers.
        where: the other net, for messages.
    """
    own, template = model.state_dict(), target.state_dict()
    places: dict[str, Tensor] = {}
    count = 0
    for name, tensor in template.items():
        places[name] = torch.arange(count, count + tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
        count += tensor.numel()
    values = torch.full((count,), torch.nan, dtype=torch.float64)
    for name, arrived in translate(model, places, part, where).tensors.items():
        if name in own and own[name].shape == arrived.shape:
            values[arrived.flatten().long()] = own[name].flatten().double()
    found: dict[str, Tensor] = {}
    missing = []
    for name, tensor in template.items():
        filled = values[places[name].flatten().long()].reshape(tensor.shape)
        if name.endswith("num_batches_tracked"):
            found[name] = tensor.clone()
        elif bool(filled.isnan().any()):
            missing.append(name)
        else:
            found[name] = filled.to(tensor.dtype)
    if missing:
        message = f"is not {where}: it has nothing for {listed(missing)}"
        raise PartsError(Problem("model", message, "toolkit export --to onnx writes every net"))
    return found

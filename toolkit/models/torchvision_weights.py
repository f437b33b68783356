"""torchvision's Faster R-CNNs in a VisionModel: their names, where their anchors lie, and an epsilon that a file hides."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from toolkit.contracts import Head
from toolkit.errors import CheckpointError, Problem, listed
from toolkit.weights.naming import UNKNOWN, Naming, namings_of, recognised, rename


def is_faster_rcnn(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of one of torchvision's Faster R-CNNs, by its names."""
    return recognised(state, (_naming(),)) is not None


def _naming() -> Naming:
    return next(one for one in namings_of("whole_nets") if one.about == "torchvision's Faster R-CNN")


def keep_torchvision_anchors(head: Head) -> None:
    """Anchors as torchvision lays them, for a head that gets its weights: they remember where anchors lay."""
    head.change_setting("rpn.anchors.style", "torchvision")


def faster_rcnn_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of torchvision's `fasterrcnn_resnet50_fpn` with the names of resnet + fpn + rcnn in a VisionModel.

    Class k of the model is torchvision's label k + 1: with its COCO weights the model has 90 classes, ten of them
    unused. Raises CheckpointError for tensors that no such model has (the "v2" model has another head).
    """
    renamed = rename(state, _naming())
    unknown = [name for name, why in renamed.left.items() if why == UNKNOWN]
    if unknown:
        message = f"no Faster R-CNN with ResNet or MobileNetV3 and FPN has these tensors: {listed(unknown, 5)}"
        remedy = "use those of fasterrcnn_resnet50_fpn or fasterrcnn_mobilenet_v3_large_fpn"
        raise CheckpointError(Problem("torchvision weights", message, remedy))
    return {name: tensor for name, tensor in renamed.tensors.items() if not name.endswith("num_batches_tracked")}


@torch.no_grad()
def without_epsilon(model: nn.Module) -> None:
    """Frozen batch norms that divide by the root of their variance alone, as torchvision's with COCO_V1 do.

    torchvision sets their eps to 0 after it has loaded those weights (`overwrite_eps`), which no file of weights says.
    Here the factor weight / sqrt(variance) becomes the weight, and variance + eps becomes 1: the same answers from a
    state that any model of the same config can load.
    """
    from torchvision.ops import FrozenBatchNorm2d

    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.mul_(module.running_var.rsqrt())
            module.running_var.fill_(1.0 - module.eps)

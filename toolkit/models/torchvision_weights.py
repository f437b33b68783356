"""torchvision's detectors under our names, so that their published weights can be used.

torchvision's `fasterrcnn_resnet50_fpn(weights="COCO_V1")` sets the eps of its frozen batch normalisation to 0 after
loading; a model that loads those weights should do the same to answer as it does (`without_epsilon`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from toolkit.contracts import Head
from toolkit.errors import CheckpointError, Problem, listed

_RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"backbone\.body\.(.+)", r"backbone.\1"),
        # torchvision before 0.13 had no second ".0" in these names.
        (r"backbone\.fpn\.inner_blocks\.(\d+)\.(?:0\.)?(weight|bias)", r"neck.laterals.\1.\2"),
        (r"backbone\.fpn\.layer_blocks\.(\d+)\.(?:0\.)?(weight|bias)", r"neck.outputs.\1.\2"),
        (r"rpn\.head\.conv\.(?:0\.0\.)?(weight|bias)", r"head.rpn.conv.\1"),
        (r"rpn\.head\.cls_logits\.(weight|bias)", r"head.rpn.objectness.\1"),
        (r"rpn\.head\.bbox_pred\.(weight|bias)", r"head.rpn.deltas.\1"),
        (r"roi_heads\.box_head\.(fc[67])\.(weight|bias)", r"head.roi.\1.\2"),
        (r"roi_heads\.box_predictor\.cls_score\.(weight|bias)", r"head.roi.classes.\1"),
        (r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)", r"head.roi.deltas.\1"),
    )
)


def is_faster_rcnn(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of one of torchvision's Faster R-CNNs, by its names."""
    return {"rpn.head.bbox_pred.weight", "roi_heads.box_predictor.cls_score.weight"} <= set(state)


def keep_torchvision_anchors(head: Head) -> None:
    """Anchors as torchvision lays them, for a head that gets its weights: they remember where anchors lay."""
    head.change_setting("rpn.anchors.style", "torchvision")


def faster_rcnn_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of torchvision's `fasterrcnn_resnet50_fpn` with the names of resnet + fpn + rcnn in a VisionModel.

    Class k of the model is torchvision's label k + 1: with its COCO weights the model has 90 classes, ten of them
    unused. Raises CheckpointError for tensors that no such model has (the "v2" model has another head).
    """
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in state.items():
        found = next((match.expand(new) for old, new in _RENAMES if (match := old.fullmatch(name))), None)
        if found is None:
            unknown.append(name)
        elif not found.endswith("num_batches_tracked"):
            renamed[found] = tensor
    if unknown:
        message = f"no Faster R-CNN with ResNet and FPN has these tensors: {listed(unknown, 5)}"
        raise CheckpointError(Problem("torchvision weights", message, "use those of fasterrcnn_resnet50_fpn"))
    return renamed


def without_epsilon(model: nn.Module) -> None:
    """Sets eps of every frozen batch normalisation to 0, as torchvision does for its COCO_V1 weights."""
    from torchvision.ops import FrozenBatchNorm2d

    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0

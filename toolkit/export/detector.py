"""Detectors as one program: images and their sizes in, boxes in the files' pixels out, for any size and any batch.

What an ONNX file does in one operator of its own is written for the exporter here: suppression of many groups of boxes
(NonMaxSuppression) and RoI max pooling (MaxRoiPool, which rounds and takes maxima as torchvision's operator does, to
the bit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision.ops  # noqa: F401  (its operators, before anything is traced: under a trace its import fails)
from torch import Tensor, nn

from toolkit.contracts import DetectionTensors, Suppress
from toolkit.models.vision_model import VisionModel
from toolkit.ops.surviving import ABSENT, surviving


class DetectorProgram(nn.Module):
    """A detector whose answer is tensors of one shape a batch: what `VisionModel.predict` answers for the same batch.

    Args:
        model: a detector.
        suppress: how boxes are suppressed: `surviving` in plain operators, `suppress_in_onnx` for an ONNX file.
        thresholds: lowest score, 0..1, of a detection of each class (operating points), or none.
    """

    def __init__(
        self, model: VisionModel, suppress: Suppress = surviving, thresholds: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.suppress = suppress
        lowest = None if thresholds is None else torch.tensor(list(thresholds), dtype=torch.float32)
        self.register_buffer("thresholds", lowest, persistent=False)

    def forward(self, images: Tensor, sizes: Tensor, original_sizes: Tensor) -> DetectionTensors:
        """Detections, best first.

        Args:
            images: (N, C, H, W) uint8, or float 0..1, padded at the bottom and right with anything.
            sizes: (N, 2) int64 height and width of each image within the padding.
            original_sizes: (N, 2) int64 height and width of each file, to which boxes are scaled.
        """
        pyramid = self.model.pyramid(images, sizes)
        found = self.model.head.detection_tensors(pyramid, sizes, original_sizes, self.suppress)
        return found if self.thresholds is None else above(found, self.thresholds)


def above(found: DetectionTensors, thresholds: Tensor) -> DetectionTensors:
    """The detections whose score is at least that of their class, (K,); as `Detections.at_least`."""
    keep = (found.labels >= 0) & (found.scores >= thresholds[found.labels.clamp(min=0)])
    # Kept ones move up and stay in their order: no two have the same rank, so that it is a permutation everywhere.
    number = keep.shape[1]
    rank = keep * number - torch.arange(number, device=keep.device)
    order = rank.topk(number, 1).indices
    return DetectionTensors(
        torch.where(keep[..., None], found.boxes, 0.0).gather(1, order[..., None].expand(-1, -1, 4)),
        torch.where(keep, found.scores, 0.0).gather(1, order),
        torch.where(keep, found.labels, -1).gather(1, order),
        keep.sum(1),
    )


@torch.library.custom_op("toolkit::suppress_in_onnx", mutates_args=())
def suppress_in_onnx(boxes: Tensor, scores: Tensor, iou: float, limit: int) -> Tensor:
    """`ops.surviving.surviving` as one operator, which the exporter writes as ONNX' NonMaxSuppression."""
    return surviving(boxes, scores, iou, limit)


@suppress_in_onnx.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float, limit: int) -> Tensor:
    return torch.empty_like(scores)


def onnx_translations() -> dict[Any, Callable[..., Any]]:
    """Operators of detectors that PyTorch's exporter cannot write, for `torch.onnx.export(custom_translation_table=)`."""
    from onnxscript import opset18

    op: Any = opset18  # whose types know tensors alone, no Python numbers

    def suppress(boxes: Any, scores: Any, iou: float, limit: int) -> Any:
        lowest = op.Constant(value_floats=[ABSENT / 2])
        overlap = op.Constant(value_floats=[iou])
        most = op.Constant(value_ints=[limit])
        found = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), most, overlap, lowest)
        places = op.Gather(found, [0, 2], axis=1)
        nothing = op.Expand(op.Constant(value_float=ABSENT), op.Shape(scores))
        return op.ScatterND(nothing, places, op.GatherND(scores, places))

    def roi_pool(features: Any, boxes: Any, scale: float, height: int, width: int) -> Any:
        pooled = op.MaxRoiPool(features, boxes, pooled_shape=[height, width], spatial_scale=scale)
        return pooled, pooled  # where each maximum stood is asked for by the backward pass alone

    return {
        torch.ops.toolkit.suppress_in_onnx.default: suppress,
        torch.ops.torchvision.roi_pool.default: roi_pool,
    }

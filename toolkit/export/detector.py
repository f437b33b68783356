"""Detectors as one program: images and their sizes in, boxes in the files' pixels out, for any size and any batch.

What an ONNX file does in one operator of its own is written for the exporter here: suppression of many groups of boxes
(NonMaxSuppression) and RoI max pooling (MaxRoiPool, which rounds and takes maxima as torchvision's operator does, to
the bit).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision.ops  # noqa: F401  (its operators, before anything is traced: under a trace its import fails)
from torch import Tensor

from toolkit.contracts import DetectionTensors, Suppress
from toolkit.export.graph import ALL, ExportGraph, next_legal
from toolkit.ops.padding import inside
from toolkit.ops.surviving import ABSENT, surviving

SIZES = "sizes"
"""Input: (N, 2) int64 height and width of each picture; what is beside and below it in `pictures` does not matter."""
FILE_SIZES = "file_sizes"
"""Input: (N, 2) int64 height and width of each picture before it was resized, in whose pixels boxes are."""


class DetectorGraph(ExportGraph):
    """What a program of a detector computes, for pictures of any sizes padded to one, and any number of them.

    `forward` takes `pictures`, `sizes` and `file_sizes`, and gives `DetectionTensors`: `boxes` (N, D, 4), `scores` (N, D),
    `labels` (N, D) and `counts` (N,), what `VisionModel.predict` answers for the same batch; with thresholds inside also
    `all_boxes`, `all_scores` and `all_labels`, which they do not cut, for whoever measures or chooses others.
    """

    suppress: Suppress = staticmethod(surviving)

    def more(self, example: Tensor) -> dict[str, Tensor]:
        """`sizes` and `file_sizes` of an example, which fills its pictures."""
        sizes = torch.tensor([example.shape[1:3]] * example.shape[0])
        return {SIZES: sizes, FILE_SIZES: sizes.clone()}

    def prepared(self, images: Tensor, *more: Tensor) -> Tensor:
        """Images (N, C, H, W) as the net takes them, each mirrored up to its own legal size, 0 beyond it."""
        sizes, rule = more[0], self.model.spec.sizes
        if rule.minimum > 1 or rule.multiple > 1:
            for axis in (2, 3):
                places = mirrored(sizes[:, axis - 2], next_legal(images.shape[axis], rule))
                where = places[:, None, :, None] if axis == 2 else places[:, None, None, :]
                images = images.gather(axis, where.expand(-1, images.shape[1], *_sides(images, places, axis)))
            at_least = sizes.clamp(min=rule.minimum)
            sizes = at_least + (rule.remainder - at_least) % rule.multiple
        return self.model.padded(inside(self.model.normalise(images), sizes))

    def _answers(
        self, pixels: Tensor, size: tuple[int, int], original: tuple[int, int], *more: Tensor
    ) -> dict[str, Tensor]:
        found = self.model.head.detection_tensors(self._pyramid(pixels), more[0], more[1], type(self).suppress)
        if self.cut is None:
            return found._asdict()
        shown = above(found, torch.tensor(self.cut.thresholds, dtype=torch.float32, device=more[0].device))
        every = {ALL + name: value for name, value in found._asdict().items() if name != "counts"}
        return {**shown._asdict(), **every}


def mirrored(lengths: Tensor, number: int) -> Tensor:
    """Places (N, number) of lines of lengths (N,) that are mirrored at their end, again and again (`mirror_positions`)."""
    lengths = lengths[:, None]
    period = (2 * (lengths - 1)).clamp(min=1)
    folded = torch.arange(number, device=lengths.device)[None] % period
    return torch.where(folded < lengths, folded, period - folded)


def _sides(images: Tensor, places: Tensor, axis: int) -> tuple[int, int]:
    return (places.shape[1], images.shape[3]) if axis == 2 else (images.shape[2], places.shape[1])


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
    """`ops.surviving.surviving` as one operator, which the exporter writes as ONNX' NonMaxSuppression.

    Args:
        boxes: (G, M, 4) float xyxy pixels, x2 and y2 exclusive, none negative.
        scores: (G, M) float, 0..1, or `ABSENT` where there is no box.
        iou: largest overlap, 0..1, at which both of two boxes stay.
        limit: how many survivors of a group are needed.
    """
    return surviving(boxes, scores, iou, limit)


@suppress_in_onnx.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float, limit: int) -> Tensor:
    return torch.empty_like(scores)


class OnnxDetectorGraph(DetectorGraph):
    """The same with ONNX' own suppression."""

    suppress: Suppress = staticmethod(suppress_in_onnx)

    @property
    def translations(self) -> dict[Any, Any]:
        """Suppression, and RoI max pooling."""
        return onnx_translations()


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

"""A model as one function of pictures: uint8 in, answers in the pictures' own pixels out. What every export is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.contracts import FeaturePyramid, SizeRule
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import mirror_positions
from toolkit.samples import IGNORE_INDEX

PICTURES = "pictures"
"""Input of a graph: (N, H, W, C) uint8, RGB or gray, as decoders give pictures; all of one size."""
PIXELS = "pixels"
"""Input of a raw graph: (N, C, H, W) float32 of a legal size, normalised, channels in the backbone's order."""
RAW = "logits"
"""Output: what the head itself gives, (N, K, h, w) at its stride or (N, K); logits, or numbers of a regression."""
BLOCK = "block/"
"""Begin of the names of values inside a graph that are compared when an export differs."""


@dataclass(frozen=True)
class Cut:
    """Lowest scores that count, inside the graph.

    Args:
        thresholds: (K) lowest score of each class, 0..1; above 1 for a class that is never answered.
        fallback: label of pixels below it, `IGNORE_INDEX` for none; of detections those below are left out.
    """

    thresholds: tuple[float, ...]
    fallback: int = IGNORE_INDEX


class ExportGraph(nn.Module):
    """What a program of another engine computes, in plain operators, for every size and number of pictures.

    `forward` gives a tuple of tensors, named by `names`. A dense model gives `labels` (N, H, W) uint8 and `scores`
    (N, H, W) float32, or `values` (N, H, W); a classifier `scores` (N, K) and `labels` (N); detectors see
    `DetectorGraph`. Then `logits`, what the head gave. The head says what the names are (`Head.exported`).

    Args:
        model: the model, in eval mode.
        raw: whether the graph begins at normalised pixels (`PIXELS`) and ends with the head's `logits`.
        half: whether weights and maps are float16; the model is changed.
        cut: thresholds that are applied to the answers; None for all answers.
        blocks: whether values between the parts are given too, under `BLOCK` and the names of `blocks`.
    """

    def __init__(
        self,
        model: VisionModel,
        *,
        raw: bool = False,
        half: bool = False,
        cut: Cut | None = None,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.half() if half else model
        self.raw, self.half_precision, self.cut, self.with_blocks = raw, half, cut, blocks
        self.names: tuple[str, ...] = ()
        """Names of what `forward` gives; known after its first call."""

    @property
    def input_name(self) -> str:
        """What the graph takes: `PICTURES` or `PIXELS`."""
        return PIXELS if self.raw else PICTURES

    def example(self, size: tuple[int, int], count: int = 2) -> Tensor:
        """An input of random bytes (pictures), or of what they are once normalised and padded (pixels).

        size: (height, width) in pixels of the pictures. count: number of pictures.
        """
        generator = torch.Generator().manual_seed(0)
        shape = (count, *size, self.model.in_channels)
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return self.prepared(pictures).float() if self.raw else pictures

    def more(self, example: Tensor) -> dict[str, Tensor]:
        """Inputs beside the pictures, by name, for an example of pictures; none here. The first axis of each is N."""
        return {}

    @property
    def translations(self) -> dict[Any, Any]:
        """Operators of the graph that ONNX' exporter has to be told of (`custom_translation_table`); none here."""
        return {}

    def prepared(self, pictures: Tensor, *more: Tensor) -> Tensor:
        """Pictures (N, H, W, C) as the net takes them: mirrored up to a legal size, normalised, (N, C, H', W')."""
        images = pictures.permute(0, 3, 1, 2)
        rule, border = self.model.spec.sizes, self.model.border
        if border or rule.minimum > 1 or rule.multiple > 1:
            for axis in (2, 3):
                length = images.shape[axis]
                after = next_legal(length + 2 * border, rule) - length - border
                images = images.index_select(axis, mirror_positions(length, border, after, images.device))
        pixels = self.model.normalise(images)
        return self._padded(pixels)

    def _padded(self, pixels: Tensor) -> Tensor:
        """Zeros at the bottom and right, up to the multiple that the head asks for."""
        multiple = self.model.head.pad_multiple
        if multiple == 1:
            return pixels
        height, width = pixels.shape[2:]
        return F.pad(
            pixels, (0, -(-width // multiple) * multiple - width, 0, -(-height // multiple) * multiple - height)
        )

    def forward(self, given: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Answers for pictures (N, H, W, C) uint8, or with `raw` the head's outputs for pixels (N, C, H, W) float32."""
        pixels = given if self.raw else self.prepared(given, *more)
        blocks = {} if self.raw else {"input": pixels}
        if self.half_precision:
            pixels = pixels.half()
        pyramid: FeaturePyramid = self.model.backbone(pixels)
        blocks |= _maps("backbone", pyramid)
        if self.model.neck is not None:
            pyramid = self.model.neck(pyramid)
            blocks |= _maps("neck", pyramid)
        if self.model.head.pad_multiple > 1:
            pyramid = replace(pyramid, image_size=(pixels.shape[2], pixels.shape[3]))
        size = (pixels.shape[2], pixels.shape[3]) if self.raw else (given.shape[1], given.shape[2])
        outputs = self._answers(pyramid, size, *more)
        if self.with_blocks:
            outputs |= {BLOCK + name: value.float() for name, value in blocks.items()}
        self.names = tuple(outputs)
        return tuple(outputs.values())

    def _answers(self, pyramid: FeaturePyramid, size: tuple[int, int], *more: Tensor) -> dict[str, Tensor]:
        raw = self.model.head(pyramid)
        if self.raw:
            return named_tensors(raw)
        if self.half_precision:
            raw = _floats(raw)
        found = self.model.head.exported(raw, pyramid, size)
        if self.cut is not None and "labels" in found:
            found = _above(found, self.cut)
        return {**found, RAW: raw} if isinstance(raw, Tensor) and RAW not in found else found


def next_legal(n: Any, rule: SizeRule) -> Any:
    """`SizeRule.next_legal` for a side that a program does not know yet (a symbol), without a condition on it."""
    at_least = torch.sym_max(n, rule.minimum)
    return at_least + (rule.remainder - at_least) % rule.multiple


def named_tensors(raw: Any, name: str = RAW) -> dict[str, Tensor]:
    """The tensors of whatever a head gives, by names made of its structure."""
    if isinstance(raw, Tensor):
        return {name: raw.float() if raw.dtype == torch.float16 else raw}
    if isinstance(raw, Mapping):
        pairs: Sequence[tuple[Any, Any]] = list(raw.items())
    elif isinstance(raw, tuple) and hasattr(raw, "_asdict"):
        pairs = list(raw._asdict().items())
    else:
        pairs = list(enumerate(raw))
    return {key: value for part, one in pairs for key, value in named_tensors(one, f"{name}/{part}").items()}


def _floats(raw: Any) -> Any:
    return cast(Any, torch.utils._pytree.tree_map_only(Tensor, lambda one: one.float(), raw))


def _maps(part: str, pyramid: FeaturePyramid) -> dict[str, Tensor]:
    strides = pyramid.spec.strides
    return {
        f"{part}/{place}@{stride}": one for place, (stride, one) in enumerate(zip(strides, pyramid.maps, strict=True))
    }


def _above(found: Mapping[str, Tensor], cut: Cut) -> dict[str, Tensor]:
    """Labels of pixels (N, H, W) below their class' threshold become the fallback."""
    labels, scores = found["labels"], found["scores"]
    if labels.ndim != 3:
        return dict(found)
    lowest = torch.tensor(cut.thresholds, device=scores.device)[labels.long()]
    fallback = torch.tensor(cut.fallback, dtype=labels.dtype, device=labels.device)
    return {**found, "labels": torch.where(scores >= lowest, labels, fallback)}

"""A model as one function of pictures: uint8 in, answers in the pictures' own pixels out. What every export is made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid, SizeRule
from toolkit.export.blocks import watched
from toolkit.export.onnx_shift import shift_translations
from toolkit.models.monte_carlo import moments, placed_samples, refuse_without_dropout
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import mirror_positions
from toolkit.samples import IGNORE_INDEX

PICTURES = "pictures"
"""Input of a graph: (N, H, W, C) uint8, RGB or gray, as decoders give pictures; all of one size."""
PIXELS = "pixels"
"""Input of a raw graph: (N, C, H, W) float32 of a legal size, normalised, channels in the backbone's order."""
RAW = "logits"
"""Output: what the head itself gives, (N, K, h, w) at its stride or (N, K); logits, or numbers of a regression."""
MEAN, VARIANCE = "samples_mean", "samples_variance"
"""Outputs of a program of samples, in the place of `RAW`: moments of what the head samples, (N, K, h, w) float32."""
ALL = "all_"
"""Begin of the names of a detector's answers below its thresholds, where thresholds are inside the graph."""
MAP = "map/"
"""Begin of the names of a pyramid's maps, which a program gives whose head stays in PyTorch."""
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


class _Named:
    """Names of what a graph gave last."""

    every: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


class ExportGraph(nn.Module):
    """What a program of another engine computes, in plain operators, for every size and number of pictures.

    `forward` gives a tuple of tensors, named by `names`. A dense model gives `labels` (N, H, W) uint8 and `scores`
    (N, H, W) float32, or `values` (N, H, W); a classifier `scores` (N, K) and `labels` (N); detectors see
    `DetectorGraph`. Then `logits`, what the head gave, or `samples_mean` and `samples_variance`. The head says what the names
    are (`Head.exported`).

    Args:
        model: the model, in eval mode.
        raw: whether the graph begins at normalised pixels (`PIXELS`) and ends with the head's `logits`.
        half: whether weights and maps are float16, of a copy of the model.
        cut: thresholds that are applied to the answers; None for all answers.
        blocks: whether values between the layers are given too, under `BLOCK` and the names of their parts.
        samples: passes with dropout that the answer is the mean of, with the noise of `VisionModel.predict`; 1 draws none.
    """

    def __init__(
        self,
        model: VisionModel,
        *,
        raw: bool = False,
        half: bool = False,
        cut: Cut | None = None,
        blocks: bool = False,
        samples: int = 1,
    ) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half() if half else model
        self.raw, self.half_precision, self.cut, self.with_blocks = raw, half, cut, blocks
        self.samples = samples
        self._named = _Named()
        if half:  # pixels are normalised in float32, as always
            self.model.pixel_scale, self.model.pixel_shift = model.pixel_scale, model.pixel_shift

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what `forward` gives; known after its first call."""
        return self._named.every

    @property
    def answers(self) -> tuple[str, ...]:
        """Those of them that are answers, not blocks."""
        return self._named.answers

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
        return self.prepared(pictures.permute(0, 3, 1, 2)).float().contiguous() if self.raw else pictures

    def more(self, example: Tensor) -> dict[str, Tensor]:
        """Inputs beside the pictures, by name, for an example of pictures; none here. The first axis of each is N."""
        return {}

    @property
    def translations(self) -> dict[Any, Any]:
        """Operators of the graph that ONNX' exporter has to be told of (`custom_translation_table`): shifts of samples' noise."""
        return shift_translations() if self.samples > 1 else {}

    def resized(self, pictures: Tensor) -> Tensor:
        """Pictures (N, H, W, C) after what evaluation does to them (a resize, say), (N, C, H', W') uint8."""
        images = pictures.permute(0, 3, 1, 2)
        for transform in self.model.transforms:
            images = transform.exported(images)
        return images

    def prepared(self, images: Tensor, *more: Tensor) -> Tensor:
        """Images (N, C, H, W) as the net takes them: mirrored up to a legal size, normalised, (N, C, H', W')."""
        rule, border = self.model.spec.sizes, self.model.border
        if border or rule.minimum > 1 or rule.multiple > 1:
            for axis in (2, 3):
                length = images.shape[axis]
                after = next_legal(length + 2 * border, rule, 1 + 2 * border) - length - border
                images = images.index_select(axis, mirror_positions(length, border, after, images.device))
        pixels = self.model.normalise(images)
        return self.model.padded(pixels)

    def forward(self, given: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Answers for pictures (N, H, W, C) uint8, or with `raw` the head's outputs for pixels (N, C, H, W) float32."""
        if self.raw:
            pixels, size, original = given, (given.shape[2], given.shape[3]), (given.shape[2], given.shape[3])
        else:
            images = self.resized(given)
            original = (given.shape[1], given.shape[2])
            size = (images.shape[2], images.shape[3]) if self.model.transforms else original
            if more and self.model.transforms:  # pictures of one size, which they all have now
                more = (torch.ones_like(more[0]) * torch.tensor([[images.shape[2], images.shape[3]]]), *more[1:])
            pixels = self.prepared(images, *more)
        with watched(self.model, self.samples) as blocks:
            answers = self._answers(pixels, size, original, *more)
        outputs = answers
        if self.with_blocks:
            inside = {"input": pixels, **blocks} if not self.raw else blocks
            new = {name: value for name, value in inside.items() if not any(value is one for one in answers.values())}
            outputs = answers | {BLOCK + name: value.float() for name, value in new.items()}
        # Kept in an object of its own: tracing puts attributes of a module back.
        self._named.every, self._named.answers = tuple(outputs), tuple(answers)
        return tuple(outputs.values())

    def _pyramid(self, pixels: Tensor) -> FeaturePyramid:
        """What the head reads."""
        pyramid: FeaturePyramid = self.model.backbone(pixels.half() if self.half_precision else pixels)
        if self.model.neck is not None:
            pyramid = self.model.neck(pyramid)
        if self.model.head.pad_multiple > 1:
            pyramid = replace(pyramid, image_size=(pixels.shape[2], pixels.shape[3]))
        return pyramid

    def _answers(
        self, pixels: Tensor, size: tuple[int, int], original: tuple[int, int], *more: Tensor
    ) -> dict[str, Tensor]:
        head = self.model.head
        if self.samples > 1:
            return self._of_samples(pixels, size, original)
        pyramid = self._pyramid(pixels)
        raw = head(pyramid)
        if self.raw:
            return named_tensors(raw)
        raw = _floats(raw) if self.half_precision else raw
        found = head.exported(raw, pyramid, size, original)
        if self.cut is not None and "labels" in found:
            found = _above(found, self.cut)
        return {**found, RAW: raw} if isinstance(raw, Tensor) and RAW not in found else found

    def _of_samples(self, pixels: Tensor, size: tuple[int, int], original: tuple[int, int]) -> dict[str, Tensor]:
        """The mean of passes with dropout, one after the other, whose noise is a hash of sample, layer and place."""
        head = refuse_without_dropout(self.model)
        with placed_samples(self.model) as noise:

            def passed(sample: int) -> Tensor:
                noise.begin(sample)
                return head.sampled(head(self._pyramid(pixels)))

            mean, variance = moments(passed, self.samples)
        found = head.exported_samples(mean, variance, size, original)
        if self.cut is not None and "labels" in found:
            found = _above(found, self.cut)
        return {**found, MEAN: mean, VARIANCE: variance}


class MapsGraph(ExportGraph):
    """A model up to its head: normalised pixels in, the maps that the head reads out, by `MAP` and their number.

    model: the model, in eval mode.
    """

    def __init__(self, model: VisionModel) -> None:
        super().__init__(model, raw=True)

    def _answers(
        self, pixels: Tensor, size: tuple[int, int], original: tuple[int, int], *more: Tensor
    ) -> dict[str, Tensor]:
        return {f"{MAP}{number}": one for number, one in enumerate(self._pyramid(pixels).maps)}


def next_legal(n: Any, rule: SizeRule, least: int = 1) -> Any:
    """`SizeRule.next_legal` for a side that a program does not know yet (a symbol), without a condition on it.

    Written as a multiple of a whole number, so that halves of it are seen to be whole; with remainders PyTorch's algebra
    of sizes takes minutes for a net that halves five times.

    Args:
        n: the side in pixels, a number or a symbol.
        rule: which sides the net can take.
        least: what n is at least.
    """
    if SizeRule(1, rule.multiple, rule.remainder).next_legal(least) < rule.minimum:
        n = torch.sym_max(n, rule.minimum)
    return (n - rule.remainder + rule.multiple - 1) // rule.multiple * rule.multiple + rule.remainder


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


def _above(found: Mapping[str, Tensor], cut: Cut) -> dict[str, Tensor]:
    """Labels of pixels (N, H, W) below their class' threshold become the fallback."""
    labels, scores = found["labels"], found["scores"]
    if labels.ndim != 3:
        return dict(found)
    lowest = torch.tensor(cut.thresholds, device=scores.device)[labels.long()]
    fallback = torch.tensor(cut.fallback, dtype=labels.dtype, device=labels.device)
    return {**found, "labels": torch.where(scores >= lowest, labels, fallback)}

"""Test-time augmentation: a picture is shown mirrored and at other sizes, and one answer is made of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.contracts import HEADS, DenseHead, Head, Part
from toolkit.errors import ConfigError, Problem
from toolkit.inference.tiling.boxes import TiledBoxes
from toolkit.inference.tiling.tiled import MEMORY, Mirrorings, TiledPrediction, TileSide
from toolkit.models.vision_model import VisionModel
from toolkit.ops.resize import Grid
from toolkit.samples import Batch, Detections, Prediction, each_image

SCALES = (1.0, 0.75, 1.25)
"""Sizes of the picture that `--tta scales` shows: its own first, then those usual in segmentation (DeepLab's release)."""
WISHES = ("flips", "scales", "flips+scales")


def looks_of(wish: str) -> tuple[Mirrorings, tuple[float, ...]]:
    """Mirrorings and sizes of a wish in `WISHES`. Raises ConfigError for another.

    >>> looks_of("flips+scales")
    (2, (1.0, 0.75, 1.25))
    """
    if wish not in WISHES:
        raise ConfigError(Problem("--tta", f"wanted {', '.join(WISHES)}; found '{wish}'"))
    return (2 if "flips" in wish else 1), (SCALES if "scales" in wish else (1.0,))


def several_looks(
    model: VisionModel,
    mirrorings: Mirrorings = 1,
    scales: Sequence[float] = (1.0,),
    tile: TileSide | None = None,
    overlap: int | None = None,
    memory: int = MEMORY,
) -> Callable[[Batch], list[Prediction]]:
    """What predicts a batch from several looks at each picture; `model.predict` where there is only one look.

    Args:
        model: the model, on its device.
        mirrorings: 2 adds the mirror image left-right, 4 also up-down and both (not for detectors).
        scales: sizes of the picture, 1 is its own and comes first.
        tile: side of a tile in pixels, or "auto"; None shows pictures whole.
        overlap: pixels that a detector's tiles share at least; None follows from the objects of its training.
        memory: bytes that a picture may take beside the model, for "auto".

    Raises:
        ConfigError: a head that answers for the picture as a whole, samples of dropout, a detector with 4 mirrorings, tiles
            that are too small for the model, or an overlap without tiles or for another model.
        PartsError: a model that cannot be tiled.
    """
    looks = mirrorings > 1 or len(scales) > 1
    dense = isinstance(model.head, DenseHead)
    _refuse_overlap(overlap, tile, model)
    if not looks:
        return _one_look(model, tile, overlap, memory)
    name = HEADS.name_of(type(model.head))
    if not dense and model.head.max_detections is None:
        raise _refused(f"is for heads that answer with pixels or boxes, not for '{name}'")
    if model.samples > 1:
        raise _refused(f"cannot be had together with model.samples, which is {model.samples}")
    if not dense and mirrorings == 4:
        raise _refused("detectors are shown pictures mirrored left-right only; take flips")
    if dense:
        tiled = TiledPrediction(model, tile or "auto", mirrorings, memory)
        tiled.refuse_too_small()
        return tiled if len(scales) == 1 else SeveralSizes(tiled, scales)
    return MergedBoxes(_one_look(model, tile, overlap, memory), model.head, mirrorings == 2, scales)


def _one_look(
    model: VisionModel, tile: TileSide | None, overlap: int | None, memory: int
) -> Callable[[Batch], list[Prediction]]:
    """The model's own answer, in tiles where that is wished."""
    if tile is None:
        return model.predict
    if model.head.max_detections is None:
        tiled = TiledPrediction(model, tile, memory=memory)
        tiled.refuse_too_small()
        return tiled
    boxes = TiledBoxes(model, tile, overlap, memory=memory)
    if tile != "auto":
        boxes.overlaps  # noqa: B018 - what does not suit the model is said before the first picture
    return boxes


class SeveralSizes:
    """Label maps, or other dense answers, from the mean of the head's outputs over several sizes of a picture.

    Outputs of other sizes are read, bilinearly, where the cells of the picture's own size lie; their mean goes on as
    that of one pass does. Memory holds the outputs of the whole picture, (K, h, w) float32.

    Args:
        tiled: what gives the outputs of one size, mirrored and in tiles where that is wished.
        scales: sizes of the picture; the first is 1.
    """

    def __init__(self, tiled: TiledPrediction, scales: Sequence[float]) -> None:
        self.tiled, self.scales = tiled, tuple(scales)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels, on the CPU."""
        return [self._one(single) for single in each_image(batch)]

    def _one(self, single: Batch) -> Prediction:
        size = (single.images.shape[-2], single.images.shape[-1])
        total: Tensor | None = None
        for scale in self.scales:
            look = _resized(single, scale)
            outputs = self.tiled.outputs(look)
            if total is None:
                total = outputs.clone()
            else:
                cells = (total.shape[-2], total.shape[-1])
                factors = [new / old for new, old in zip(look.images.shape[-2:], size, strict=True)]
                total += _read_at(outputs, cells, factors, self.tiled.head.grid)
        if total is None:
            raise ValueError("no sizes are given")
        height, width = single.original_sizes[0].tolist()
        cells = (total.shape[-2], total.shape[-1])
        part = Part.whole(cells, size, (height, width))
        return self.tiled.head.predict_part(total / len(self.scales), part).of_classes(self.tiled.model.class_table)


class MergedBoxes:
    """Detections of several looks, of which those of one class that overlap become one, as within a single look.

    Args:
        answer: a detector's answer for a batch at one size.
        head: that detector's head, which merges.
        flips: whether each size is also shown mirrored left-right.
        scales: sizes of the picture; 1 is its own.
    """

    def __init__(
        self, answer: Callable[[Batch], list[Prediction]], head: Head, flips: bool, scales: Sequence[float]
    ) -> None:
        self.answer, self.head, self.flips, self.scales = answer, head, flips, tuple(scales)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels, on the CPU."""
        return [self._one(single) for single in each_image(batch)]

    def _one(self, single: Batch) -> Prediction:
        found: list[Detections] = []
        width = float(single.original_sizes[0, 1])
        for scale in self.scales:
            look = _resized(single, scale)
            found += _detections(self.answer(look))
            if self.flips:
                mirrored = look._replace(images=look.images.flip(-1))
                found += [_flipped(one, width) for one in _detections(self.answer(mirrored))]
        return self.head.merged(found).of_classes(found[0].classes)


def _refused(message: str) -> ConfigError:
    return ConfigError(
        Problem("test-time augmentation", message, "leave --tta, evaluate.mirrorings and evaluate.scales out")
    )


def _refuse_overlap(overlap: int | None, tile: TileSide | None, model: VisionModel) -> None:
    """Raises ConfigError for an overlap that nothing would heed."""
    if overlap is None:
        return
    if tile is None:
        raise ConfigError(
            Problem("overlap", "is of tiles, and pictures are shown whole", "add --tile, or leave it out")
        )
    if model.head.max_detections is None:
        message = "is of detectors' tiles; those of other models overlap by what the net sees around a pixel"
        raise ConfigError(Problem("overlap", message, "leave it out"))


def _resized(single: Batch, scale: float) -> Batch:
    """A batch of one image at another size, uint8 if it was."""
    if scale == 1:
        return single
    images = single.images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    small = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    if not images.is_floating_point():
        small = small.round_().clamp_(0, 255)
    return single._replace(images=small.to(images.dtype), sizes=torch.tensor([size], dtype=single.sizes.dtype))


def _read_at(outputs: Tensor, cells: tuple[int, int], factors: Sequence[float], grid: Grid) -> Tensor:
    """(K, h', w') outputs of a picture that is `factors` times as large, where the cells (h, w) of its own size lie.

    Args:
        outputs: of the picture at the other size.
        cells: (h, w) of the picture at its own size.
        factors: how many times as high and as wide the other size is.
        grid: where in the image the value of a cell stands (`ops/resize.py`).
    """
    for axis, count, factor in zip((1, 2), cells, factors, strict=True):
        last = outputs.shape[axis] - 1
        own = torch.arange(count, device=outputs.device, dtype=torch.float64)
        middle = 0.5 if grid == "half_pixel" else 0.0
        places = own * last / max(count - 1, 1) if grid == "ends" else (own + middle) * factor - middle
        places = places.clamp(0, last)
        below = places.floor().long()
        share = (places - below).to(outputs.dtype)
        share = share[:, None] if axis == 1 else share
        lower, upper = outputs.index_select(axis, below), outputs.index_select(axis, (below + 1).clamp(max=last))
        outputs = torch.lerp(lower, upper, share)
    return outputs


def _detections(predictions: Sequence[Prediction]) -> list[Detections]:
    return [one for one in predictions if isinstance(one, Detections)]


def _flipped(found: Detections, width: float) -> Detections:
    """Detections of a mirrored picture where they are in the picture."""
    x1, y1, x2, y2 = found.boxes.unbind(1)
    boxes = torch.stack((width - x2, y1, width - x1, y2), 1)
    return Detections(boxes, found.scores, found.labels).of_classes(found.classes)

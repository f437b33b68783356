"""A `VisionModel` whose forward pass another engine computes: everything before and behind it is as it always is.

Tiles, mirrorings, thresholds, formats and evaluators ask a model for a pyramid and its head for what it makes of it.
Here the pyramid carries what the engine made, and the head hands it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.contracts import DenseHead, FeaturePyramid, Part
from toolkit.errors import CheckpointError, ConfigError, DataError, Problem, UserError, first_line
from toolkit.export.answers import prediction_of
from toolkit.export.graph import MAP, MEAN, PIXELS, RAW, VARIANCE, ExportGraph
from toolkit.export.program_limits import ProgramLimits
from toolkit.export.programs import Run
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import mirror_positions
from toolkit.samples import Batch, Detections, Prediction


@dataclass(frozen=True)
class AnsweredPyramid(FeaturePyramid):
    """A pyramid without maps of its own: the engine went on to what a dense head gives, (N, K, h, w).

    Args:
        raw: (N, K, h, w) float, what the engine gave.
    """

    raw: Tensor | None = None


class EngineModel(VisionModel):
    """The parts, names and rules of a model, with another engine's forward pass.

    Args:
        model: the model; it is taken over.
        run: the engine, with a program of this model.
    """

    def __init__(self, model: VisionModel, run: Run) -> None:
        torch.nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in vars(model).items() if name != "training"})
        self.run = run
        notes = run.notes or {}
        self.whole = notes.get("input", {}).get("name") != PIXELS
        """Whether the program begins at pictures; else at pixels that are normalised and padded."""
        self.by_maps = any(name.startswith(MAP) for name in notes.get("outputs", ()))
        """Whether the program gives the maps that the head reads, and the head is PyTorch's."""
        own = self.head.forward
        self.head.forward = lambda pyramid: _raw_of(pyramid) if isinstance(pyramid, AnsweredPyramid) else own(pyramid)  # type: ignore[method-assign]
        limited = self.head.max_detections is not None and not self.by_maps
        self._limits = ProgramLimits(self.head, run.path) if limited else None
        self._shown: set[tuple[int, int]] = set()
        self.eval()

    def pyramid(self, images: Tensor, sizes: Tensor | None = None) -> FeaturePyramid:
        """What the head reads; on the meta device and for analyses of the layers the model's own."""
        if images.is_meta or type(images) is not Tensor:
            return super().pyramid(images, sizes)
        if self._answers_whole:
            message = "answers for whole pictures, and this asks for what its layers make of a part or a mirror image"
            raise ConfigError(Problem(self.run.path, message, "leave --tile and --tta out, or take the checkpoint"))
        if self.whole:
            picture = self._unpadded(images)
            self._refuse_other_size((picture.shape[-2], picture.shape[-1]))
            found = self._ran(_bytes(picture))
            return AnsweredPyramid(
                (), self.spec, (images.shape[-2], images.shape[-1]), raw=torch.from_numpy(found[RAW])
            )
        pixels = self.entering(images, sizes)
        found = self._ran(np.ascontiguousarray(self.padded(pixels).float().numpy()))
        if self.by_maps:
            maps = tuple(torch.from_numpy(found[f"{MAP}{number}"]) for number in range(len(self.spec.strides)))
            return FeaturePyramid(maps, self.spec, (pixels.shape[-2], pixels.shape[-1]))
        return AnsweredPyramid((), self.spec, (images.shape[-2], images.shape[-1]), raw=torch.from_numpy(found[RAW]))

    def predict(self, pictures: Any) -> list[Prediction]:
        """See `VisionModel.predict`."""
        if not isinstance(pictures, Batch) or not self._answers_whole:
            return super().predict(pictures)
        table = self.class_table
        return [one.of_classes(table) for one in self._answers(pictures)]

    @property
    def _answers_whole(self) -> bool:
        """Whether the program's answers are taken as they are, and not made of the head's outputs that it gives."""
        if self.by_maps:
            return False
        return not isinstance(self.head, DenseHead) or (self.whole and bool(self.border)) or self.passes > 1

    @property
    def passes(self) -> int:
        """Passes with dropout that the program's answer is the mean of; 1 draws none."""
        return int((self.run.notes or {}).get("samples", 1))

    def _answers(self, batch: Batch) -> list[Prediction]:
        """Answers of a program that goes from pictures to answers, scaled to the files' pixels."""
        if not self.whole:
            message = "this file begins at pixels and ends at logits (--raw), which only label maps and values of pixels can use"
            raise ConfigError(Problem(self.run.path, message, "export it without --raw"))
        found: list[Prediction] = []
        knows_files = bool((self.run.notes or {}).get("more_inputs"))
        for index in range(batch.count):
            height, width = batch.sizes[index].tolist()
            self._refuse_other_size((height, width))
            picture = _bytes(batch.images[index : index + 1, :, :height, :width])
            files = batch.original_sizes[index : index + 1].numpy()
            arrays = self._ran(picture, files)
            one = self._made_of(arrays, (height, width), batch.original_sizes[index].tolist())
            big_height, big_width = batch.original_sizes[index].tolist()
            resized = (height, width) != (big_height, big_width)
            if isinstance(one, Detections) and resized and not knows_files:
                scale = torch.tensor([big_width / width, big_height / height] * 2)
                one = Detections(one.boxes * scale, one.scores, one.labels)
            found.append(self._limits.cut(one) if self._limits is not None and isinstance(one, Detections) else one)
        return found

    def _made_of(self, arrays: dict[str, np.ndarray], size: tuple[int, int], original: Sequence[int]) -> Prediction:
        """The prediction of a picture, by the head where it is one of pixels, so that it holds what is asked for.

        Args:
            arrays: what the program gave, first axis 1.
            size: (height, width) of the picture as it entered the program, in pixels.
            original: (height, width) of its file, in pixels.
        """
        if not isinstance(self.head, DenseHead):
            return prediction_of(arrays, self.head.gives)
        if self.passes > 1 and self.head.with_entropy:
            message = "keeps the mean of its samples, not their entropy"
            raise ConfigError(Problem(self.run.path, message, "ask the checkpoint for entropy"))
        first, *more = (torch.from_numpy(arrays[name][0]) for name in (RAW, MEAN, VARIANCE) if name in arrays)
        part = Part.whole((first.shape[1], first.shape[2]), size, (original[0], original[1]))
        return self.head.predict_samples(first, more[0], part) if more else self.head.predict_part(first, part)

    def _ran(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """What the engine makes of pictures or pixels. Raises CheckpointError with its first line where it fails.

        Args:
            given: (N, H, W, C) uint8 pictures or (N, C, H, W) float32 pixels.
            files: (N, 2) sizes of the pictures' files, of programs that ask for them.
        """
        try:
            return self.run(given, files)
        except UserError:
            raise
        except Exception as error:  # engines raise classes of their own, and RuntimeError
            shape = "x".join(map(str, given.shape))
            message = f"{self.run.engine} cannot run it for {shape} {given.dtype}: {first_line(error)}"
            raise CheckpointError(Problem(self.run.path, message)) from error

    def _unpadded(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) without what was mirrored up to a legal size, where the file is for one size and does that itself."""
        fixed = self.fixed_size
        if fixed is None or fixed == tuple(images.shape[-2:]):
            return images
        cut, again = images[..., : fixed[0], : fixed[1]], images
        for axis, side in zip((-2, -1), fixed, strict=True):
            more = images.shape[axis] - side
            if more < 0:
                return images
            again = again.index_select(axis, mirror_positions(side, 0, more, images.device))
        return cut if torch.equal(again, images) else images

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """See `VisionModel`."""
        given = (self.run.notes or {}).get("input", {})
        height, width = given.get("height"), given.get("width")
        return None if height is None or width is None else (height, width)

    def _refuse_other_size(self, size: tuple[int, int]) -> None:
        """Raises ConfigError for a picture that the program would change before it looks at it, or that it cannot take.

        size: (height, width) of the picture in pixels, as data's own transforms left it.
        """
        if size in self._shown:
            return
        fixed = self.fixed_size
        if fixed is not None and fixed != size:
            message = f"is for pictures of {fixed[0]}x{fixed[1]} (height x width), and one is {size[0]}x{size[1]}"
            raise ConfigError(
                Problem(self.run.path, message, "export the checkpoint without --size, or with that size")
            )
        if self.transforms:
            inside = ExportGraph(self).resized(torch.zeros((1, *size, self.in_channels), dtype=torch.uint8)).shape[2:]
            if tuple(inside) != size:
                message = (
                    f"resizes all it is shown to {inside[0]}x{inside[1]}, so that tiles, and looks at other sizes, cannot be "
                    f"what they are to the checkpoint: one is {size[0]}x{size[1]}"
                )
                raise ConfigError(
                    Problem(self.run.path, message, "predict whole pictures at one size, or with the checkpoint")
                )
        self._shown.add(size)


def _raw_of(pyramid: AnsweredPyramid) -> Tensor:
    if pyramid.raw is None:
        raise ValueError("the pyramid holds no answer")
    return pyramid.raw


def _bytes(images: Tensor) -> np.ndarray:
    """(N, C, H, W) uint8 as (N, H, W, C). Raises DataError for floats, which programs of pictures do not take."""
    if images.dtype != torch.uint8:
        message = f"an exported program takes bytes, found {str(images.dtype).removeprefix('torch.')}"
        raise DataError(Problem("images", message, "give pictures of 0 to 255"))
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())

"""Heads that answer for every pixel, and parts of a picture that they answer for."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from toolkit.contracts.parts import HEADS, Head
from toolkit.contracts.pyramids import FeaturePyramid
from toolkit.errors import PartsError, Problem
from toolkit.samples import Batch, Prediction


class Part(NamedTuple):
    """A rectangle of a picture's pixels that is answered for, and the piece of a dense head's output it is read in.

    Args:
        cells: (h, w) of the whole output.
        size: (height, width) of the image that enters the net, in pixels.
        original_size: (height, width) of the image on disk, in pixels.
        start: (row, column) of the rectangle's first pixel on disk.
        stop: (row, column) behind its last.
        piece: (row, column) of the cell of the whole output with which the piece begins.
    """

    cells: tuple[int, int]
    size: tuple[int, int]
    original_size: tuple[int, int]
    start: tuple[int, int]
    stop: tuple[int, int]
    piece: tuple[int, int]

    @staticmethod
    def whole(cells: tuple[int, int], size: tuple[int, int], original_size: tuple[int, int]) -> Part:
        """All of a picture, read in its whole output.

        Args:
            cells: (h, w) of the output.
            size: (height, width) of the image that enters the net, in pixels.
            original_size: (height, width) of the image on disk, in pixels.
        """
        return Part(cells, size, original_size, (0, 0), original_size, (0, 0))


class DenseHead(Head):
    """A head that answers for every pixel: `forward` gives one tensor (N, K, h, w) at `stride`.

    Tiling and Monte-Carlo sampling work for every such head: they cut and average raw outputs, and leave to the head
    what they mean. Cell (i, j) of the output starts at pixel border + stride * (i, j) of the image; in a prediction,
    where the border was mirrored around the image, at stride * (i, j).
    """

    stride: int
    """Pixels of the image a cell of the output stands for."""
    grid: Literal["half_pixel", "corner", "ends"] = "half_pixel"
    """Where in the image the value of a cell stands (`ops/resize.py`)."""

    @abstractmethod
    def predict_part(self, raw: Tensor, part: Part) -> Prediction:
        """The prediction for a rectangle of the picture's own pixels, as maps of its size, on the CPU.

        How a picture is cut into rectangles must change nothing.

        Args:
            raw: (K, r, w), what `forward` gives for an image, or a piece of it.
            part: the rectangle, and where in the whole output the piece lies.
        """

    @abstractmethod
    def sampled(self, raw: Tensor) -> Tensor:
        """What the mean over Monte-Carlo samples is taken of, (N, K, h, w) float32: probabilities, or values."""

    @abstractmethod
    def predict_samples(self, mean: Tensor, variance: Tensor, part: Part) -> Prediction:
        """The prediction for a rectangle with its uncertainty, as `predict_part` gives one.

        Args:
            mean: (K, r, w) float32, of `sampled` over the samples, for an image or a piece of it.
            variance: (K, r, w) float32, of `sampled` over the samples.
            part: the rectangle, and where in the whole output the piece lies.
        """

    def exported_samples(
        self, mean: Tensor, variance: Tensor, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """What a program that samples answers, as `exported` does for one pass. Raises PartsError by default.

        Args:
            mean: (N, K, h, w) float32, of `sampled` over the samples.
            variance: (N, K, h, w) float32, of `sampled` over the samples.
            size: (height, width) of the pictures that entered the net, in pixels, without what was mirrored around them.
            original_size: (height, width) of the pictures as they were given; `size` itself where nothing resized them.
        """
        name = HEADS.name_of(type(self))
        message = f"'{name}' does not say what an export of samples answers"
        raise PartsError(Problem("head", message, "toolkit export --samples-mc 1"))

    @torch.no_grad()
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """`predict_part` of each image, in one piece."""
        raw = self(pyramid)
        sizes = zip(batch.sizes.tolist(), batch.original_sizes.tolist(), strict=True)
        return [
            self.predict_part(raw[i], Part.whole((raw.shape[2], raw.shape[3]), (h, w), (big_h, big_w)))
            for i, ((h, w), (big_h, big_w)) in enumerate(sizes)
        ]

    def shown_maps(self, pyramid: FeaturePyramid) -> dict[str, Tensor]:
        """The head's raw output (N, K, h, w), whose centre cell stands for what it sees of an image."""
        return {"output": self(pyramid)}

    def covered(self, maps: Tensor) -> Tensor:
        """The pixels of full-size maps (N, H, W) that the output stands for: without the border."""
        edge = self.border
        return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]

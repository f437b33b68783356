"""One picture read and written by window: neither it nor its answer is ever in memory as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.analysis.out_of_memory import memory_explained
from toolkit.data.images.picture import Picture
from toolkit.data.images.rasters import CACHE_BYTES, Raster, open_raster
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.freed_memory import give_back_freed_memory
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.inference.writers.geotiff import GeotiffWriter
from toolkit.inference.writers.polygons import GeojsonWriter
from toolkit.jobs.predictor import Predictor
from toolkit.models.modes import evaluating

_LOG = logging.getLogger(__name__)
_SHARE = 0.4
"""Of the memory that a picture may take: PyTorch and GDAL, their code in use among it, take 1.05 GB themselves, and all together
is to stay below 1.5."""


class StoppedError(Exception):
    """The job is asked to stop, and a picture is not done."""


class RasterPixels(NamedTuple):
    """A raster as tiles ask for it.

    Args:
        raster: the open file, of which windows are read.
        device: where the windows go: that of the model.
    """

    raster: Raster
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.raster.size

    @property
    def original_size(self) -> tuple[int, int]:
        """The same: answers are given in the raster's pixels."""
        return self.raster.size

    @property
    def held(self) -> int:
        """What GDAL keeps of the files that are read and written."""
        return CACHE_BYTES

    @property
    def answer_held(self) -> bool:
        """It is written as it is made."""
        return False

    def window(self, rows: slice, columns: slice) -> Tensor:
        """(1, C, h, w) uint8 of a rectangle."""
        pixels = torch.from_numpy(self.raster.window(rows, columns))
        return pixels.permute(2, 0, 1)[None].to(self.device).contiguous()


def tiles_of(predictor: Predictor) -> TiledPrediction:
    """What predicts a raster. Raises ConfigError for a model, or looks, that need whole pictures."""
    mirrorings, scales = predictor.looks
    whole = "add another format, such as mask, which reads pictures whole"
    if len(scales) > 1:
        message = "reads pictures by window, which several sizes of them (--tta scales) cannot"
        raise ConfigError(Problem("--format geotiff", message, f"take --tta flips, or {whole}"))
    if predictor.model.transforms:
        names = ", ".join(type(one).__name__ for one in predictor.model.transforms)
        message = f"reads pictures by window, and this model was evaluated on pictures changed as a whole ({names})"
        raise ConfigError(
            Problem("--format geotiff", message, f"{whole}; or data.val.transforms=[] for their own size")
        )
    return TiledPrediction(predictor.model, predictor.tile or "auto", mirrorings, int(_SHARE * predictor.memory))


def answer_by_window(
    predictor: Predictor,
    tiled: TiledPrediction,
    picture: Picture,
    writer: GeotiffWriter | GeojsonWriter,
    stem: str,
    stopping: Callable[[], bool],
) -> None:
    """Writes the GeoTIFF, or the polygons, of one picture.

    Args:
        predictor: the model with all that decides its answers.
        tiled: what predicts a raster (`tiles_of`).
        picture: a file; its first page.
        writer: of the folder of results.
        stem: output path below the folder without suffix.
        stopping: looked at after every tile; True raises `StoppedError`, and nothing is left of the file.

    Raises:
        DataError: a picture that cannot be read.
        UserError: a file that cannot be written, too little memory.
        StoppedError: see there.
    """
    if picture.path is None or picture.page not in (None, 0):
        raise DataError(Problem(picture.name, "only the first page of a file is read by window", "leave --pages out"))
    model = predictor.model
    kind = model.head.gives
    if kind is None:
        raise TypeError("a dense head says what it gives")
    with (
        open_raster(picture.path, model.in_channels, model.value_range) as raster,
        memory_explained("this picture", model, ["--memory with less"]),
        evaluating(model),
        torch.inference_mode(),
        writer.opened(stem, raster.size, raster.place, kind) as put,
    ):
        pixels = RasterPixels(raster, model.pixel_scale.device)
        tiled.plan(pixels)
        give_back_freed_memory()  # what measuring the model took
        for part, found in tiled.parts(pixels):
            (top, left), (bottom, right) = part.start, part.stop
            known = raster.known(slice(top, bottom), slice(left, right))
            put(top, left, predictor.kept(found), known)
            if stopping() and bottom * right < raster.size[0] * raster.size[1]:
                _LOG.warning("%s: stopped at row %d of %d; it is begun anew", picture.name, bottom, raster.size[0])
                raise StoppedError
        give_back_freed_memory()  # what tiles took: overviews and the final order of the file are still to be made

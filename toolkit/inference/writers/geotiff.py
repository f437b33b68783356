"""Answers as cloud-optimised GeoTIFF, in the place of the picture they are of, written by window."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.data.images.rasters import Georeference, gdal, open_raster
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.files import cannot_write, replacing, temporary_beside
from toolkit.inference.writers.base import Writer
from toolkit.labels import IGNORE_INDEX
from toolkit.printing import printable
from toolkit.samples import LabelMap, Prediction, ValueMap

_LOG = logging.getLogger(__name__)
_BLOCK = 512
_SMALLEST_OVERVIEW = 256
Put = Callable[[int, int, Prediction, np.ndarray], None]
"""Writes a rectangle: its first row and column, the answer, and where the picture is known (H, W) bool."""


class GeotiffWriter(Writer):
    """`<stem>.tif`: labels (8 bits, with a palette, 255 for no class) or values (float32, NaN for unknown), deflated, in
    blocks with overviews: a cloud-optimised GeoTIFF in the coordinates of the picture.

    Where the picture is unknown (`data/images/rasters.py`) the answer is 255, or NaN. Tags hold the names of the classes.
    With `values` the numbers of the training's files stand there in place of labels, in 16 bits where a byte does not hold them.
    """

    suffix: ClassVar[str] = ".tif"
    takes: ClassVar[tuple[type, ...]] = (LabelMap, ValueMap)
    numbers_classes: ClassVar[bool] = True
    sources: Mapping[str, Path]
    """The file of each stem, for where it lies; a picture that has none lies nowhere."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sources = {}

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file of one picture.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map or values in the picture's pixels.
        """
        size = (image.shape[0], image.shape[1])
        place, known = of_source(self.sources.get(stem), size)
        with self.opened(stem, size, place, type(prediction)) as put:
            put(0, 0, prediction, known)
        return [self.path_of(stem)]

    @contextmanager
    def opened(self, stem: str, size: tuple[int, int], place: Georeference | None, kind: type) -> Iterator[Put]:
        """The file of one picture, rectangle by rectangle; it appears whole at the end, or not at all.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            size: (height, width) of the picture in pixels.
            place: where the picture lies; None: nowhere.
            kind: of prediction, one of `takes`.
        """
        path = self.path_of(stem)
        with replacing(path, durable=False) as part, self.draft(path, size, place, kind) as (file, put):
            yield put
            file.build_overviews(_factors(size), importlib.import_module("rasterio.enums").Resampling.nearest)
            file.close()
            importlib.import_module("rasterio.shutil").copy(
                file.name, part, driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=_BLOCK, BIGTIFF="IF_SAFER",
                OVERVIEW_RESAMPLING="NEAREST",
            )  # fmt: skip

    @contextmanager
    def draft(
        self, aim: Path, size: tuple[int, int], place: Georeference | None, kind: type
    ) -> Iterator[tuple[Any, Put]]:
        """A plain GeoTIFF, open for writing, and what fills it; it is removed at the end.

        Args:
            aim: the file that is to be made of it, for messages; it lies beside that.
            size: (height, width) of the picture in pixels.
            place: where the picture lies; None: nowhere.
            kind: of prediction, one of `takes`.
        """
        labels, numbers = kind is LabelMap, self._numbers
        no_answer = int(numbers[IGNORE_INDEX]) if labels else float("nan")
        dtype = str(numbers.dtype) if labels else "float32"
        shape = {"height": size[0], "width": size[1], "count": 1, "dtype": dtype, "nodata": no_answer}
        blocks = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "BIGTIFF": "IF_SAFER"}
        path = temporary_beside(aim, 0)
        with gdal() as rasterio:
            try:
                aim.parent.mkdir(parents=True, exist_ok=True)
                with rasterio.open(
                    path, "w", driver="GTiff", compress="LZW", **shape, **blocks, **_where(place)
                ) as file:
                    self._describe(file, labels, place)
                    yield file, lambda top, left, found, known: _put(file, top, left, found, known, numbers)
            except rasterio.errors.RasterioError as error:
                cause = error.__context__
                if isinstance(cause, OSError):
                    raise cannot_write(aim, cause) from cause
                message = f"cannot be written ({error})"
                raise UserError(Problem(aim, message, "free space or choose another folder")) from error
            except OSError as error:
                raise cannot_write(aim, error) from error
            finally:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _describe(self, file: Any, labels: bool, place: Georeference | None) -> None:
        """Names and colours of the classes, and what a coordinate is of."""
        numbers = self._numbers.tolist()
        names = {f"class_{number}": printable(name) for number, name in zip(numbers, self.classes.names, strict=False)}
        file.update_tags(AREA_OR_POINT=place.area_or_point if place is not None else "Area", **names)
        file.set_band_description(1, "class" if labels else "value")
        if labels and self._numbers.dtype == np.uint8:
            shown = zip(numbers, self.colors[: len(names)], strict=False)
            colors = {number: (*map(int, color), 255) for number, color in shown}
            file.write_colormap(1, {**colors, numbers[IGNORE_INDEX]: (0, 0, 0, 0)})

    @property
    def _numbers(self) -> np.ndarray:
        """(256,) uint8 or uint16: what is written for each label."""
        if self.values is None:
            return np.arange(256, dtype=np.uint8)
        return self.values.astype(np.uint8 if self.values.max() <= 255 else np.uint16)


def _put(file: Any, top: int, left: int, found: Prediction, known: np.ndarray, numbers: np.ndarray) -> None:
    values = found.numpy()
    if isinstance(found, LabelMap):
        values = numbers[np.where(known, values, np.uint8(IGNORE_INDEX))]
    else:
        values = np.where(known, values, np.float32("nan"))
    height, width = values.shape
    file.write(values, 1, window=((top, top + height), (left, left + width)))


def of_source(path: Path | None, size: tuple[int, int]) -> tuple[Georeference | None, np.ndarray]:
    """Where a picture lies and which of its pixels (H, W) are known; nowhere and all, where its file is no raster of that size.

    path: its file; None for one without. size: (height, width) of the answer. Raises ConfigError without rasterio.
    """
    everything = np.ones(size, bool)
    if path is None:
        return None, everything
    try:
        with open_raster(path, None) as raster:
            if raster.size != size:
                return None, everything
            return raster.place, raster.known(slice(0, size[0]), slice(0, size[1]))
    except ConfigError:
        raise
    except UserError as error:
        _LOG.warning("where it lies, and what of it is known, cannot be told: %s", error)
        return None, everything


def _where(place: Georeference | None) -> dict[str, Any]:
    """What rasterio writes of a place."""
    if place is None:
        return {}
    points, crs = place.gcps
    if points:
        return {"gcps": points, "crs": crs}
    return {} if place.crs is None and place.transform.is_identity else {"crs": place.crs, "transform": place.transform}


def _factors(size: tuple[int, int]) -> list[int]:
    """By how much each overview is smaller, until one block holds it."""
    factors: list[int] = []
    while max(size) / 2 ** len(factors) > _SMALLEST_OVERVIEW * 2:
        factors.append(2 ** (len(factors) + 1))
    return factors

"""Rasters read by window, with their place on the map and their unknown pixels: GeoTIFF, and pictures as rasterio reads them.

A window holds what reading the whole file and cutting it would give: the bands that the model has (`bands.py`), gray and
colours turned into one another, palettes expanded, alpha dropped. A pixel is unknown where the file says so, by its nodata
value in all bands, its mask or an alpha of 0, or where a band is not finite. EXIF orientation is not applied: a place on the
map is told of the pixels as they are stored.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.bands import ValueRange, refuse_bands, refuse_unscaled, to_bytes, with_channels
from toolkit.errors import ConfigError, Problem, UserError

CACHE_BYTES = 64 << 20
"""Memory in which GDAL keeps blocks of the files that are open."""
_ROWS = 512
_DRIVERS = ["GTiff", "COG", "PNG", "JPEG", "BMP", "WEBP", "GIF", "JP2OpenJPEG"]
"""Formats that are read: none that names other files or addresses (VRT)."""
_RASTER_TAGS = {33550, 33922, 34264, 34735, 42113}
"""Pixel scale, tie points, transformation and key directory of GeoTIFF 1.1 (OGC 19-008, table 1), and GDAL's nodata value."""


class Georeference(NamedTuple):
    """Where the pixels of a raster lie.

    Args:
        crs: coordinate system, of rasterio; None for a picture without one.
        transform: from (column, row) to map coordinates, of rasterio; the identity where there is none.
        gcps: ground control points, of rasterio, in the coordinate system beside them; where they stand for a transform.
        area_or_point: whether a coordinate is of a pixel's corner ("Area") or its middle ("Point").
    """

    crs: Any
    transform: Any
    gcps: tuple[list[Any], Any]
    area_or_point: str

    @property
    def lies_on_a_map(self) -> bool:
        """Whether coordinates of a map are known by a transform."""
        return self.crs is not None and not self.transform.is_identity


def rasterio_or_refuse() -> Any:
    """The package. Raises ConfigError, with the line to type, where it is not installed."""
    try:
        return importlib.import_module("rasterio")
    except ImportError:
        message = "rasters are read and written by rasterio, which is not installed"
        raise ConfigError(Problem("--format geotiff", message, "pip install 'toolkit-dense[geo]'")) from None


@contextmanager
def gdal() -> Iterator[Any]:
    """rasterio inside an environment whose memory is bounded; a picture without a place on the map is no reason to warn."""
    rasterio = rasterio_or_refuse()
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES >> 20, GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield rasterio


class Raster:
    """An open raster.

    Args:
        dataset: of rasterio, open for reading.
        path: of its file, for messages.
        channels: number of bands of a window; None where no pixels are asked for.
        value_range: the stored numbers that become 0 and 255; None: the file is of 8 bits.

    Raises:
        DataError: another number of bands.
    """

    def __init__(self, dataset: Any, path: Path, channels: int | None, value_range: ValueRange | None) -> None:
        self._dataset, self._path = dataset, path
        self._channels, self._range = channels or dataset.count, value_range
        colors = [color.name for color in dataset.colorinterp]
        self._palette = _palette(dataset) if colors == ["palette"] else None
        plain = [index for index, color in zip(dataset.indexes, colors, strict=True) if color != "alpha"]
        self._bands = list(dataset.indexes) if dataset.count == channels else plain
        found = 3 if self._palette is not None else len(self._bands)
        if channels is not None and {found, channels} != {1, 3}:
            refuse_bands(found, channels, path)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self._dataset.height, self._dataset.width)

    @property
    def place(self) -> Georeference:
        """Where its pixels lie."""
        dataset = self._dataset
        return Georeference(dataset.crs, dataset.transform, dataset.gcps, dataset.tags().get("AREA_OR_POINT", "Area"))

    def window(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, channels) uint8 of a rectangle. Raises DataError for one that cannot be read, or is of more than 8 bits."""
        pixels = np.empty((rows.stop - rows.start, columns.stop - columns.start, self._channels), np.uint8)
        for band in _bands(rows):
            pixels[band.start - rows.start : band.stop - rows.start] = self._pixels(band, columns)
        return pixels

    def _pixels(self, rows: slice, columns: slice) -> np.ndarray:
        stored = self._stored(rows, columns)
        if self._palette is not None:
            pixels = self._palette[stored[:, :, 0]]
        elif self._range is None:
            refuse_unscaled(stored, self._path)
            pixels = stored.astype(np.uint8, copy=False)
        else:
            finite = stored if stored.dtype.kind != "f" else np.where(np.isfinite(stored), stored, np.min(self._range))
            pixels = to_bytes(finite, self._range, self._path)
        return with_channels(np.ascontiguousarray(pixels), self._channels)

    def known(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w) bool, False where a rectangle is unknown (top of the file)."""
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        with self._reading():
            known: np.ndarray = self._dataset.dataset_mask(window=window) > 0
        for band in _bands(rows) if self._dataset.dtypes[0].startswith("float") else ():
            known[band.start - rows.start : band.stop - rows.start] &= np.isfinite(self._stored(band, columns)).all(2)
        return known

    def _stored(self, rows: slice, columns: slice) -> np.ndarray:
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        with self._reading():
            return np.moveaxis(self._dataset.read(self._bands, window=window), 0, 2)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except importlib.import_module("rasterio").errors.RasterioError as error:
            raise FileError("damaged", Problem(self._path, f"cannot be decoded ({error})", "fetch it again")) from None


@contextmanager
def open_raster(path: Path, channels: int | None, value_range: ValueRange | None = None) -> Iterator[Raster]:
    """An open raster.

    Args:
        path: its file, in one of the formats that are read by window.
        channels: number of bands of a window: those of the file, or 3 of a gray file and 1 of a colour file; None where
            no pixels are asked for.
        value_range: the stored numbers that become 0 and 255; None: the file is of 8 bits.

    Raises:
        ConfigError: rasterio is not installed.
        DataError: a file that cannot be read, or has another number of bands.
    """
    with gdal() as rasterio:
        try:
            with path.open("rb") as file:
                text = file.read(64).lstrip().startswith(b"<")
            dataset = None if text else rasterio.open(path)
        except (OSError, rasterio.errors.RasterioError) as error:
            message = f"cannot be read as a raster ({error})"
            raise FileError("unreadable", Problem(path, message, "fetch it again, or leave it out")) from None
        if dataset is None or dataset.driver not in _DRIVERS:
            kind = "XML" if dataset is None else dataset.driver
            message = f"is no picture but {kind}, which may name other files or addresses"
            raise FileError("unreadable", Problem(path, message, "write it as a GeoTIFF (rio convert)"))
        with dataset:
            yield Raster(dataset, path, channels, value_range)


def _bands(rows: slice) -> Iterator[slice]:
    """Rows in pieces that end where blocks of files usually do, so that little is held on the way to bytes."""
    top = rows.start
    while top < rows.stop:
        bottom = min((top // _ROWS + 1) * _ROWS, rows.stop)
        yield slice(top, bottom)
        top = bottom


def georeference_of(path: Path, size: tuple[int, int]) -> Georeference | None:
    """Where a picture of (height, width) lies; None where rasterio is not installed, cannot read it, or it is of another size."""
    try:
        with open_raster(path, None) as raster:
            return raster.place if raster.size == size else None
    except UserError:
        return None


def has_raster_tags(path: Path) -> bool:
    """Whether a TIFF file says where it lies, or which number stands for unknown pixels; read without rasterio.

    False for a file that is no TIFF or cannot be opened.
    """
    try:
        with Image.open(path) as image:
            return any(tag in _RASTER_TAGS for tag in getattr(image, "tag_v2", ()))
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def _palette(dataset: Any) -> np.ndarray:
    """(256, 3) uint8 colours of a file of indices."""
    colors = np.zeros((256, 3), np.uint8)
    for index, color in dataset.colormap(1).items():
        if index < 256:
            colors[index] = color[:3]
    return colors

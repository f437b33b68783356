"""Regions of label maps, and boxes, as GeoJSON polygons."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from toolkit.data.images.rasters import Georeference, gdal, georeference_of, has_raster_tags
from toolkit.data.writers.pixel_outlines import begun, label_regions
from toolkit.inference.writers.base import Writer, write_lines
from toolkit.inference.writers.geotiff import GeotiffWriter, Put, of_source
from toolkit.labels import IGNORE_INDEX, ClassTable
from toolkit.printing import printable
from toolkit.samples import Detections, LabelMap, Prediction

_LOG = logging.getLogger(__name__)
IN_PIXELS = "pixels of the picture: x to the right, y down, pixel (row r, column c) covers x c..c+1 and y r..r+1"
"""What coordinates mean where a picture has no place on a map; `crs` is then null, which readers take for no map."""


ON_A_MAP = "of the map that crs names; `area` is in pixels of the picture"
"""What coordinates mean where a GeoTIFF has a transform."""


class GeojsonWriter(Writer):
    """`<stem>.geojson`: a polygon with its class for each region of a label map, or with class and score for each box.

    Regions are pixels of one class that touch at their sides, along the edges of the pixels, with their holes; of every
    class, the background too. Filled again they are the label map; what no polygon covers belongs to no class, as pixels do
    that a GeoTIFF calls unknown (`data/images/rasters.py`).
    """

    suffix: ClassVar[str] = ".geojson"
    numbers_classes: ClassVar[bool] = True
    sources: Mapping[str, Path] = MappingProxyType({})
    """The file of each stem, for where it lies."""
    takes: ClassVar[tuple[type, ...]] = (LabelMap, Detections)
    _told = False

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file of one picture, a feature a line.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        size = (image.shape[0], image.shape[1])
        if isinstance(prediction, LabelMap):
            labels = np.where(self._known(stem, size), prediction.labels.numpy(), np.uint8(IGNORE_INDEX))
            features = region_features(labels, self.classes, self.values)
        elif isinstance(prediction, Detections):
            features = box_features(prediction, self.classes)
        else:
            raise TypeError(f"polygons are written of label maps and boxes, not of {type(prediction).__name__}")
        return [self._written(stem, size, features)]

    @contextmanager
    def opened(self, stem: str, size: tuple[int, int], place: Georeference | None, kind: type) -> Iterator[Put]:
        """The file of one picture whose labels come rectangle by rectangle, with the memory of its polygons.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            size: (height, width) of the picture in pixels.
            place: where the picture lies; None: nowhere.
            kind: of prediction, which is `LabelMap` here.
        """
        labels = GeotiffWriter(self.folder, self.classes.names)
        labels.values = self.values
        with labels.draft(self.path_of(stem), size, place, kind) as (file, put):
            yield put
            file.close()
            self.add_of_file(stem, Path(file.name))

    def add_of_file(self, stem: str, file: Path) -> list[Path]:
        """Writes the file of one picture whose answer is a GeoTIFF of labels: the same file, with the memory of its polygons.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            file: the answer, as the format geotiff writes it with the same `values`.
        """
        with gdal() as rasterio, rasterio.open(file) as answer:
            return [self._written(stem, answer.shape, raster_features(answer, self.classes, self.values))]

    def _written(self, stem: str, size: tuple[int, int], features: Iterable[dict[str, Any]]) -> Path:
        """The file of features in pixels of a picture of (height, width)."""
        place = self._place(stem, size)
        crs, told = (None, IN_PIXELS) if place is None else (_named(place), ON_A_MAP)
        features = features if place is None else (_placed(feature, place.transform) for feature in features)
        members = {"name": printable(stem), "crs": crs, "coordinates": told, "height": size[0], "width": size[1]}
        return write_lines(self.path_of(stem), feature_collection(features, members))

    def _place(self, stem: str, size: tuple[int, int]) -> Georeference | None:
        """Where a GeoTIFF lies on a map; None for all other pictures."""
        path = self.sources.get(stem)
        if path is None or not may_lie_on_a_map(path):
            return None
        if find_spec("rasterio") is None:
            self._say_what_is_not_read(path)
            return None
        place = georeference_of(path, size)
        return place if place is not None and place.lies_on_a_map else None

    def _known(self, stem: str, size: tuple[int, int]) -> np.ndarray | bool:
        """Which pixels of a GeoTIFF are known; of all other pictures all."""
        path = self.sources.get(stem)
        if path is None or not may_lie_on_a_map(path):
            return True
        if find_spec("rasterio") is None:
            return True  # `_place` says so
        return of_source(path, size)[1]

    def _say_what_is_not_read(self, path: Path) -> None:
        """Says once that a TIFF file tells its place, or its unknown pixels, to nobody without rasterio."""
        if not self._told and has_raster_tags(path):
            self._told = True
            _LOG.warning(
                "%s says where it lies, or which of its pixels are unknown, and rasterio, which reads that, is not "
                "installed: polygons are in pixels, and of unknown ones too, here and in all such files "
                "(pip install 'toolkit-dense[geo]')", path,
            )  # fmt: skip


def may_lie_on_a_map(path: Path) -> bool:
    """Whether a file has the suffix of those that say where they lie, and which of their pixels are known."""
    return path.suffix.lower() in (".tif", ".tiff")


def _named(place: Georeference) -> dict[str, Any]:
    """A coordinate system as readers of GeoJSON know it (the 2008 specification)."""
    code = place.crs.to_epsg()
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}" if code else place.crs.to_wkt()}}


def _placed(feature: dict[str, Any], transform: Any) -> dict[str, Any]:
    """A feature in coordinates of the map. transform: from (column, row)."""
    rings = [[_moved(point, transform) for point in ring] for ring in feature["geometry"]["coordinates"]]
    return {**feature, "geometry": {"type": "Polygon", "coordinates": rings}}


def _moved(point: Sequence[float], transform: Sequence[float]) -> list[float]:
    a, b, c, d, e, f = transform[:6]
    x, y = point
    return [a * x + b * y + c, d * x + e * y + f]


def region_features(
    labels: np.ndarray, classes: ClassTable, values: np.ndarray | None = None
) -> Iterator[dict[str, Any]]:
    """A polygon for each region: class, label, and area in pixels.

    Args:
        labels: (H, W) uint8, the class of each pixel.
        classes: names and colours of the labels.
        values: (256,) number that stands for each label; None: the label itself.
    """
    for region in label_regions(labels, left=(IGNORE_INDEX,)):
        rings = [_closed(points.astype(int).tolist()) for points in (region.ring, *region.holes)]
        yield _region(rings, region.label, classes, values)


def raster_features(answer: Any, classes: ClassTable, values: np.ndarray | None = None) -> Iterator[dict[str, Any]]:
    """`region_features` of a file of labels, in the same order; GDAL finds the regions, reading a row at a time.

    Args:
        answer: of rasterio, open for reading; `values` of labels.
        classes: names and colours of the labels.
        values: (256,) number that stands for each label; None: the label itself.
    """
    features = importlib.import_module("rasterio.features")
    numbers = range(256) if values is None else values.tolist()
    label_of = {number: label for label, number in enumerate(numbers) if label < len(classes.names)}
    found = []
    to_pixels = (~answer.transform)[:6]  # GDAL gives coordinates of the map
    for shape, number in features.shapes(importlib.import_module("rasterio").band(answer, 1)):
        label = label_of.get(int(number))
        if label is None:
            continue
        coordinates = ([_moved(point, to_pixels) for point in ring] for ring in shape["coordinates"])
        rings = [_begun(ring, hole=place > 0) for place, ring in enumerate(coordinates)]
        outer, holes = rings[0], sorted(rings[1:], key=_first_corner)
        found.append((label, _first_corner(outer), json.dumps([outer, *holes])))
    for label, _, text in sorted(found):
        yield _region(json.loads(text), label, classes, values)


def box_features(found: Detections, classes: ClassTable) -> Iterator[dict[str, Any]]:
    """A polygon for each box: class, label and score, in the order of the boxes."""
    boxes, scores, labels = found.numpy()
    rows = zip(boxes.astype(np.float64).tolist(), scores.tolist(), labels.tolist(), strict=True)
    for (x1, y1, x2, y2), score, label in rows:
        ring = _closed([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        yield _feature([ring], {"class": classes.name_of(label), "label": label, "score": score})


def feature_collection(features: Iterable[dict[str, Any]], members: dict[str, Any]) -> Iterator[str]:
    r"""The text of a file in pieces, a feature a line. members: what stands beside the features.

    >>> "".join(feature_collection([], {"name": "a"}))
    '{"type": "FeatureCollection", "name": "a", "features": []}\n'
    """
    yield json.dumps({"type": "FeatureCollection", **members})[:-1] + ', "features": ['
    before = after = ""
    for feature in features:
        yield (before or "\n") + json.dumps(feature)
        before, after = ",\n", "\n"
    yield after + "]}\n"


_Ring = list[list[Any]]


def _region(rings: list[_Ring], label: int, classes: ClassTable, values: np.ndarray | None) -> dict[str, Any]:
    number = label if values is None else int(values[label])
    return _feature(rings, {"class": classes.name_of(label), "label": number, "area": sum(map(_area, rings))})


def _begun(ring: Any, *, hole: bool) -> _Ring:
    """A closed ring of GDAL's in the direction and from the corner that `label_regions` has: its first edge to the right."""
    points = [[round(x), round(y)] for x, y in ring[:-1]]
    if (_area(_closed(points)) < 0) != hole:
        points.reverse()
    return _closed(begun(np.array(points)).tolist())


def _first_corner(ring: _Ring) -> tuple[int, int]:
    return ring[0][1], ring[0][0]


def _closed(points: _Ring) -> _Ring:
    return [*points, points[0]]


def _area(ring: _Ring) -> int:
    """Pixels inside, negative for a hole."""
    twice: int = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring))
    return twice // 2


def _feature(rings: list[_Ring], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": rings}}

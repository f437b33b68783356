"""Regions of label maps, and boxes, as GeoJSON polygons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from toolkit.data.images.rasters import Georeference, georeference_of
from toolkit.data.writers.pixel_outlines import label_regions
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.labels import IGNORE_INDEX, ClassTable
from toolkit.printing import printable
from toolkit.samples import Detections, LabelMap, Prediction

IN_PIXELS = "pixels of the picture: x to the right, y down, pixel (row r, column c) covers x c..c+1 and y r..r+1"
"""What coordinates mean where a picture has no place on a map; `crs` is then null, which readers take for no map."""


ON_A_MAP = "of the map that crs names; `area` is in pixels of the picture"
"""What coordinates mean where a GeoTIFF has a transform."""


class GeojsonWriter(Writer):
    """`<stem>.geojson`: a polygon with its class for each region of a label map, or with class and score for each box.

    Regions are pixels of one class that touch at their sides, along the edges of the pixels, with their holes; of every
    class, the background too. Filled again they are the label map; what no polygon covers belongs to no class.
    """

    suffix: ClassVar[str] = ".geojson"
    sources: Mapping[str, Path] = MappingProxyType({})
    """The file of each stem, for where it lies."""
    takes: ClassVar[tuple[type, ...]] = (LabelMap, Detections)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file of one picture, a feature a line.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        if isinstance(prediction, LabelMap):
            features = region_features(prediction.labels.numpy(), self.classes)
        elif isinstance(prediction, Detections):
            features = box_features(prediction, self.classes)
        else:
            raise TypeError(f"polygons are written of label maps and boxes, not of {type(prediction).__name__}")
        place = self._place(stem, (image.shape[0], image.shape[1]))
        crs, told = (None, IN_PIXELS) if place is None else (_named(place), ON_A_MAP)
        features = features if place is None else (_placed(feature, place.transform) for feature in features)
        members = {
            "name": printable(stem), "crs": crs, "coordinates": told, "height": image.shape[0], "width": image.shape[1],
        }  # fmt: skip
        return [write_whole(self.path_of(stem), feature_collection(features, members).encode())]

    def _place(self, stem: str, size: tuple[int, int]) -> Georeference | None:
        """Where a GeoTIFF lies on a map; None for all other pictures."""
        path = self.sources.get(stem)
        place = georeference_of(path, size) if path is not None and path.suffix.lower() in (".tif", ".tiff") else None
        return place if place is not None and place.lies_on_a_map else None


def _named(place: Georeference) -> dict[str, Any]:
    """A coordinate system as readers of GeoJSON know it (the 2008 specification)."""
    code = place.crs.to_epsg()
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}" if code else place.crs.to_wkt()}}


def _placed(feature: dict[str, Any], transform: Any) -> dict[str, Any]:
    """A feature in coordinates of the map. transform: from (column, row)."""
    a, b, c, d, e, f = transform[:6]
    rings = [[[a * x + b * y + c, d * x + e * y + f] for x, y in ring] for ring in feature["geometry"]["coordinates"]]
    return {**feature, "geometry": {"type": "Polygon", "coordinates": rings}}


def region_features(labels: np.ndarray, classes: ClassTable) -> Iterator[dict[str, Any]]:
    """A polygon for each region: class, label, and area in pixels. labels: (H, W) uint8."""
    for region in label_regions(labels, left=(IGNORE_INDEX,)):
        rings = [_closed(points.astype(int).tolist()) for points in (region.ring, *region.holes)]
        area = sum(_area(ring) for ring in rings)
        yield _feature(rings, {"class": classes.name_of(region.label), "label": region.label, "area": area})


def box_features(found: Detections, classes: ClassTable) -> Iterator[dict[str, Any]]:
    """A polygon for each box: class, label and score, in the order of the boxes."""
    boxes, scores, labels = found.numpy()
    rows = zip(boxes.astype(np.float64).tolist(), scores.tolist(), labels.tolist(), strict=True)
    for (x1, y1, x2, y2), score, label in rows:
        ring = _closed([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        yield _feature([ring], {"class": classes.name_of(label), "label": label, "score": score})


def feature_collection(features: Iterable[dict[str, Any]], members: dict[str, Any]) -> str:
    r"""The text of a file, a feature a line. members: what stands beside the features.

    >>> feature_collection([], {"name": "a"})
    '{"type": "FeatureCollection", "name": "a", "features": []}\n'
    """
    lines = ",\n".join(json.dumps(feature) for feature in features)
    opened = json.dumps({"type": "FeatureCollection", **members})[:-1]
    return f'{opened}, "features": [' + (f"\n{lines}\n" if lines else "") + "]}\n"


_Ring = list[list[Any]]


def _closed(points: _Ring) -> _Ring:
    return [*points, points[0]]


def _area(ring: _Ring) -> int:
    """Pixels inside, negative for a hole."""
    twice: int = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring))
    return twice // 2


def _feature(rings: list[_Ring], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": rings}}

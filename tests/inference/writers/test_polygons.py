"""Polygons of a prediction fill the same pixels again, as GDAL fills them; boxes keep their score."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, TiffImagePlugin

from toolkit.inference.writers import polygons
from toolkit.inference.writers.outputs import Outputs
from toolkit.inference.writers.polygons import raster_features, region_features
from toolkit.labels import ClassTable
from toolkit.samples import IGNORE_INDEX, Detections, LabelMap


def written(folder: Path, prediction: Any, size: tuple[int, int], classes: tuple[str, ...]) -> dict[str, Any]:
    image = np.zeros((*size, 3), np.uint8)
    (path,) = Outputs(folder, ["geojson"], classes).add("day/a", image, prediction).files
    assert path == folder / "day/a.geojson"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def label_maps() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 3, rng.integers(1, 20, 2)).astype(np.uint8) for _ in range(30)]
    nested = np.zeros((40, 50), np.uint8)
    for label, edge in enumerate((2, 5, 9, 14), 1):
        nested[edge:-edge, edge:-edge] = label % 3
    small[0][:1] = IGNORE_INDEX
    return [*small, nested]


def test_gdal_fills_them_to_the_label_map_again(tmp_path: Path) -> None:
    features = pytest.importorskip("rasterio.features", reason="rasterio is not installed")
    for labels in label_maps():
        found = written(tmp_path, LabelMap(torch.from_numpy(labels)), labels.shape, ("a", "b", "c"))
        shapes = [(one["geometry"], one["properties"]["label"]) for one in found["features"]]
        filled = features.rasterize(shapes, labels.shape, fill=IGNORE_INDEX, dtype=np.uint8)
        np.testing.assert_array_equal(filled, labels)


def test_they_are_the_polygons_that_gdal_finds(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    classes = ClassTable(("a", "b", "c"), ())
    for labels in label_maps():
        height, width = labels.shape
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8"
        ) as file:
            file.write(labels, 1)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert list(raster_features(file, classes)) == list(region_features(labels, classes))


def test_a_place_that_only_rasterio_reads_is_said_once_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "7"  # GDAL's number of unknown pixels
    Image.new("L", (6, 4)).save(tmp_path / "plain.tif")
    for name in ("a", "b"):
        Image.new("L", (6, 4)).save(tmp_path / f"{name}.tif", tiffinfo=tags)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr(polygons, "find_spec", lambda name: None)
    writer = polygons.GeojsonWriter(tmp_path / "out", ("x",))
    writer.sources = {name: tmp_path / f"{name}.tif" for name in ("plain", "a", "b")}
    said = []
    for stem in writer.sources:
        writer.add(stem, np.zeros((4, 6, 3), np.uint8), LabelMap(torch.zeros((4, 6), dtype=torch.uint8)))
        said.append(len(caplog.records))
    assert said == [0, 1, 1]
    assert str(tmp_path / "a.tif") in caplog.text
    assert "toolkit-dense[geo]" in caplog.text


def test_each_is_a_region_with_its_area_its_rings_turn_as_geojson_wants(tmp_path: Path) -> None:
    for labels in label_maps():
        found = written(tmp_path, LabelMap(torch.from_numpy(labels)), labels.shape, ("a", "b", "c"))
        areas = np.zeros(3, int)
        for one in found["features"]:
            rings = [np.array(ring) for ring in one["geometry"]["coordinates"]]
            signed = [float(np.sum(p[:-1, 0] * p[1:, 1] - p[1:, 0] * p[:-1, 1])) / 2 for p in rings]
            assert signed[0] > 0  # counterclockwise in the plane of x and y (RFC 7946, 3.1.6)
            assert all(area < 0 for area in signed[1:])
            assert all((ring[0] == ring[-1]).all() for ring in rings)
            assert one["properties"]["area"] == sum(signed)
            areas[one["properties"]["label"]] += one["properties"]["area"]
        assert areas.tolist() == [int((labels == label).sum()) for label in range(3)]


def test_what_coordinates_mean_is_said(tmp_path: Path) -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[1, 2:4] = 1
    found = written(tmp_path, LabelMap(torch.from_numpy(labels)), (4, 6), ("sky", "road"))
    assert found["coordinates"].startswith("pixels of the picture")
    assert (found["crs"], found["height"], found["width"], found["name"]) == (None, 4, 6, "day/a")
    road = found["features"][1]
    assert road["properties"] == {"class": "road", "label": 1, "area": 2}
    assert road["geometry"]["coordinates"] == [[[2, 1], [4, 1], [4, 2], [2, 2], [2, 1]]]
    drawn = Image.new("L", (6, 4))
    ImageDraw.Draw(drawn).rectangle([2, 1, 3, 1], fill=1)
    assert np.array_equal(np.asarray(drawn), labels)


def test_boxes_have_their_score(tmp_path: Path) -> None:
    boxes = torch.tensor([[1.25, 2.0, 5.5, 7.0], [0.0, 0.0, 3.0, 3.0]])
    found = written(tmp_path, Detections(boxes, torch.tensor([0.5, 0.25]), torch.tensor([1, 0])), (9, 9), ("a", "b"))
    assert [one["properties"] for one in found["features"]] == [
        {"class": "b", "label": 1, "score": 0.5},
        {"class": "a", "label": 0, "score": 0.25},
    ]
    assert found["features"][0]["geometry"]["coordinates"] == [[[1.25, 2], [5.5, 2], [5.5, 7], [1.25, 7], [1.25, 2]]]
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert written(tmp_path, none, (9, 9), ("a", "b"))["features"] == []

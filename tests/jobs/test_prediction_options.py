"""Options of predict that choose, limit and number what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prediction_jobs import dense_model, detector, picture_folder, restored, tree

from toolkit.config.load import parse_config
from toolkit.errors import ConfigError, DataError
from toolkit.inference.shares import Share
from toolkit.jobs.merge import merge_shares
from toolkit.jobs.original_ids import image_ids_of, original_ids
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.predictor import Predictor
from toolkit.jobs.restore import Restored

CONFIG = """
model: {{backbone: {{name: resnet, depth: 18}}, neck: {{name: skip}}, head: {{name: pixel}}}}
data:
  classes: {classes}
  batch_size: 1
  train: {{dataset: {{name: image_masks, root: none, images: none, masks: none{values}}}}}
train: {{steps: 1, optimizer: {{name: sgd, lr: 0.1}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("in"), 3, damaged=False)


def trained_on(values: str, classes: str = "[a, b, c]") -> Restored:
    config = parse_config(CONFIG.format(values=values, classes=classes), "c.yaml")
    return Restored(dense_model(), config, Path("model"), {})


def test_masks_have_the_values_of_the_files_again(folder: Path, tmp_path: Path) -> None:
    model = trained_on(", label_values: {7: 0, 8: 1, 300: 2, 0: ignore}")
    run_prediction(model, [folder], tmp_path / "own", ["mask"], original_ids=True)
    run_prediction(model, [folder], tmp_path / "labels", ["mask"])
    table = {int(row["label"]): int(row["value"]) for row in csv.DictReader((tmp_path / "own/classes.csv").open())}
    assert table == {0: 7, 1: 8, 2: 300}
    for path in (tmp_path / "labels").rglob("p*.png"):
        labels = np.asarray(Image.open(path))
        stored = np.asarray(Image.open(tmp_path / "own" / path.relative_to(tmp_path / "labels")))
        assert np.array_equal(stored, np.vectorize(table.get)(labels))


@pytest.mark.parametrize("table", ["{7: 0, 8: 1, 300: 2}", "{7: 0, 255: 1, 9: 2}"], ids=["16 bits", "255 a class"])
def test_maps_and_polygons_have_them_too(table: str, folder: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    model = trained_on(f", label_values: {table}")
    formats = ["mask", "geotiff", "geojson"]
    asked: dict[str, Any] = {"original_ids": True, "classes": ["a", "b"]}
    found = run_prediction(model, [folder], tmp_path / "out", formats, **asked)
    run_prediction(model, [folder], tmp_path / "window", formats[1:], **asked)
    no_class = found["no_class"]
    assert no_class == (255 if "300" in table else 254)
    numbers = {int(row["value"]): row["name"] for row in csv.DictReader((tmp_path / "out/classes.csv").open())}
    for path in (tmp_path / "out").rglob("p*.tif"):
        mask = np.asarray(Image.open(path.with_suffix(".png"))).astype(int)
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), mask)
            assert file.nodata == no_class
            assert {f"class_{number}": name for number, name in numbers.items()}.items() <= file.tags().items()
        features = json.loads(path.with_suffix(".geojson").read_text())["features"]
        told = {one["properties"]["label"]: one["properties"]["class"] for one in features}
        assert told == {number: numbers[number] for number in set(mask.ravel().tolist()) - {no_class}}
        for name in (path, path.with_suffix(".geojson")):
            assert name.read_bytes() == (tmp_path / "window" / name.relative_to(tmp_path / "out")).read_bytes()
    with pytest.raises(
        ConfigError, match="--original-ids: is of the formats mask, geotiff, geojson, and what is written is"
    ):
        run_prediction(model, [folder], tmp_path / "x", ["overlay"], original_ids=True)


def test_shares_keep_the_values_of_the_files(folder: Path, tmp_path: Path) -> None:
    model = trained_on(", label_values: {7: 0, 8: 1, 300: 2, 0: ignore}")
    run_prediction(model, [folder], tmp_path / "one", ["mask"], original_ids=True)
    for number in (1, 2):
        run_prediction(model, [folder], tmp_path / "shared", ["mask"], original_ids=True, share=Share(number, 2))
    merge_shares(tmp_path / "shared")
    assert tree(tmp_path / "shared") == tree(tmp_path / "one")


@pytest.mark.parametrize(
    ("values", "classes", "said"),
    [
        (", label_values: {7: 0, 8: 1, 9: 1, 10: 2}", "[a, b, c]", r"label 1 \(b\) is 2 values of the files \(8, 9\)"),
        ("", "[a, b, c]", "has no label_values"),
        (", label_values: {7: 0, 8: 1, 9: 2}", "{a: [a], b: [b], c: [c]}", "chose and merged classes"),
    ],
)
def test_values_that_cannot_be_told_are_refused(values: str, classes: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        original_ids(trained_on(values, classes))


def test_ids_of_an_annotation_file(folder: Path, tmp_path: Path) -> None:
    names = ["day/p000.png", "day/p002.png", "night/p001.png"]
    rows: list[dict[str, Any]] = [{"id": 0, "file_name": names[0]}, {"id": 71, "file_name": "p002.png"}]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": [*rows, {"id": 5, "file_name": "x/p001.png"}]}))
    run_prediction(restored(detector()), [folder], tmp_path / "out", ["coco"], annotations=file)
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    assert {entry["file"]: entry["image_id"] for entry in entries} == {
        "day/p000": 0, "day/p002": 71, "night/p001": 5,
    }  # fmt: skip
    file.write_text(json.dumps({"images": rows}))
    with pytest.raises(DataError, match=r"names no image for 1 pictures: night/p001\.png"):
        image_ids_of(file, names)
    file.write_text(
        json.dumps({"images": [{"id": 1, "file_name": "train/0.png"}, {"id": 2, "file_name": "val/0.png"}]})
    )
    assert image_ids_of(file, ["0.png"], [tmp_path / "val/0.png"]) == {"0.png": 2}
    with pytest.raises(DataError, match=r"names more than one image for 1 pictures: 0\.png"):
        image_ids_of(file, ["0.png"], [tmp_path / "test/0.png"])
    file.write_text("[]")
    with pytest.raises(DataError, match="is no file of COCO"):
        image_ids_of(file, names)
    with pytest.raises(ConfigError, match="--annotations: is of the format 'coco'"):
        run_prediction(restored(detector()), [folder], tmp_path / "x", ["csv"], annotations=file)


def test_a_summary_has_the_mean_score_of_label_maps_too(folder: Path, tmp_path: Path) -> None:
    run_prediction(restored(dense_model()), [folder], tmp_path / "out", ["summary"])
    scores = [float(row["mean score"]) for row in csv.DictReader((tmp_path / "out/summary.csv").open())]
    assert len(scores) == 3
    assert all(1 / 3 <= score <= 1 for score in scores)


def test_only_the_classes_that_are_wanted(folder: Path) -> None:
    whole = [one.prediction for one in Predictor(dense_model()).stream(folder)]
    chosen = [one.prediction for one in Predictor(dense_model(), classes=["b"]).stream(folder)]
    for one, other in zip(whole, chosen, strict=True):
        assert one is not None
        assert other is not None
        assert np.array_equal(other.numpy(), np.where(one.numpy() == 1, 1, 255))
    every: Any = next(Predictor(detector(), max_detections=10_000).stream(folder)).prediction
    second = every.classes.names[1]
    limited = Predictor(detector(), classes=[second])
    some: Any = next(limited.stream(folder)).prediction
    limit = limited.model.head.max_detections  # of the wanted boxes: others take none of their places
    assert np.array_equal(some.boxes.numpy(), every.boxes.numpy()[every.labels.numpy() == 1][:limit])
    assert len(some.boxes) == limit == 20
    with pytest.raises(ConfigError, match="the model has no class 'bb'; did you mean 'b'"):
        list(Predictor(dense_model(), classes=["bb"]).stream(folder))


def test_overlap_of_boxes_and_who_has_none(folder: Path) -> None:
    loose: Any = next(Predictor(detector(), iou=0.9, max_detections=1000).stream(folder)).prediction
    strict: Any = next(Predictor(detector(), iou=0.1, max_detections=1000).stream(folder)).prediction
    assert len(strict.boxes) < len(loose.boxes)
    with pytest.raises(ConfigError, match="--iou: cuts detections"):
        list(Predictor(dense_model(), iou=0.5).stream(folder))


def test_the_contact_sheet_shows_the_drawings_and_what_failed(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "in", 5)
    strange = folder / "day" / "what? (1).png"
    strange.write_bytes((folder / "day/p000.png").read_bytes())
    found = run_prediction(restored(dense_model()), [folder], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert "day/what%3F%20%281%29_overlay.jpg" in page
    assert page.count('class="card"') == 5
    assert "p004.png" in page
    assert "5 pictures done, 1 not" in page
    assert found["written"] == len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) - 1

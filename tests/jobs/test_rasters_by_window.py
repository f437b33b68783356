"""Rasters in and out by window: the pixels and the answer are those of the whole file, in its place on the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prediction_jobs import dense_model, restored

from toolkit.data.images.rasters import Raster, open_raster
from toolkit.data.images.read import read_image
from toolkit.errors import ConfigError, DataError
from toolkit.heads.pixel_values import PixelValuesHead
from toolkit.inference.journal import read_journal
from toolkit.jobs import predict_raster
from toolkit.jobs.predict import run_prediction
from toolkit.models.vision_model import VisionModel

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

PLACE = from_origin(500_000, 4_000_000, 10, 10)
ALL = slice(None)


def write(path: Path, bands: np.ndarray, **more: Any) -> Path:
    """A GeoTIFF of (bands, H, W) numbers in UTM zone 18N."""
    profile = {"crs": "EPSG:32618", "transform": PLACE, **more}
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=bands.dtype, **profile
    ) as file:
        file.write(bands)
    return path


def scene(channels: int = 3, size: tuple[int, int] = (150, 190), kind: type = np.uint8, top: int = 256) -> np.ndarray:
    """Noise, (channels, H, W)."""
    return np.random.default_rng(0).integers(1, top, (channels, *size)).astype(kind)


def balanced(model: VisionModel) -> VisionModel:
    """The model with biases at which noise falls into all classes."""
    noise = torch.rand((1, model.in_channels, 64, 64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model.head.classifier.bias -= model(noise)[0].flatten(1).median(1).values
    return model


def predicted(model: VisionModel, path: Path, out: Path, **options: Any) -> tuple[np.ndarray, Any]:
    """The numbers of the written file, and the open file."""
    result = run_prediction(restored(model), [path], out, ["geotiff"], **options)
    assert result["failed"] == []
    file = rasterio.open(out / f"{path.stem}.tif")
    return file.read(1), file


def test_any_tiling_gives_the_labels_of_the_whole_picture_in_its_place(tmp_path: Path) -> None:
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", scene())
    whole = model.predict(path)[0].numpy()
    assert len(np.unique(whole)) > 1
    for name, options in (("auto", {}), ("tiles", {"tile": 64}), ("mirrored", {"tile": 64, "tta": "flips"})):
        found, file = predicted(model, path, tmp_path / name, **options)
        if name != "mirrored":
            assert np.array_equal(found, whole)
        assert (file.crs.to_epsg(), file.transform, file.nodata) == (32618, PLACE, 255)
        assert file.tags()["class_1"] == "b"
        assert file.colormap(1)[0][:3] != file.colormap(1)[1][:3]
        assert not list((tmp_path / name).glob(".*"))


def test_beside_other_formats_it_is_the_same(tmp_path: Path) -> None:
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", scene(), nodata=0)
    alone, _ = predicted(model, path, tmp_path / "alone", tile=64)
    run_prediction(restored(model), [path], tmp_path / "both", ["geotiff", "mask"])
    with rasterio.open(tmp_path / "both" / "scene.tif") as file:
        assert np.array_equal(file.read(1), alone)
        assert file.crs.to_epsg() == 32618


def test_what_is_written_is_a_cloud_optimised_geotiff(tmp_path: Path) -> None:
    cogeo = pytest.importorskip("rio_cogeo.cogeo", reason="rio-cogeo is not installed")
    found, file = predicted(dense_model(), write(tmp_path / "scene.tif", scene(size=(700, 1100))), tmp_path / "out")
    valid, errors, warnings = cogeo.cog_validate(file.name, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    assert file.overviews(1) == [2, 4]
    assert file.read(1, out_shape=(350, 550)).max() <= 255
    assert set(np.unique(file.read(1, out_shape=(350, 550)))) <= set(np.unique(found))  # classes are not averaged


def test_unknown_pixels_are_of_no_class(tmp_path: Path) -> None:
    pixels = scene()
    pixels[:, :40, 30:] = 0
    pixels[0, 100:, :] = 0  # one band alone is no gap
    found, _ = predicted(dense_model(), write(tmp_path / "scene.tif", pixels, nodata=0), tmp_path / "out", tile=64)
    assert (found[:40, 30:] == 255).all()
    assert (found[:40, :30] != 255).all()
    assert (found[40:] != 255).all()


def many_bands() -> VisionModel:
    from toolkit.backbones.unet_encoder import UNetEncoder
    from toolkit.heads.pixel import PixelHead

    torch.manual_seed(0)
    backbone = UNetEncoder(4, 4, 2, "same")
    model = VisionModel(backbone, None, PixelHead(backbone.spec, 3), ["a", "b", "c"]).eval()
    model.value_range = [[0, 4000], [0, 4000], [0, 3000], [0, 5000]]
    return balanced(model)


def test_many_bands_of_16_bits_by_the_models_range(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", scene(4, kind=np.uint16, top=5000))
    model = many_bands()
    found, _ = predicted(model, path, tmp_path / "out", tile=64)
    assert np.array_equal(found, model.predict(path)[0].numpy())


def test_floating_point_numbers_that_are_not_finite_are_unknown(tmp_path: Path) -> None:
    pixels = scene(4, kind=np.float32, top=4000)
    pixels[2, 10:20, 10:20] = np.nan
    found, _ = predicted(many_bands(), write(tmp_path / "scene.tif", pixels), tmp_path / "out", tile=64)
    assert ((found == 255) == np.isnan(pixels[2])).all()


def test_values_are_written_as_numbers(tmp_path: Path) -> None:
    from toolkit.backbones.unet_encoder import UNetEncoder

    torch.manual_seed(0)
    backbone = UNetEncoder(3, 4, 2, "same")
    model = VisionModel(backbone, None, PixelValuesHead(backbone.spec, 1), ["height"]).eval()
    pixels = scene()
    pixels[:, :5] = 0
    path = write(tmp_path / "scene.tif", pixels, nodata=0)
    found, file = predicted(model, path, tmp_path / "out", tile=64)
    assert file.dtypes == ("float32",)
    assert np.isnan(found[:5]).all()
    np.testing.assert_allclose(found[5:], model.predict(path)[0].numpy()[5:], rtol=1e-5, atol=1e-6)


def test_control_points_stay(tmp_path: Path) -> None:
    points = [GroundControlPoint(row, col, x, y) for row, col, x, y in ((0, 0, 1, 9), (0, 190, 2, 9), (150, 0, 1, 8))]
    path = tmp_path / "scene.tif"
    write(path, scene(), transform=None, crs=None)
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    _, file = predicted(dense_model(), path, tmp_path / "out")
    found, crs = file.gcps
    assert crs.to_epsg() == 4326
    assert [(p.row, p.col, p.x, p.y) for p in found] == [(p.row, p.col, p.x, p.y) for p in points]


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_hold_what_reading_the_whole_file_gives(tmp_path: Path, channels: int) -> None:
    from PIL import Image

    Image.fromarray(np.moveaxis(scene(), 0, 2)).save(tmp_path / "color.png")
    Image.fromarray(scene()[0]).save(tmp_path / "gray.tif")
    Image.fromarray(np.moveaxis(scene(4), 0, 2), "RGBA").save(tmp_path / "alpha.tif")
    Image.fromarray(np.moveaxis(scene(), 0, 2)).quantize(7).save(tmp_path / "palette.png")
    for path in sorted(tmp_path.iterdir()):
        whole = read_image(path, channels)
        with open_raster(path, channels) as raster:
            assert raster.size == whole.shape[:2]
            found = raster.window(slice(20, 90), slice(3, 100))
        # OpenCV's decoder of PNG rounds the gray of a colour otherwise than its converter.
        rounding = int(channels == 1 and path.name == "color.png")
        assert np.abs(found.astype(int) - whole[20:90, 3:100]).max() <= rounding, path.name


def test_what_cannot_be_read_is_listed_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "bands.tif", scene(5))
    write(folder / "deep.tif", scene(3, kind=np.uint16, top=4000))
    path = write(folder / "cut.tif", scene(size=(300, 300)), compress="deflate")
    path.write_bytes(path.read_bytes()[:-20_000])
    write(folder / "good.tif", scene())
    result = run_prediction(restored(dense_model()), [folder], tmp_path / "out", ["geotiff"])
    reasons = {Path(entry["file"]).name: entry["reason"] for entry in result["failed"]}
    assert set(reasons) == {"bands.tif", "deep.tif", "cut.tif"}
    assert "holds 5 bands, wanted 3" in reasons["bands.tif"]
    assert "data.value_range" in reasons["deep.tif"]
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == ["good.tif"]
    assert not list((tmp_path / "out").glob(".*.tmp"))


def test_a_stop_on_the_way_leaves_no_half_file_and_resume_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", scene())
    whole, _ = predicted(model, path, tmp_path / "whole", tile=64)
    real = predict_raster.answer_by_window
    from toolkit.jobs import prediction_work

    monkeypatch.setattr(prediction_work, "answer_by_window", lambda *arguments: real(*arguments[:-1], lambda: True))
    out = tmp_path / "out"
    result = run_prediction(restored(model), [path], out, ["geotiff"], tile=64)
    assert result["stopped"]
    assert "stopped at row" in caplog.text
    assert not [one.name for one in out.iterdir() if one.suffix in (".tif", ".tmp")]
    monkeypatch.undo()
    (out / f".scene.tif.{10**6}0.tmp").write_bytes(b"half")  # as a kill leaves one
    assert run_prediction(restored(model), [path], out, ["geotiff"], tile=64, resume=True)["done"] == 1
    assert "scene.tif was not finished" in caplog.text
    with rasterio.open(out / "scene.tif") as file:
        assert np.array_equal(file.read(1), whole)
    assert not list(out.glob(".*.tmp"))
    journal = read_journal(out / "journal.jsonl")
    assert journal is not None
    assert journal.closed


def test_refusals(tmp_path: Path) -> None:
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", scene())
    with pytest.raises(ConfigError, match="several sizes"):
        run_prediction(restored(model), [path], tmp_path / "out", ["geotiff"], tta="scales")
    assert not (tmp_path / "out").exists()
    model.transforms = (torch.nn.Identity(),)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"changed as a whole \(Identity\).*such as mask"):
        run_prediction(restored(model), [path], tmp_path / "out", ["geotiff"])
    (tmp_path / "names_others.tif").write_text('<VRTDataset rasterXSize="2" rasterYSize="2"></VRTDataset>')
    for name, reason in (("names_others.tif", "which may name other files"), (__file__, "cannot be read as a raster")):
        with pytest.raises(DataError, match=reason), open_raster(tmp_path / name, 3):
            pass


def test_polygons_of_a_raster_by_window_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene(size=(100, 130))
    pixels[:, 30:50, 20:60] = 0
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", pixels, nodata=0)
    read: list[str] = []
    real = Raster.window
    monkeypatch.setattr(Raster, "window", lambda *given: [read.append("window"), real(*given)][1])
    texts = []
    for formats, windows in ((["geojson", "mask"], False), (["geotiff", "geojson"], True), (["geojson"], True)):
        out = tmp_path / "-".join(formats)
        run_prediction(restored(model), [path], out, formats, tile=64)
        assert bool(read) == windows
        read.clear()
        texts.append((out / "scene.geojson").read_bytes())
        assert not list(out.glob(".*.tmp"))
    assert (texts[0] == texts[1]) is True  # a difference of megabytes is not to be shown
    assert (texts[0] == texts[2]) is True
    assert not list((tmp_path / "geojson").glob("*.tif"))


def test_polygons_lie_on_the_map(tmp_path: Path) -> None:
    model, path = balanced(dense_model()), write(tmp_path / "scene.tif", scene(size=(40, 50)))
    run_prediction(restored(model), [path], tmp_path / "out", ["geojson"])
    found = json.loads((tmp_path / "out" / "scene.geojson").read_text())
    assert found["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32618"}}
    labels = model.predict(path)[0].numpy()
    shapes = [(one["geometry"], one["properties"]["label"]) for one in found["features"]]
    drawn = pytest.importorskip("rasterio.features").rasterize(
        shapes, (40, 50), fill=99, transform=PLACE, dtype="uint8"
    )
    assert np.array_equal(drawn, labels)

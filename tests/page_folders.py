"""What a page of the documentation takes for granted: folders of pictures, runs, a film, maps, weights of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from doc_pages import REPOSITORY
from own_folders import own_folders
from tiny_video import make_video

from toolkit.config.load import load_config
from toolkit.jobs.build import build_model


def page_folder(place: Path, starts: list[str], trained: Path) -> None:
    """Fills a page's folder with what its first comment names.

    Args:
        place: an empty folder.
        starts: words of `<!-- starts with: ... -->`.
        trained: a folder with `mine.yaml`, `own_boxes.yaml` and their runs.
    """
    own_folders(place)
    photos = place / "photos"  # a link into pictures/, which not every page has
    photos.unlink()
    shutil.copytree(place / "pictures/images/val", photos)
    for name, config in (("run", "mine"), ("detector", "own_boxes")):
        if name in starts:
            shutil.copytree(trained / "runs" / config, place / "runs" / config, dirs_exist_ok=True)
            shutil.copy(trained / f"{config}.yaml", place)
    if "run" in starts:
        names = [f"val/{number}.jpg" for number in range(4)]
        lines = [f"{name},{'sun' if number % 2 else 'rain'}" for number, name in enumerate(names)]
        place.joinpath("weather.csv").write_text("\n".join(["image,weather", *lines]) + "\n")
    for name, folder in (("masks", "pictures"), ("boxes", "boxes")):
        if name not in starts and not {"run", "detector"} & {*starts}:
            shutil.rmtree(place / folder)
    if not starts or starts == ["nothing"]:
        shutil.rmtree(photos)
    for word, make in (("weights", weights_of_others), ("theirs", theirs), ("film", film), ("scenes", scenes)):
        if word in starts:
            make(place)
    for folder in ("configs", "tools"):
        shutil.copytree(REPOSITORY / folder, place / folder, dirs_exist_ok=True)


def weights_of_others(place: Path) -> None:
    """`unet.pth` as segmentation-models-pytorch saves it; `net.pth` in names of its own, with `table.yaml` for them.

    It is the net of `configs/unet_resnet34_camvid.yaml`.
    """
    torch.save(smp.Unet("resnet18", encoder_weights=None, classes=2).state_dict(), place / "unet.pth")
    model = build_model(load_config(REPOSITORY / "configs/unet_resnet34_camvid.yaml"), pretrained=False)
    torch.save({f"net.{name}": tensor for name, tensor in model.state_dict().items()}, place / "net.pth")
    (place / "table.yaml").write_text("about: names of somebody\nrules:\n  - net.{rest*} -> {rest*}\n")


def theirs(place: Path) -> None:
    """`theirs.onnx`, which calls a pixel text where it is bright."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra export)")
    kind, helper = onnx.TensorProto.FLOAT, onnx.helper
    weight = onnx.numpy_helper.from_array(np.full((1, 3, 1, 1), 4, np.float32), "weight")
    nodes = [helper.make_node("Conv", ["x", "weight"], ["logit"]), helper.make_node("Sigmoid", ["logit"], ["p"])]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", kind, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("p", kind, ["N", 1, "H", "W"])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(place / "theirs.onnx"))


def film(place: Path) -> None:
    """`film.mp4` of two seconds."""
    make_video(place / "film.mp4", [number / 10 for number in range(20)], sound=False)


def scenes(place: Path) -> None:
    """`scenes` with a raster in its place on the map."""
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
    (place / "scenes").mkdir()
    pixels = np.random.default_rng(0).integers(1, 256, (3, 150, 190)).astype(np.uint8)
    where = {"crs": "EPSG:32618", "transform": rasterio.transform.from_origin(500_000, 4_000_000, 10, 10)}
    with rasterio.open(
        place / "scenes/a.tif", "w", driver="GTiff", count=3, height=150, width=190, dtype=pixels.dtype, **where
    ) as file:
        file.write(pixels)

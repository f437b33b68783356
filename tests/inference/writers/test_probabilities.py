"""Probabilities come back from their files within the error that is promised, by numpy and by Pillow alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.data.datasets.image_maps import ImageMaps
from toolkit.errors import UserError
from toolkit.inference.writers.outputs import Outputs
from toolkit.samples import LabelMap, ValueMap

SIZE = (37, 53)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
CLASSES = ["sky", "road, wet", "tree"]


def a_label_map() -> LabelMap:
    logits = 4 * torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(0)
    return LabelMap(probabilities.argmax(0).byte(), probabilities=probabilities.half())


def test_float16_is_stored_as_it_is(tmp_path: Path) -> None:
    found = a_label_map()
    (path,) = Outputs(tmp_path, ["probabilities"], CLASSES).add("day/a", IMAGE, found).files
    assert path == tmp_path / "day/a_probabilities.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert stored["classes"].tolist() == CLASSES
        assert stored["probabilities"].dtype == np.float16
        assert found.probabilities is not None
        np.testing.assert_array_equal(stored["probabilities"], found.probabilities.numpy())
    flat = LabelMap(found.labels, probabilities=torch.ones(3, *SIZE).half())
    assert (
        path.stat().st_size
        > 10 * Outputs(tmp_path, ["probabilities"], CLASSES).add("b", IMAGE, flat).files[0].stat().st_size
    )
    first = path.read_bytes()
    Outputs(tmp_path, ["probabilities"], CLASSES).add("day/a", IMAGE, found)
    assert path.read_bytes() == first


def test_planes_of_8_bits_are_within_half_a_level(tmp_path: Path) -> None:
    found = a_label_map()
    (path,) = Outputs(tmp_path, ["probabilities8"], CLASSES).add("a", IMAGE, found).files
    assert found.probabilities is not None
    with Image.open(path) as pages:
        assert pages.n_frames == 3  # type: ignore[attr-defined]
        assert json.loads(pages.tag_v2[270])["classes"] == CLASSES  # type: ignore[attr-defined]
        for label in range(3):
            pages.seek(label)
            assert (pages.mode, pages.size) == ("L", (SIZE[1], SIZE[0]))
            error = np.abs(np.asarray(pages) / 255 - found.probabilities[label].float().numpy())
            assert error.max() <= 1 / 510 + 1e-6


def test_others_read_the_planes(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    Outputs(tmp_path, ["probabilities8"], CLASSES).add("a", IMAGE, a_label_map())
    assert tifffile.TiffFile(tmp_path / "a_probabilities.tif").series[0].shape[-2:] == SIZE


def test_values_are_read_again_by_our_own_data_set(tmp_path: Path) -> None:
    values = 80 * torch.rand(*SIZE, generator=torch.Generator().manual_seed(0)) + 0.01
    values[3, 4] = torch.nan
    outputs = Outputs(tmp_path / "maps", ["values_png", "values_tiff"], ["depth"])
    outputs.add("a", IMAGE, ValueMap(values))
    with Image.open(tmp_path / "maps/a_values.tif") as picture:
        assert picture.mode == "F"
        np.testing.assert_array_equal(np.asarray(picture), values.numpy())
    with Image.open(tmp_path / "maps/a_values.png") as picture:
        assert picture.text["scale"] == "0.00390625"  # type: ignore[attr-defined]
    (tmp_path / "maps/a_values.tif").unlink()
    (tmp_path / "maps/a_values.png").rename(tmp_path / "maps/a.png")
    (tmp_path / "images").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images/a.png")
    read = ImageMaps(["depth"], str(tmp_path), scale=1 / 256)[0].value_map
    assert read is not None
    np.testing.assert_allclose(read, values.numpy(), atol=1 / 512 + 1e-6)


def test_values_that_16_bits_do_not_hold_are_refused(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, ["values_png"], ["depth"])
    for one in (-1.0, 0.0, 300.0):
        with pytest.raises(UserError, match=r"do not fit 16 bits.*take the format values or values_tiff"):
            outputs.add("a", IMAGE, ValueMap(torch.full(SIZE, one)))
    assert not list(tmp_path.iterdir())

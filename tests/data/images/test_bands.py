"""Pictures of many bands, 16 bits and floating-point numbers: by the stated rule, or refused in words."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.data.images.bands import refuse_value_range
from toolkit.data.images.listing import image_files
from toolkit.data.images.picture import sample_of
from toolkit.data.images.pictures import find_pictures
from toolkit.data.images.read import image_size, read_image
from toolkit.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (12, 17)).astype(np.uint16)
MANY = RNG.integers(0, 4096, (12, 17, 6)).astype(np.uint16)


def by_hand(stored, low, high):
    """The rule, number by number."""
    found = [min(255, max(0, round(255 * (float(v) - low) / (high - low)))) for v in stored.ravel()]
    return np.array(found, np.uint8).reshape(stored.shape)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_sixteen_bits_by_the_range(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    np.save(path, DEEP) if name.endswith("npy") else cv2.imwrite(str(path), DEEP)
    wanted = by_hand(DEEP, 0, 4095)
    np.testing.assert_array_equal(read_image(path, 1, [0, 4095])[:, :, 0], wanted)
    np.testing.assert_array_equal(read_image(path, 3, [0, 4095]), np.repeat(wanted[:, :, None], 3, 2))
    with pytest.raises(DataError, match=r"data.value_range=\[low,high\]"):
        read_image(path, 1)


def test_floating_point_numbers_and_ranges_of_each_band(tmp_path: Path) -> None:
    stored = RNG.normal(0, 1, (9, 8, 2)).astype(np.float32)
    np.save(tmp_path / "f.npy", stored)
    found = read_image(tmp_path / "f.npy", 2, [[-1, 1], [0, 0.5]])
    np.testing.assert_array_equal(found[..., 0], by_hand(stored[..., 0], -1, 1))
    np.testing.assert_array_equal(found[..., 1], by_hand(stored[..., 1], 0, 0.5))
    stored[2, 3, 1] = np.nan
    np.save(tmp_path / "f.npy", stored)
    with pytest.raises(DataError, match="holds 1 numbers that are not finite"):
        read_image(tmp_path / "f.npy", 2, [-1, 1])
    with pytest.raises(ConfigError, match="has 3 pairs, the picture 2 bands"):
        read_image(tmp_path / "f.npy", 2, [[0, 1]] * 3)


@pytest.mark.parametrize("first", [False, True])
def test_many_bands_wherever_they_stand(first: bool, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stored = np.moveaxis(MANY, 2, 0) if first else MANY
    np.save(tmp_path / "m.npy", stored)
    tifffile.imwrite(
        tmp_path / "m.tif", stored, photometric="minisblack", planarconfig="separate" if first else "contig"
    )
    for name in ("m.npy", "m.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, 6, [0, 4095]), by_hand(MANY, 0, 4095))
        with pytest.raises(DataError, match=r"holds \d+ bands, wanted 4; set data.channels"):
            read_image(tmp_path / name, 4, [0, 4095])
    tifffile.imwrite(tmp_path / "pages.tif", np.moveaxis(MANY, 2, 0), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "pages.tif", 6, [0, 4095]), by_hand(MANY, 0, 4095))


def test_colours_keep_their_order_and_alpha_is_dropped(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (6, 7, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 4), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3, [0, 255]), pixels[..., :3])
    deep = (pixels[..., :3].astype(np.uint16) * 257)[..., ::-1]
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "d.png", 3, [0, 65535]), pixels[..., :3])


def test_a_folder_of_arrays_is_a_folder_of_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DEEP)
    assert [path.name for path in image_files(tmp_path).paths] == ["a.npy"]
    assert image_size(tmp_path / "a.npy") == (12, 17)
    found = find_pictures(tmp_path)
    assert sample_of(found[0], found[0].read(1, [0, 4095]), 0).image.shape == (12, 17, 1)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "b.png")
    assert [path.name for path in image_files(tmp_path).paths] == ["b.png"]


@pytest.mark.parametrize("wrong", [[1, 0], [0], [[0, 1], [2]], [[0, 1], [3, 3]], [0, 1, 2], []])
def test_a_range_that_is_none_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ConfigError, match="low below high"):
        refuse_value_range(wrong)


def test_published_kernels_answer_to_equal_bands_as_to_three() -> None:
    from toolkit.weights.channels import adapted_kernel

    kernel, picture = torch.randn(5, 3, 3, 3), torch.rand(1, 1, 9, 9)
    wanted = torch.nn.functional.conv2d(picture.expand(-1, 3, -1, -1), kernel)
    for channels in (1, 6, 12):
        found = torch.nn.functional.conv2d(picture.expand(-1, channels, -1, -1), adapted_kernel(kernel, channels))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)

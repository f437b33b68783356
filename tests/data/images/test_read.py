"""Strict reading: what the file holds, or an error that names it."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from toolkit.data.images.checks import inspect_encoded
from toolkit.data.images.label_maps import read_color_map, read_label_map
from toolkit.data.images.read import image_size, read_image
from toolkit.errors import DataError

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (40, 30))


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def png_of_bits(path: Path, rows: list[list[int]], bits: int) -> Path:
    """A gray PNG with less than 8 bits, written by hand: neither OpenCV nor Pillow writes one."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = b""
    for row in rows:
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        packed += b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "ppm"])
def test_lossless_files_come_back_as_they_were(tmp_path, extension):
    path = saved(tmp_path / f"a.{extension}", Image.fromarray(PICTURE))
    np.testing.assert_array_equal(read_image(path), PICTURE)
    gray = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(read_image(path, 1)[:, :, 0].astype(int), gray, atol=1)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_equals_pillow(tmp_path, progressive):
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=95, subsampling=0, progressive=progressive)
    np.testing.assert_allclose(read_image(path).astype(int), np.asarray(Image.open(path)).astype(int), atol=2)


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_files_are_errors(tmp_path, extension, share):
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    path = saved(tmp_path / f"a.{extension}", Image.fromarray(noise))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=f"a.{extension}"):
        read_image(path)


def test_jpeg_ended_in_any_byte_is_an_error(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE))
    whole = path.read_bytes()
    for end in range(4, len(whole)):
        found = inspect_encoded(whole[:end])
        assert found is None or found.damage, end
    assert inspect_encoded(whole).damage == ""


def test_jpeg_thumbnail_does_not_hide_a_missing_end(tmp_path):
    thumbnail = saved(tmp_path / "t.jpg", Image.fromarray(PICTURE)).read_bytes()
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), exif=b"Exif\0\0" + thumbnail)
    whole = path.read_bytes()
    assert whole.count(b"\xff\xd9") == 2
    assert inspect_encoded(whole).damage == ""
    assert "truncated" in inspect_encoded(whole[:-40]).damage


def test_bytes_after_the_end_are_legal(tmp_path):
    for extension in ("jpg", "png"):
        path = saved(tmp_path / f"a.{extension}", Image.fromarray(PICTURE))
        before = read_image(path)
        path.write_bytes(path.read_bytes() + b"\0camera maker's notes" * 9)
        np.testing.assert_array_equal(read_image(path), before)


def test_flipped_bit_in_a_png_is_an_error(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(PICTURE))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.png.*checksum"):
        read_image(path)


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    saved(tmp_path / "frame_01.png", Image.fromarray(PICTURE))
    for read in (read_image, read_label_map, image_size):
        with pytest.raises(DataError, match=r"frame_01\.png"):  # the near match
            read(tmp_path / "frame_1.png")
        with pytest.raises(DataError, match=r"empty\.png.*0 bytes"):
            read(tmp_path / "empty.png")
        with pytest.raises(DataError, match=r"text\.jpg.*no image"):
            read(tmp_path / "text.jpg")
        with pytest.raises(DataError):
            read(tmp_path)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_images_are_refused(tmp_path, extension):
    path = tmp_path / f"deep.{extension}"
    cv2.imwrite(str(path), np.full((5, 6), 3000, np.uint16))
    with pytest.raises(DataError, match="8 bits"):
        read_image(path)


def test_alpha_is_dropped_and_palettes_expanded(tmp_path):
    alpha = np.random.default_rng(2).integers(0, 255, (30, 40, 1), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(np.concatenate([PICTURE, alpha], 2)))
    np.testing.assert_array_equal(read_image(path), PICTURE)
    palette = Image.fromarray(PICTURE).quantize(16)
    path = saved(tmp_path / "p.png", palette)
    np.testing.assert_array_equal(read_image(path), np.asarray(palette.convert("RGB")))


def test_gray_is_repeated(tmp_path):
    gray = PICTURE[:, :, 0]
    path = saved(tmp_path / "g.png", Image.fromarray(gray))
    np.testing.assert_array_equal(read_image(path), np.repeat(gray[:, :, None], 3, 2))
    np.testing.assert_array_equal(read_image(path, 1), gray[:, :, None])


def test_cmyk_jpeg_is_converted(tmp_path):
    path = saved(tmp_path / "c.jpg", Image.fromarray(PICTURE).convert("CMYK"), quality=98)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_exif_orientation_as_pillow_applies_it(tmp_path, extension, orientation, channels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if extension == "webp" else {}
    path = saved(tmp_path / f"a.{extension}", Image.fromarray(PICTURE), exif=exif, **options)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    if channels == 1:
        turned = cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY)[:, :, None]
    found = read_image(path, channels)
    assert found.shape == turned.shape
    np.testing.assert_allclose(found.astype(int), turned.astype(int), atol=3)
    assert image_size(path) == turned.shape[:2]


def test_palette_masks_give_indices(tmp_path):
    labels = np.random.default_rng(3).integers(0, 12, (20, 30), np.uint8)
    mask = Image.fromarray(labels)
    mask.putpalette(np.random.default_rng(4).integers(0, 255, 768).tolist())
    np.testing.assert_array_equal(read_label_map(saved(tmp_path / "m.png", mask)), labels)


def test_masks_of_few_bits_give_stored_values(tmp_path):
    rows = [[0, 1, 2, 3, 1], [3, 3, 0, 2, 1]]
    assert read_label_map(png_of_bits(tmp_path / "two.png", rows, 2)).tolist() == rows
    rows = [[0, 7, 15], [9, 1, 2]]
    assert read_label_map(png_of_bits(tmp_path / "four.png", rows, 4)).tolist() == rows
    rows = [[0, 1, 1], [1, 0, 0]]
    assert read_label_map(png_of_bits(tmp_path / "one.png", rows, 1)).tolist() == rows


def test_16_bit_masks_keep_their_values(tmp_path):
    labels = np.array([[0, 3], [255, 7]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), labels)
    found = read_label_map(tmp_path / "a.png")
    assert found.dtype == np.uint8
    assert found.tolist() == labels.tolist()
    labels[0, 0] = 40000
    cv2.imwrite(str(tmp_path / "b.png"), labels)
    assert read_label_map(tmp_path / "b.png").tolist() == labels.tolist()


def test_color_masks_say_so(tmp_path):
    colors = np.zeros((10, 10, 3), np.uint8)
    colors[2:5] = 128, 64, 128
    path = saved(tmp_path / "m.png", Image.fromarray(colors))
    with pytest.raises(DataError, match=r"m\.png.*colour mask with 2 colours.*\[128, 64, 128\].*colors:"):
        read_label_map(path)
    np.testing.assert_array_equal(read_color_map(path), colors)


@pytest.mark.parametrize("name", ["rgb.png", "rgba.png", "lossless.webp", "float.tif", "la.png"])
def test_one_label_map_stored_in_odd_ways_is_that_label_map(name: str, tmp_path: Path):
    labels = np.random.default_rng(0).integers(0, 5, (9, 12)).astype(np.uint8)
    opaque = np.full_like(labels, 255)
    stored = {
        "rgb.png": np.stack([labels] * 3, -1), "rgba.png": np.stack([*[labels] * 3, opaque], -1),
        "lossless.webp": np.stack([labels] * 3, -1), "float.tif": labels.astype(np.float32),
        "la.png": np.stack([labels, opaque], -1),
    }[name]  # fmt: skip
    Image.fromarray(stored).save(tmp_path / name, **({"lossless": True} if name == "lossless.webp" else {}))
    np.testing.assert_array_equal(read_label_map(tmp_path / name), labels)


def test_labels_in_the_alpha_channel_and_lossy_masks_are_refused(tmp_path: Path):
    labels = np.random.default_rng(0).integers(0, 5, (9, 12)).astype(np.uint8)
    hidden = np.stack([*[np.zeros_like(labels)] * 3, labels], -1)
    with pytest.raises(DataError, match="the labels lie in alpha; save the alpha channel alone"):
        read_label_map(saved(tmp_path / "a.png", Image.fromarray(hidden)))
    Image.fromarray(labels).convert("RGB").save(tmp_path / "m.webp", quality=90)
    with pytest.raises(DataError, match="lossy WebP"):
        read_label_map(tmp_path / "m.webp")


def test_jpeg_and_float_masks_are_refused(tmp_path):
    path = saved(tmp_path / "m.jpg", Image.fromarray(np.zeros((8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"m\.jpg.*JPEG.*PNG"):
        read_label_map(path)
    for name, start in {"m.heic": b"\0\0\0\x18ftypheic", "m.avif": b"\0\0\0\x18ftypavif"}.items():
        (tmp_path / name).write_bytes(start + bytes(99))
        with pytest.raises(DataError, match="whose compression changes values"):
            read_label_map(tmp_path / name)
    path = saved(tmp_path / "m.tif", Image.fromarray(np.full((8, 8), 0.5, np.float32)))
    with pytest.raises(DataError, match="floating"):
        read_label_map(path)

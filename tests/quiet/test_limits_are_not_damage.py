"""One limit of pixels, stated as such; headers that claim anything, pipes and deep files end in a sentence."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.voc_file import read_voc_file
from toolkit.data.images.label_maps import read_color_map, read_label_map
from toolkit.data.images.limits import LIMIT_VARIABLE, pixel_limit
from toolkit.data.images.read import image_size, read_image
from toolkit.errors import ConfigError

CLAIM = 60_000


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def claiming(kind: str) -> bytes:
    """A small file whose header claims 60,000 x 60,000 pixels."""
    buffer = io.BytesIO()
    gray = Image.fromarray(np.random.default_rng(0).integers(0, 3, (16, 16)).astype(np.uint8))
    if kind == "png":
        header = struct.pack(">IIBBBBB", CLAIM, CLAIM, 8, 0, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body
    gray.save(buffer, {"jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "pgm": "PPM"}[kind])
    data = bytearray(buffer.getvalue())
    if kind == "jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", CLAIM, CLAIM)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", CLAIM, CLAIM)
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", CLAIM, CLAIM)
    elif kind == "pgm":
        return bytes(data).replace(b"16 16", f"{CLAIM} {CLAIM}".encode())
    else:
        for tag in (256, 257):
            at = data.index(
                struct.pack("<HH", tag, 4) if struct.pack("<HH", tag, 4) in data else struct.pack("<HH", tag, 3)
            )
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, CLAIM)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "bmp", "pgm"])
@pytest.mark.parametrize("read", [read_image, read_label_map, read_color_map])
def test_a_header_may_claim_anything(kind: str, read: object, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(claiming(kind))
    with pytest.raises(FileError) as caught:
        read(path)  # type: ignore[operator]
    if read is read_label_map and kind == "jpg":
        assert caught.value.kind in ("jpeg_mask", "too_large")
        return
    assert caught.value.kind == "too_large"
    assert "60000x60000 = 3,600,000,000 pixels; more than 268,435,456 are not read" in str(caught.value)
    assert LIMIT_VARIABLE in str(caught.value)
    assert image_size(path) == (CLAIM, CLAIM)


@pytest.mark.parametrize("kind", ["png", "tif", "jpg", "webp", "gif"])
def test_a_healthy_picture_above_the_limit_is_not_called_damaged(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # a library's own limit is not ours
    assert read_image(path).shape == (30, 40, 3)
    assert not recwarn.list
    assert Image.MAX_IMAGE_PIXELS == 500
    monkeypatch.setenv(LIMIT_VARIABLE, "1199")
    with pytest.raises(FileError) as caught:
        read_image(path)
    assert caught.value.kind == "too_large"
    assert "fetch it again" not in str(caught.value)
    monkeypatch.setenv(LIMIT_VARIABLE, "1200")
    assert read_image(path).shape == (30, 40, 3)


@pytest.mark.parametrize("text", ["many", "0", "-3", "1e9"])
def test_a_wrong_limit_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ConfigError, match=f"TOOLKIT_MAX_PIXELS.*is '{text}'"):
        pixel_limit()


def test_a_side_that_opencv_refuses_is_read(tmp_path: Path) -> None:
    line = np.random.default_rng(0).integers(0, 255, (1, 2**20 + 10, 3)).astype(np.uint8)
    Image.fromarray(line).save(tmp_path / "a.png", compress_level=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), line)


def test_large_pictures_are_copied_strip_by_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.images.by_pillow._STRIP", 100)
    pixels = np.random.default_rng(0).integers(0, 255, (37, 23, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(make: object, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    make(path)  # type: ignore[operator]
    for read in (read_image, read_label_map):
        with pytest.raises(FileError, match="is no file"):
            read(path)


def test_xml_that_is_nested_without_end_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<annotation>" + "<a>" * 300_000 + "</a>" * 300_000 + "</annotation>")
    problems = ProblemList()
    assert read_voc_file(path, problems) is None
    assert "nests elements more than" in problems.so_far[0].message

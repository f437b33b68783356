"""Sound JPEGs of many encoders and kinds are sound; damage that decoders pass over is seen."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from toolkit.data.images.checks import JpegComplaint, jpeg_complaint


def picture(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    random_numbers = np.random.default_rng(seed)
    coarse = random_numbers.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    noise = random_numbers.integers(-20, 20, (*size, 3))
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 1}, {"quality": 30}, {"quality": 100, "subsampling": 0}, {"quality": 75, "subsampling": 1},
        {"quality": 75, "subsampling": 2, "optimize": True}, {"restart_marker_blocks": 7}, {"restart_marker_rows": 1},
        {"mode": "L"}, {"mode": "CMYK"}, {"progressive": True},
    ],
)  # fmt: skip
def test_sound_files(options: dict[str, object]) -> None:
    for seed, size in enumerate([(120, 160), (7, 5), (8, 8), (1, 33), (63, 17)]):
        assert jpeg_complaint(encoded(picture(seed, size), **options)) is None  # type: ignore[arg-type]
    extreme = np.where(picture(9) > 128, 255, 0).astype(np.uint8)
    assert jpeg_complaint(encoded(extreme, **options)) is None  # type: ignore[arg-type]


def test_opencv_s_files_are_sound() -> None:
    for interval in (0, 5):
        options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
        assert jpeg_complaint(cv2.imencode(".jpg", picture(3), options)[1].tobytes()) is None


@pytest.mark.parametrize("set_name", ["camvid", "raccoon", "coco_yolo_mini"])
def test_real_jpegs_are_not_called_damaged(set_name: str, real_data: Callable[[str], Path]) -> None:
    for path in sorted(real_data(set_name).rglob("*.jpg"))[:40]:
        assert jpeg_complaint(path.read_bytes()) is None, path


@pytest.mark.parametrize("fill", ["zeros", "random"])
def test_holes_are_seen(fill: str) -> None:
    numbers = random.Random(4)
    for seed in range(20):
        data = bytearray(encoded(picture(seed), quality=90))
        at = numbers.randrange(len(data) // 3, len(data) // 2)
        data[at : at + 400] = bytes(400) if fill == "zeros" else numbers.randbytes(400).replace(b"\xff", b"\xfe")
        found = jpeg_complaint(bytes(data))
        assert found is not None
        assert not found.harmless


def test_padding_before_the_end_is_harmless() -> None:
    data = encoded(picture(1))
    assert jpeg_complaint(data + b"a camera's own notes") is None
    for padding in (bytes(60), bytes(range(1, 7))):
        found = jpeg_complaint(data[:-2] + padding + data[-2:])
        assert found is not None
        assert found.harmless
    assert jpeg_complaint(data[:-2] + bytes(range(1, 61)) + data[-2:]) == JpegComplaint(
        "59 extraneous bytes before marker 0xd9", False
    )
    assert jpeg_complaint(data[: len(data) // 2] + b"\xff\xd9") is not None


def test_hostile_headers_end_in_an_answer() -> None:
    numbers = random.Random(7)
    sound = encoded(picture(2, (40, 40)))
    for _ in range(500):
        data = bytearray(sound)
        for _ in range(numbers.randrange(1, 12)):
            data[numbers.randrange(min(len(data), 700))] = numbers.randrange(256)
        jpeg_complaint(bytes(data[: numbers.randrange(2, len(data) + 1)]))

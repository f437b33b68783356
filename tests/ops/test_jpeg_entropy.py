"""Sound JPEGs of many encoders and kinds are sound; damage that decoders pass over is seen."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from toolkit.ops.jpeg_entropy import jpeg_damage
from toolkit.ops.native import compiler

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")


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


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 1}, {"quality": 30}, {"quality": 100, "subsampling": 0}, {"quality": 75, "subsampling": 1},
        {"quality": 75, "subsampling": 2, "optimize": True}, {"restart_marker_blocks": 7}, {"restart_marker_rows": 1},
        {"mode": "L"}, {"mode": "CMYK"},
    ],
)  # fmt: skip
def test_sound_files(options: dict[str, object]) -> None:
    for seed, size in enumerate([(120, 160), (7, 5), (8, 8), (1, 33), (63, 17)]):
        assert jpeg_damage(encoded(picture(seed, size), **options)) == ""  # type: ignore[arg-type]
    extreme = np.where(picture(9) > 128, 255, 0).astype(np.uint8)
    assert jpeg_damage(encoded(extreme, **options)) == ""  # type: ignore[arg-type]


@needs_compiler
def test_opencv_s_files_are_sound() -> None:
    for interval in (0, 5):
        options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
        assert jpeg_damage(cv2.imencode(".jpg", picture(3), options)[1].tobytes()) == ""


def test_what_it_cannot_judge() -> None:
    assert jpeg_damage(b"") is None
    assert jpeg_damage(b"\xff\xd8\xff") is None
    assert jpeg_damage(encoded(picture(0), progressive=True)) is None


@needs_compiler
@pytest.mark.parametrize("fill", ["zeros", "random", "cut"])
def test_holes_are_seen(fill: str) -> None:
    numbers = random.Random(4)
    seen = 0
    for seed in range(40):
        data = bytearray(encoded(picture(seed), quality=90))
        at = numbers.randrange(len(data) // 3, len(data) // 2)
        if fill == "cut":
            del data[at : at + 100]
        else:
            data[at : at + 100] = bytes(100) if fill == "zeros" else numbers.randbytes(100).replace(b"\xff", b"\xfe")
        seen += bool(jpeg_damage(bytes(data)))
    assert seen >= 38  # now and then the codes fall into step again within the hole


@needs_compiler
def test_padding_before_the_end_is_harmless() -> None:
    data = encoded(picture(1))
    assert jpeg_damage(data[:-2] + bytes(60) + data[-2:]) == ""
    assert jpeg_damage(data[:-2] + bytes(range(1, 61)) + data[-2:]) == "data are left after the last block"
    assert jpeg_damage(data[: len(data) // 2] + b"\xff\xd9") == "its data end before the last block"


@needs_compiler
def test_hostile_headers_end_in_an_answer() -> None:
    numbers = random.Random(7)
    sound = encoded(picture(2, (40, 40)))
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(numbers.randrange(1, 12)):
            data[numbers.randrange(min(len(data), 700))] = numbers.randrange(256)
        jpeg_damage(bytes(data[: numbers.randrange(2, len(data) + 1)]))

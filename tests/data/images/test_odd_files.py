"""A corpus of odd files with one outcome each: pixels equal to somebody else's, or refused in these words."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from prediction_jobs import dense_model, restored, tree

from toolkit.data.images import heic
from toolkit.data.images.pages import Pages
from toolkit.data.images.pictures import find_pictures
from toolkit.data.images.read import image_size
from toolkit.errors import ConfigError, DataError
from toolkit.inference.folder import predict
from toolkit.inference.shares import Share
from toolkit.jobs.merge import merge_shares
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.predictor import Predictor

tifffile = pytest.importorskip("tifffile", reason="the corpus is written with tifffile")

RGB = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (48, 32))
GRAY, DEEP = RGB[:, :, 0], RGB.astype(np.uint16) * 16
FRAMES = [np.roll(RGB, 5 * number, 1) for number in range(3)]
DEEP_WORDS = r"wanted 8 bits a channel, found .*data\.value_range"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def without_adobe_marker(jpeg: bytes) -> bytes:
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] :]


def tiff(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def as_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def thrice(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, 2)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(RGB), "JPEG", quality=95, exif=exif)


def palette_with_transparency() -> bytes:
    return encoded(Image.fromarray(RGB).quantize(16), "PNG", transparency=3)


def animation(kind: str) -> bytes:
    first, *others = map(Image.fromarray, FRAMES)
    return encoded(first, kind, save_all=True, append_images=others, lossless=True)


def colors_of_palette(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        colors = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        return colors[np.asarray(image)]


JPEG = encoded(Image.fromarray(RGB), "JPEG", quality=95)
PNG = encoded(Image.fromarray(RGB), "PNG")
CMYK = encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
PALETTE = palette_with_transparency()
FLOATS = (RGB / 255).astype(np.float32)
HOLED = FLOATS.copy()
HOLED[0, 0] = np.nan

READ: dict[str, tuple[bytes, np.ndarray]] = {
    "cmyk_adobe.jpg": (CMYK, as_pillow(CMYK)),
    "cmyk_without_adobe.jpg": (without_adobe_marker(CMYK), as_pillow(without_adobe_marker(CMYK))),
    "gray.jpeg": (encoded(Image.fromarray(GRAY), "JPEG", quality=100), thrice(GRAY)),
    "photo.jfif": (JPEG, as_pillow(JPEG)),
    **{f"exif_{number}.jpg": (turned(number), as_pillow(turned(number))) for number in range(1, 9)},
    "palette.png": (PALETTE, colors_of_palette(PALETTE)),
    "one_bit.png": (encoded(Image.fromarray(GRAY > 99), "PNG"), thrice(np.uint8(255) * (GRAY > 99))),
    "gray_and_alpha.png": (encoded(Image.fromarray(np.dstack([GRAY, 255 - GRAY])), "PNG"), thrice(GRAY)),
    "alpha.webp": (encoded(Image.fromarray(np.dstack([RGB, GRAY])), "WEBP", lossless=True, exact=True), RGB),
    "plain.bmp": (encoded(Image.fromarray(RGB), "BMP"), RGB),
    "plain.pnm": (encoded(Image.fromarray(RGB), "PPM"), RGB),
    "animated.gif": (animation("GIF"), as_pillow(animation("GIF"))),
    "animated.webp": (animation("WEBP"), RGB),
    "animated.png": (animation("PNG"), RGB),
    "tiled.tif": (tiff(RGB, tile=(16, 16), compression="zlib"), RGB),
    "striped.tif": (encoded(Image.fromarray(RGB), "TIFF", compression="tiff_lzw", strip_size=300), RGB),
    "packed.tif": (encoded(Image.fromarray(RGB), "TIFF", compression="packbits"), RGB),
    "big.tif": (tiff(RGB, bigtiff=True), RGB),
    "big_endian.tif": (tiff(RGB, byteorder=">"), RGB),
    "planar.tif": (tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate"), RGB),
    "png_called.jpg": (PNG, RGB),
    "gif_called.png": (encoded(Image.fromarray(GRAY), "GIF"), thrice(GRAY)),
    "one_pixel.png": (encoded(Image.fromarray(RGB[:1, :1]), "PNG"), RGB[:1, :1]),
    "wavelets.jp2": (encoded(Image.fromarray(RGB), "JPEG2000"), RGB),
    "new\nline.png": (PNG, RGB),
    "\N{SNOWMAN} \N{GRINNING FACE} café.png": (PNG, RGB),
    os.fsdecode(b"caf\xe9.png"): (PNG, RGB),
}  # fmt: skip
"""Read as gray or RGB of 8 bits; JPEGs within what two decoders may differ by."""

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", r"the file is empty \(0 bytes\)"),
    "text.jpg": (b"this is no picture", "is no image of a known format"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "the JPEG is truncated"),
    "half.png": (PNG[: len(PNG) // 2], "the PNG is truncated"),
    "half.jp2": (encoded(Image.fromarray(RGB), "JPEG2000")[:-300], "cannot be decoded"),
    "half.gif": (encoded(Image.fromarray(GRAY), "GIF")[:-100], "cannot be decoded"),
    "half.tif": (tiff(RGB)[:-900], "cannot be decoded"),
    "huge.png": (png_header(65000, 65000), r"claims 65000x65000 = 4,225,000,000 pixels; more than [\d,]+ are not read"),
    "gray16.png": (encoded(Image.fromarray(DEEP[:, :, 0]), "PNG"), DEEP_WORDS),
    "rgb16.png": (cv2.imencode(".png", DEEP)[1].tobytes(), DEEP_WORDS),
    "gray16.pgm": (cv2.imencode(".pgm", DEEP[:, :, 0])[1].tobytes(), DEEP_WORDS),
    "gray16.jp2": (encoded(Image.fromarray(DEEP[:, :, 0]), "JPEG2000"), DEEP_WORDS),
    "gray16.tif": (tiff(DEEP[:, :, 0]), DEEP_WORDS),
    "rgb16.tif": (tiff(DEEP), DEEP_WORDS),
    "rgb16.ppm": (cv2.imencode(".ppm", DEEP)[1].tobytes(), DEEP_WORDS),
    "rgb16.jp2": (cv2.imencode(".jp2", DEEP)[1].tobytes(), DEEP_WORDS),
    "planar16.tif": (tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate"), DEEP_WORDS),
    "float.tif": (tiff(FLOATS[:, :, 0]), DEEP_WORDS),
    "float_with_nan.tif": (tiff(HOLED[:, :, 0]), DEEP_WORDS),
    "five_bands.tif": (tiff(np.zeros((32, 48, 5), np.uint8), planarconfig="contig"), r"5 bands .*data\.channels: 5"),
}  # fmt: skip
"""Refused where gray or RGB of 8 bits is wanted."""

RANGED: dict[str, tuple[bytes, np.ndarray | str]] = {
    "rgb16.png": (cv2.imencode(".png", DEEP[:, :, ::-1])[1].tobytes(), RGB),
    "rgb16.tif": (tiff(DEEP), RGB),
    "planar16.tif": (tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate"), RGB),
    "tiled16.tif": (tiff(DEEP, tile=(16, 16), compression="zlib"), RGB),
    "gray16.tif": (tiff(DEEP[:, :, 0]), thrice(GRAY)),
    "gray16.jp2": (encoded(Image.fromarray(DEEP[:, :, 0]), "JPEG2000"), thrice(GRAY)),
    "rgb16.jp2": (cv2.imencode(".jp2", DEEP[:, :, ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1].tobytes(), RGB),
    "rgb16.ppm": (cv2.imencode(".ppm", DEEP[:, :, ::-1])[1].tobytes(), RGB),
    "two_pages16.tif": (tiff(DEEP[None, :, :, 0].repeat(2, 0), photometric="minisblack"), thrice(GRAY)),
    "float.tif": (tiff(FLOATS * 4080), RGB),
    "float_with_nan.tif": (tiff(HOLED * 4080), r"holds 3 numbers that are not finite"),
    "five_bands.tif": (tiff(np.zeros((32, 48, 5), np.uint16), planarconfig="contig"), "holds 5 bands, wanted 3"),
    "bytes.png": (PNG, "holds 8 bits a channel, which data.value_range (0 to 4080) makes nearly black"),
}  # fmt: skip
"""Read by a range [0, 4080]: sixteen stored numbers a gray level."""


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    try:
        path.write_bytes(data)
    except OSError:
        pytest.skip("this file system takes no such name")
    return path


def told(path: Path, value_range: Any = None) -> Any:
    """The pixels of a file named on the command line, or the words in their place."""
    (picture,) = find_pictures(path)
    try:
        return picture.read(3, value_range)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", READ)
def test_read_as_others_read_it(name: str, tmp_path: Path) -> None:
    data, expected = READ[name]
    path = written(tmp_path, name, data)
    found = told(path)
    assert found.shape == expected.shape, found
    lossy = 3 if data.startswith(b"\xff\xd8") else 0
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=lossy)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_these_words(name: str, tmp_path: Path) -> None:
    data, words = REFUSED[name]
    found = told(written(tmp_path, name, data))
    assert isinstance(found, str)
    assert name in found
    assert re.search(words, found)


@pytest.mark.parametrize("name", RANGED)
def test_stored_numbers_by_the_range_of_the_config(name: str, tmp_path: Path) -> None:
    data, expected = RANGED[name]
    found = told(written(tmp_path, name, data), [0, 4080])
    if isinstance(expected, str):
        assert expected in found
    else:
        assert np.array_equal(found, expected), found


def test_a_job_over_the_whole_corpus_does_what_can_be_done_and_names_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, (data, _) in {**READ, **REFUSED}.items():
        written(tmp_path / "in", name, data)
    odd_entries(tmp_path / "in")
    found = run_prediction(restored(dense_model()), [tmp_path / "in"], tmp_path / "out", ["mask"])
    assert found["images"] == len(READ) + len(REFUSED) + 1
    assert found["done"] == len(READ) + 1
    assert {Path(one["file"]).name for one in found["failed"]} == set(REFUSED)
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*.png")) == len(READ) + 1
    unread = "\n".join(found["unread"])
    assert "2 of 3 pages of in/animated.gif" in unread
    assert "--pages all reads every page" in unread
    for words in (
        "links that lead nowhere: loop.png",
        "a folder that they lie in: round",
        "pipes or devices",
        "(.psd)",
        "1 .txt",
    ):
        assert words in unread
    again = run_prediction(restored(dense_model()), [tmp_path / "in"], tmp_path / "out", resume=True)
    assert (again["skipped"], again["done"], again["failed"]) == (found["done"], 0, found["failed"])


def odd_entries(folder: Path) -> None:
    """What is no file, or of a kind that is not read: a folder called like a picture, loops, a pipe, others."""
    (folder / "folder.png").mkdir()
    (folder / "folder.png/inside.png").write_bytes(PNG)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    (folder / "layers.psd").write_bytes(b"8BPS")
    (folder / "notes.txt").write_text("seen")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "locked.png", PNG)
    path.chmod(0)
    assert "cannot be read: Permission denied" in told(path)


def test_a_file_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "locked.png", PNG)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read: Permission denied" in told(path)


def test_heic_with_and_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"
    with monkeypatch.context() as without:
        without.setattr(heic, "_READERS", ("no_such_package",))
        for name in ("a.heic", "a.jpg"):  # phones and messengers name them so
            found = told(written(tmp_path, name, box))
            assert f"{name}: is HEIC, which this installation does not read; pip install 'toolkit-dense[heic]'" in found
    writer = pytest.importorskip("pillow_heif", reason="only pillow-heif writes HEIC (extra heic)")
    file = tmp_path / "phone.heic"
    writer.from_pillow(Image.fromarray(RGB)).save(file, quality=-1, chroma=444)
    assert np.abs(told(file).astype(int) - RGB).max() <= 3
    assert image_size(file) == RGB.shape[:2]
    file.write_bytes(file.read_bytes()[:-200])
    assert "phone.heic: cannot be decoded" in told(file)


STACK = [RGB, RGB[:20], RGB[:, :31], RGB[4:, 6:]]


def stack(path: Path, kind: str) -> list[np.ndarray]:
    """A file of several pages, and what each of them is."""
    if kind == "tif":
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            for page in STACK:
                file.write(page, photometric="rgb", compression="zlib", subifds=0)
                file.write(page[::2, ::2], photometric="rgb", subfiletype=1)  # a smaller copy, as rasters have them
        return STACK
    if kind == "heic":
        writer = pytest.importorskip("pillow_heif", reason="only pillow-heif writes HEIC (extra heic)")
        writer.register_heif_opener()
    path.write_bytes(animation({"gif": "GIF", "webp": "WEBP", "png": "PNG", "heic": "HEIF"}[kind]))
    with Image.open(path) as image:
        pages = []
        for number in range(len(FRAMES)):
            image.seek(number)
            pages.append(np.asarray(image.convert("RGB")))
    return pages


@pytest.mark.parametrize("kind", ["tif", "gif", "webp", "png", "heic"])
def test_every_page_is_the_picture_that_it_is_in_a_file_of_its_own(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan.{kind}"
    pages = stack(path, kind)
    single = written(tmp_path, "single.png", PNG)
    found = find_pictures([path, single, path], "all")
    names = [f"scan_page{number:04d}.{kind}" for number in range(1, len(pages) + 1)]
    assert list(found.names) == [picture.name for picture in found] == [*names, "single.png"]
    assert found[1:3] == list(found)[1:3]
    for picture, expected in [*zip(found, pages, strict=False)][::-1]:  # backwards too
        assert np.array_equal(picture.read(3), expected)
        gray = cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY)
        assert np.array_equal(picture.read(1)[:, :, 0], gray)
    (first,) = find_pictures(path)
    image, left = first.read_and_count(3)
    assert np.array_equal(image, pages[0])
    assert left == len(pages) - 1


def test_what_is_left_is_told_in_python_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stack(tmp_path / "scan.tif", "tif")
    (tmp_path / "notes.txt").write_text("seen")
    for results in (predict(dense_model(), tmp_path), Predictor(dense_model()).stream(tmp_path)):
        assert [one.left for one in results] == [3]
        assert "files that are no pictures were not read: 1 .txt" in caplog.text
        assert 'scan.tif are not used: only the first is read; pages="all" reads every page' in caplog.text
        caplog.clear()
    assert len(list(predict(dense_model(), tmp_path, pages="all"))) == len(STACK)
    assert len(list(Predictor(dense_model(), pages="all").stream(tmp_path))) == len(STACK)
    rows = {"path": np.array([str(tmp_path / "scan.tif")])}
    assert Predictor(dense_model())(rows)["labels"][0].shape == RGB.shape[:2]
    with pytest.raises(ConfigError, match="a row has one answer"):
        Predictor(dense_model(), pages="all")(rows)


def test_pages_of_many_bits_and_pages_that_are_bands(tmp_path: Path) -> None:
    volume = np.stack([DEEP[:, :, 0] + number for number in range(4)])
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, volume, photometric="minisblack")
    pages = find_pictures(path, "all")
    for page, own in zip(pages, volume, strict=True):
        assert np.array_equal(page.read(1, [0, 255])[:, :, 0], np.minimum(own, 255))
    (whole,) = find_pictures(path, "all", bands=4)
    assert np.array_equal(whole.read(4, [0, 4095]), find_pictures(path)[0].read(4, [0, 4095]))
    assert whole.read_and_count(4, [0, 4095])[1] == 0
    with pytest.raises(DataError, match=DEEP_WORDS):
        pages[1].read(3)


def test_shares_and_a_resumed_job_of_pages_are_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    stack(folder / "scan.tif", "tif")
    stack(folder / "loop.gif", "gif")
    (folder / "scan_page0002.png").write_bytes(PNG)  # a name that a page wants too
    model, options = restored(dense_model()), {"formats": ["mask"], "pages": "all"}
    whole = run_prediction(model, [folder], tmp_path / "one", **options)
    assert (whole["images"], whole["done"], whole["unread"]) == (8, 8, [])
    names = {path.name for path in (tmp_path / "one").glob("*.png")}
    assert names == {f"loop_page000{number}.png" for number in (1, 2, 3)} | {
        "scan_page0001.png", "scan_page0002_tif.png", "scan_page0002_png.png", "scan_page0003.png", "scan_page0004.png",
    }  # fmt: skip
    for number in (1, 2, 3):
        run_prediction(model, [folder], tmp_path / "shared", share=Share(number, 3), **options)
    merge_shares(tmp_path / "shared")
    assert tree(tmp_path / "shared") == tree(tmp_path / "one")
    (tmp_path / "one/scan_page0003.png").unlink()
    lines = (tmp_path / "one/journal.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "one/journal.jsonl").write_text("".join(lines[:-3]) + lines[-2][:30])  # a kill inside a line
    again = run_prediction(model, [folder], tmp_path / "one", resume=True, **options)
    assert (again["skipped"], again["done"]) == (5, 3)
    assert tree(tmp_path / "one") == tree(tmp_path / "shared")
    with pytest.raises(ConfigError, match='pages was "all" and would be "first"'):
        run_prediction(model, [folder], tmp_path / "one", ["mask"], resume=True)


def test_pages_that_are_left_are_told_where_a_file_is_read_by_window_too(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="files are read by window with rasterio")
    stack(tmp_path / "scan.tif", "tif")
    found = run_prediction(restored(dense_model()), [tmp_path / "scan.tif"], tmp_path / "out", ["geotiff"])
    assert found["done"] == 1, found["failed"]
    assert "3 of 4 pages of" in "\n".join(found["unread"])


@pytest.mark.parametrize("pages", ["first", "all"])
def test_a_page_that_is_damaged_costs_no_other(pages: Pages, tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    stack(path, "tif")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[2].dataoffsets[0]
    data[at + 20 : at + 60] = bytes(40)
    path.write_bytes(data)
    found = run_prediction(restored(dense_model()), [path], tmp_path / "out", ["mask"], pages=pages)
    assert found["done"] == (1 if pages == "first" else 3)
    assert [one["file"] for one in found["failed"]] == ([] if pages == "first" else [f"{path} (page0002)"])

"""Every fault of an image file, planted alone in a sound data set, is the one thing that is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from broken_data import CLASSES, MAKERS, make_pairs, mask, only, picture, save, scanned
from PIL import Image

from toolkit.preflight.findings import Fact, Report

FIRST = {
    "pairs": "images/p01.jpg", "camvid": "images/train/c1.jpg", "voc": "JPEGImages/v1.jpg", "coco": "train/k1.jpg",
    "yolo": "images/train/y1.jpg",
}  # fmt: skip
LAYOUTS = sorted(FIRST)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_data_set_has_no_findings(layout: str, tmp_path: Path) -> None:
    report = scanned(layout, MAKERS[layout](tmp_path))
    assert not report.findings, [str(one.problem) for one in report.findings]
    assert report.facts[:2] == [Fact("read", "train: 6 samples, 0 bad"), Fact("read", "val: 3 samples, 0 bad")]


def broken(layout: str, root: Path, change: Callable[[Path], object]) -> tuple[Report, Path]:
    path = MAKERS[layout](root) / FIRST[layout]
    change(path)
    return scanned(layout, root), path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncated(layout: str, tmp_path: Path) -> None:
    report, path = broken(layout, tmp_path, lambda p: p.write_bytes(p.read_bytes()[:-300]))
    found = only(report)
    assert (found.kind, found.severity, found.files) == ("truncated", "error", (str(path),))
    assert str(found.problem) == (
        f"{path}: the JPEG is truncated: the end-of-image marker is missing; fetch it again, or remove it"
    )
    assert report.facts[0] == Fact("read", "train: 6 samples, 1 bad")
    assert report.exit_code == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_empty(layout: str, tmp_path: Path) -> None:
    report, path = broken(layout, tmp_path, lambda p: p.write_bytes(b""))
    assert only(report).problem.message == "the file is empty (0 bytes)"
    assert only(report).files == (str(path),)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_image(layout: str, tmp_path: Path) -> None:
    report, _ = broken(layout, tmp_path, lambda p: p.write_text("<html>404</html>" * 20))
    assert only(report).kind == "not_an_image"
    assert only(report).problem.message == "is no image of a known format"


@pytest.mark.parametrize("hole", [b"\0" * 400, bytes(range(1, 201)) * 2])
def test_a_jpeg_damaged_in_the_middle_with_an_intact_end(hole: bytes, tmp_path: Path) -> None:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + len(hole)] = hole
        path.write_bytes(data)

    report, path = broken("pairs", tmp_path, damage)
    found = only(report)
    assert (found.kind, found.files) == ("damaged", (str(path),))
    assert "is damaged inside, though its end is intact (" in found.problem.message


def test_png_called_jpg(tmp_path: Path) -> None:
    def rename(path: Path) -> None:
        Image.fromarray(picture(1)).save(path, format="PNG")

    report, path = broken("pairs", tmp_path, rename)
    found = only(report)
    assert (found.kind, found.severity, found.files) == ("wrong_extension", "warning", (str(path),))
    assert found.problem.message == "1 file with an extension of another format: images/p01.jpg is a PNG"


def test_a_mask_with_a_wrong_extension(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    Image.fromarray(mask(1)).save(tmp_path / "masks/p01.png", format="BMP")
    assert only(scanned("pairs", tmp_path)).problem.message.endswith("masks/p01.png is a BMP")


def with_orientation(path: Path, pixels: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, quality=92, exif=exif)


def test_exif_orientation_that_fits_its_mask_is_a_warning(tmp_path: Path) -> None:
    report, path = broken("pairs", tmp_path, lambda p: with_orientation(p, np.rot90(picture(1)).copy(), 6))
    found = only(report)
    assert (found.kind, found.severity, found.files) == ("exif_orientation", "warning", (str(path),))
    assert found.problem.message == (
        "1 image that an EXIF tag turns or mirrors when read (1 turned by 90 degrees): images/p01.jpg"
    )


def test_exif_orientation_of_an_image_whose_mask_was_not_turned(tmp_path: Path) -> None:
    report, _ = broken("pairs", tmp_path, lambda p: with_orientation(p, picture(1), 6))
    kinds = {one.kind: one for one in report.findings}
    assert kinds["mask_size_exif"].severity == "error"
    assert "drawn on the unturned picture" in kinds["mask_size_exif"].problem.suggestion
    assert set(kinds) == {"mask_size_exif", "exif_orientation"}


def test_exif_orientation_of_an_image_whose_boxes_were_not_turned(tmp_path: Path) -> None:
    report, path = broken("voc", tmp_path, lambda p: with_orientation(p, picture(1), 6))
    found = next(one for one in report.findings if one.severity == "error")
    assert (found.kind, found.files) == ("image_size_exif", (str(path),))


def rgba() -> Image.Image:
    return Image.fromarray(np.dstack([picture(1), np.full((96, 128), 200, np.uint8)]))


@pytest.mark.parametrize(
    ("image", "kind", "severity", "words"),
    [
        (lambda: rgba(), "alpha", "warning", "1 image with an alpha channel, which is dropped, not blended: images/p01.png"),
        (lambda: Image.fromarray(picture(1)).quantize(200), "palette", "warning", "1 image with a palette, read as"),
        (lambda: Image.fromarray(picture(1)).convert("L"), "gray_image", "warning", "1 of 6 images are gray, read as three"),
        (lambda: Image.fromarray(picture(1)[..., 0].astype(np.uint16) * 200), "deep", "error", "found 16 bits a channel"),
    ],
)  # fmt: skip
def test_uncommon_pngs(image: Callable[[], Image.Image], kind: str, severity: str, words: str, tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "images/p01.jpg").unlink()
    image().save(tmp_path / "images/p01.png")
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity, found.files) == (kind, severity, (str(tmp_path / "images/p01.png"),))
    assert words in found.problem.message


@pytest.mark.parametrize(
    ("mode", "words"),
    [("I;16", "found a TIFF with 16 bits a channel"), ("F", "found a TIFF with floating-point numbers")],
)
def test_deep_tiffs_are_named_in_words(mode: str, words: str, tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "images/p01.jpg").unlink()
    kind = np.uint16 if mode == "I;16" else np.float32
    Image.fromarray(picture(1)[..., 0].astype(kind)).save(tmp_path / "images/p01.tif")
    found = only(scanned("pairs", tmp_path))
    assert found.kind == "deep"
    assert words in found.problem.message


def test_a_tiff_of_four_deep_bands_is_named_in_words(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    source = real_data("geotiff_samples") / "RGBA.uint16.tif"
    make_pairs(tmp_path)
    (tmp_path / "images/p01.jpg").unlink()
    (tmp_path / "images/p01.tif").write_bytes(source.read_bytes())
    found = only(scanned("pairs", tmp_path))
    assert found.problem.message == "is a TIFF of 4 bands of 16-bit whole numbers, which cannot be read"


def test_cmyk(tmp_path: Path) -> None:
    report, _ = broken("pairs", tmp_path, lambda p: Image.fromarray(picture(1)).convert("CMYK").save(p))
    assert only(report).kind == "cmyk"
    assert only(report).problem.message.startswith("1 image in CMYK, converted to RGB")


def test_several_pages(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "images/p01.jpg").unlink()
    pages = [Image.fromarray(picture(seed)) for seed in (1, 50, 51)]
    pages[0].save(tmp_path / "images/p01.tif", save_all=True, append_images=pages[1:])
    assert only(scanned("pairs", tmp_path)).kind == "frames"


def test_colour_among_gray(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    for path in sorted((tmp_path / "images").iterdir())[1:]:
        Image.open(path).convert("L").save(path)
    found = only(scanned("pairs", tmp_path, channels=1))
    assert (found.kind, found.files) == ("color_image", (str(tmp_path / "images/p00.jpg"),))


def test_an_image_of_another_size_than_all_others(tmp_path: Path) -> None:
    make_pairs(tmp_path, count=12)
    save(tmp_path / "images/p03.jpg", picture(3, (64, 64)))
    save(tmp_path / "masks/p03.png", mask(3, (64, 64)))
    found = only(scanned("pairs", tmp_path))
    assert found.kind == "odd_size"
    assert found.problem.message == "1 image of another size (64x64) than the others' 96x128: images/p03.jpg"


@pytest.mark.parametrize(("size", "kind"), [((16, 18), "small_image"), ((480, 600), "large_image")])
def test_images_much_smaller_or_larger_than_the_median(size: tuple[int, int], kind: str, tmp_path: Path) -> None:
    make_pairs(tmp_path, count=12)
    for seed in range(12):
        chosen = size if seed == 5 else (90 + seed, 120 + seed)
        save(tmp_path / f"images/p{seed:02d}.jpg", picture(seed, chosen))
        labels = np.zeros(chosen, np.uint8)
        labels[: chosen[0] // 4], labels[chosen[0] // 2 :] = 1, 2
        save(tmp_path / f"masks/p{seed:02d}.png", labels)
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.files) == (kind, (str(tmp_path / "images/p05.jpg"),))


def test_many_files_with_one_fault_are_one_finding(tmp_path: Path) -> None:
    make_pairs(tmp_path, count=12)
    paths = [tmp_path / f"images/p{seed:02d}.jpg" for seed in range(2, 10)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-200])
    found = only(scanned("pairs", tmp_path))
    assert (found.number, found.files) == (8, tuple(map(str, paths)))
    assert found.problem.message == (
        "8 files are truncated: images/p02.jpg, images/p03.jpg, images/p04.jpg, images/p05.jpg, images/p06.jpg and 3 more"
    )


def test_processes_find_the_same(tmp_path: Path) -> None:
    make_pairs(tmp_path, count=40)
    (tmp_path / "images/p33.jpg").write_bytes(b"")
    assert len(CLASSES) == 3
    here, there = scanned("pairs", tmp_path), scanned("pairs", tmp_path, workers=2)
    assert here.as_json() == there.as_json()
    assert only(here).kind == "empty"

"""The page of a check: everything the report says is on it, and nothing that a file is called becomes markup."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_reader import read_page
from PIL import Image

from toolkit.errors import Problem
from toolkit.preflight.findings import BoxNumbers, ClassNumbers, Fact, Finding, FoundBox, Report, SplitNumbers, Table
from toolkit.report.check.page import check_page
from toolkit.report.thumbnails import SIDE, Mark, thumbnail

HOSTILE = "<img src=x onerror=alert(1)> & \"'--><script>.jpg"


def decoded(data: str | None) -> np.ndarray:
    assert data is not None
    head, _, body = data.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def picture(path: Path, size: tuple[int, int] = (300, 480), value: int = 90) -> Path:
    image = np.full((*size, 3), value, np.uint8)
    image[:, : size[1] // 2] = (200, 40, 40)
    Image.fromarray(image).save(path)
    return path


def test_everything_found_is_on_the_page(tmp_path: Path) -> None:
    good, empty = picture(tmp_path / "a.png"), tmp_path / "b.png"
    empty.write_bytes(b"")
    report = Report(facts=[Fact("data", "train: 2 images"), Fact("", "no such word")])
    report.add(
        Finding("unreadable", Problem("train", "1 image is bad", "fetch it"), number=2, files=(str(good), str(empty)))
    )
    report.add(Finding("rare", Problem("", "class 3 is rare", ""), "warning"))
    report.tables.append(Table("Sizes", ["class", "boxes"], [["cat", "12"], ["dog", "7"]]))
    report.statistics.update(loss={"total": 2.5}, frequencies={"cat": 0.75, "dog": 0.2, "cow": 0.05}, image_size=[3, 4])
    page = read_page(check_page(report, "my config"))
    for words in ("1 error, 1 warning", "1 image is bad", "fetch it", "class 3 is rare", "train: 2 images", "Sizes",
                  "dog", "0.75", "Frequencies", "3, 4", "is empty (0 bytes)", "a.png", "480×300"):  # fmt: skip
        assert words in page.text, words
    assert len(page.named("img")) == 1
    assert decoded(page.named("img")[0]["src"]).shape == (150, SIDE, 3)


@pytest.mark.parametrize(("severities", "headline"), [
    ([], "ok"), (["warning"], "ok, with 1 warning"), (["warning"] * 2, "ok, with 2 warnings"),
    (["error"], "1 error"), (["error", "error", "warning"], "2 errors, 1 warning"),
])  # fmt: skip
def test_headline(severities: list[str], headline: str) -> None:
    report = Report()
    for number, severity in enumerate(severities):
        report.add(Finding("kind", Problem("", f"fault {number}"), severity))  # type: ignore[arg-type]
    page = read_page(check_page(report, "name"))
    assert headline in [words.strip() for words in page.words]


def test_nothing_from_outside_becomes_markup(tmp_path: Path) -> None:
    folder = tmp_path / "<b>folder"
    folder.mkdir()
    file = picture(folder / HOSTILE.replace("/", ""))
    report = Report(facts=[Fact("data", HOSTILE)])
    missing = str(folder / "none<svg onload=alert(1)>.png")
    report.add(Finding("box<i>d", Problem(HOSTILE, HOSTILE, HOSTILE), files=(str(file), missing, *[HOSTILE] * 20)))
    report.tables.append(Table(HOSTILE, [HOSTILE], [[HOSTILE]]))
    report.statistics.update({HOSTILE: {HOSTILE: 1, "b": 2, "c": 3}, "x": {HOSTILE: {HOSTILE: HOSTILE}}, "y": HOSTILE})
    marks = {str(file): [Mark((1, 1, 50, 50), HOSTILE)]}
    html = check_page(report, HOSTILE, [HOSTILE], [(1, 2, 3)], marks=lambda path: marks.get(path, ()))
    page = read_page(html)
    assert not page.named("b")
    assert not page.named("i")
    assert len(page.named("img")) == 1
    assert page.text.count(HOSTILE) >= 8
    assert "<script" not in html


def test_few_pictures_however_many_files(tmp_path: Path) -> None:
    file = str(picture(tmp_path / "a.jpg"))
    report = Report()
    for number in range(30):
        report.add(
            Finding(
                "kind",
                Problem("", f"fault {number}"),
                number=500,
                files=(file,) * 500,
            )
        )
    html = check_page(report, "many")
    page = read_page(html)
    assert len(page.named("img")) == 72
    assert "494 more files" in page.text
    assert len(html) < 2_000_000


def test_a_label_map_is_shown_in_its_classes_colours(tmp_path: Path) -> None:
    labels = np.repeat(np.array([[0, 1, 2, 255]], np.uint8), 40, 0).repeat(20, 1)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    shown = decoded(thumbnail(str(tmp_path / "mask.png"), [(10, 20, 30), (200, 0, 0), (0, 200, 0)]).data)
    assert [tuple(shown[20, x]) for x in (10, 30, 50, 70)] == [
        (10, 20, 30), (200, 0, 0), (0, 200, 0), (224, 224, 192),
    ]  # fmt: skip


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((480, 480, 3), np.uint8)).save(tmp_path / "a.png")
    Image.effect_noise((480, 480), 80).convert("RGB").save(tmp_path / "a.png")
    plain = decoded(thumbnail(str(tmp_path / "a.png")).data).astype(int)
    marked = decoded(thumbnail(str(tmp_path / "a.png"), marks=[Mark((100, 200, 300, 400), "")]).data).astype(int)
    changed = np.argwhere(np.abs(marked - plain).max(2) > 60)
    assert np.abs(changed.min(0) - (100, 50)).max() <= 16  # a word's tag may stand above
    assert np.abs(changed.max(0) - (200, 150)).max() <= 3


@pytest.mark.parametrize(("name", "data", "reason"), [
    ("empty.jpg", b"", "empty"),
    ("text.png", b"not a picture", "is not an image"),
    ("cut.png", None, "truncated"),
    ("notes.txt", b"words", "not an image"),
])  # fmt: skip
def test_files_without_a_picture_say_why(tmp_path: Path, name: str, data: bytes | None, reason: str) -> None:
    if data is None:
        whole = picture(tmp_path / "whole.png", value=7).read_bytes()
        data = whole[:60]
    (tmp_path / name).write_bytes(data)
    shown = thumbnail(str(tmp_path / name))
    assert shown.data is None
    assert reason in shown.reason
    assert "no such file" in thumbnail(str(tmp_path / "missing.png")).reason
    assert "folder" in thumbnail(str(tmp_path)).reason


def test_what_a_broken_off_jpeg_still_holds_is_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (400, 300))
    Image.fromarray(image).save(tmp_path / "whole.jpg", quality=95)
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    cut, full = (decoded(thumbnail(str(tmp_path / f"{name}.jpg")).data).astype(int) for name in ("cut", "whole"))
    assert cut.shape == full.shape
    assert np.abs(cut[:60] - full[:60]).mean() < 12
    assert np.abs(cut[-40:] - full[-40:]).mean() > 30


def test_statistics_of_the_data_are_drawn() -> None:
    classes = {
        "sky": ClassNumbers(10, pixels=7500),
        "road": ClassNumbers(8, pixels=2499),
        "pole": ClassNumbers(1, pixels=1),
    }
    boxes = BoxNumbers(60, 3, 10, 20, 30, (0.0, 4.0, 9.0), (3.0, 40.5, 200.0), (3.0, 40.0, 200.0), (0.5, 1.0, 2.0))
    train = SplitNumbers(
        12, 0, classes, None, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), ignored_pixels=10000,
        median_frequency_weights=(0.3333, 1.0, 777.0), boxes=boxes,
    )  # fmt: skip
    val = SplitNumbers(0, 0, {name: ClassNumbers(0) for name in classes})
    report = Report(statistics={"other": 3}, data={"train": train, "val": val})
    html = check_page(report, "x", ["sky", "road", "pole"], [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    page = read_page(html)
    for words in ("75 % · 10 img · w 0.333", "25 % · 8 img · w 1", "0.01 % · 1 img · w 777", "50 % of all pixels are ignored",
                  "60 boxes; 3 images without", "40.5", "0.2000", "0.6000", "medium, below 96×96: 20"):  # fmt: skip
        assert words in page.text, words
    assert html.count("rgb(4,5,6)") == 2
    assert "rgb(7,8,9)" in html


def marked_red(html: str) -> np.ndarray:
    """Where the only picture of a page is marked."""
    (picture_,) = read_page(html).named("img")
    red, green, blue = (decoded(picture_["src"])[:, :, channel].astype(int) for channel in range(3))
    return (red > 180) & (green < 110) & (blue < 110)


def test_a_box_that_cannot_be_used_is_drawn(tmp_path: Path) -> None:
    file = str(tmp_path / "a.png")
    Image.fromarray(np.full((240, 240, 3), 120, np.uint8)).save(file)
    report = Report()
    problem = Problem("a.xml", "box [200, 40, 60, 180] is -140 wide")
    report.add(Finding("boxes_without_area", problem, files=(file,), boxes=(FoundBox(file, (60, 40, 200, 180)),)))
    rows, columns = np.nonzero(marked_red(check_page(report, "x", marks=lambda path: ())))
    assert (np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - (60, 40, 200, 180)) <= 4).all()


def test_only_the_boxes_at_fault_are_red(tmp_path: Path) -> None:
    file = str(tmp_path / "a.png")
    Image.fromarray(np.full((240, 240, 3), 120, np.uint8)).save(file)
    marks = [Mark((10, 10, 60, 60), "a"), Mark((100.2, 99.9, 200, 200), "b")]
    report = Report()
    boxes = (FoundBox(file, (100, 100, 200, 200), "b"), FoundBox("another.png", (10, 10, 60, 60), "a"))
    report.add(Finding("tiny_box", Problem("data.train", "1 box is odd"), "warning", files=(file,), boxes=boxes))
    red = marked_red(check_page(report, "x", marks=lambda path: marks))
    assert not red[:80].any()
    assert red[95:205, 95:205].sum() > 300


def test_annotation_files_are_listed_not_pictured(tmp_path: Path) -> None:
    report = Report()
    report.add(Finding("unlisted_label", Problem("", "2 stray files"), files=("/data/a.xml", "/data/b.txt")))
    page = read_page(check_page(report, "x"))
    assert "2 files" in page.text
    assert "/data/a.xml" in page.words
    assert not [attributes for attributes in page.named("div") if attributes.get("class") == "broken"]


def test_words_of_a_decoder_do_not_reach_the_page_and_a_limit_is_no_damage(tmp_path: Path) -> None:
    sound, cut, claimed = (tmp_path / name for name in ("sound.jpg", "cut.jpg", "claimed.png"))
    Image.fromarray(np.full((64, 80, 3), 90, np.uint8)).save(sound)
    cut.write_bytes(sound.read_bytes()[:300])
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    claimed.write_bytes(b"".join([b"\x89PNG\r\n\x1a\n", *chunks]))
    assert thumbnail(str(cut)).reason == "is truncated or damaged: nothing of it can be decoded"
    assert thumbnail(str(claimed)).reason == "too many pixels for a thumbnail"

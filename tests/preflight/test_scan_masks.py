"""Every fault of a mask, planted alone in a sound data set, is the one thing that is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_data import CLASSES, MAKERS, SIZE, make_pairs, mask, only, picture, save, scanned
from PIL import Image

from toolkit.preflight.findings import Fact

FIRST = {"pairs": "masks/p01.png", "camvid": "annotations/train/c1.png"}
LAYOUTS = sorted(FIRST)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mask_of_another_size(layout: str, tmp_path: Path) -> None:
    path = MAKERS[layout](tmp_path) / FIRST[layout]
    labels = np.asarray(Image.open(path))
    save(path, labels[:-6].copy())
    found = only(scanned(layout, tmp_path))
    assert (found.kind, found.severity, found.files) == ("mask_size", "error", (str(path),))
    assert "the mask is 90x128 (height x width), its image" in found.problem.message


def test_a_label_outside_the_table_of_camvid(tmp_path: Path) -> None:
    path = MAKERS["camvid"](tmp_path) / FIRST["camvid"]
    labels = np.asarray(Image.open(path)).copy()
    labels[40:44, 60:70] = 30
    save(path, labels)
    found = only(scanned("camvid", tmp_path))
    assert (found.kind, found.files) == ("unknown_label", (str(path),))
    assert found.problem.message == (
        "holds values outside the table: 30 (40 pixels); label_values names 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255"
    )


def test_labels_outside_the_table_of_many_masks_are_counted_together(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    for name, value in (("p01", 30), ("p02", 30), ("p04", 7)):
        labels = np.asarray(Image.open(tmp_path / f"masks/{name}.png")).copy()
        labels[60:64, 60:70] = value
        save(tmp_path / f"masks/{name}.png", labels)
    found = only(scanned("pairs", tmp_path))
    assert found.number == 3
    assert found.problem.message == (
        "3 masks hold values outside the table: 30 (80 pixels in 2), 7 (40 pixels in 1); wanted 0..2 for the 3 classes, "
        "or 255 (ignore); in masks/p01.png, masks/p02.png, masks/p04.png"
    )
    assert found.problem.suggestion.startswith("name the missing classes")


def test_binary_masks_of_255_are_answered_with_the_table_to_write(tmp_path: Path) -> None:
    from toolkit.data.datasets.image_masks import ImageMasks
    from toolkit.preflight.data.scan import ScanSplit, scan
    from toolkit.preflight.findings import Report

    make_pairs(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        save(path, (np.asarray(Image.open(path)) == 1).astype(np.uint8) * 255)
    report = Report()
    scan(report, [ScanSplit("train", ImageMasks(["no", "yes"], str(tmp_path), split="train.txt"))], 0, shown=False)
    found = next(one for one in report.findings if one.severity == "error")
    assert (found.kind, found.number) == ("binary_mask", 6)
    assert found.problem.suggestion.startswith("say label_values: {0: 0, 255: 1} for a binary mask")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_colour_mask_names_its_colours_and_the_remedy(layout: str, tmp_path: Path) -> None:
    path = MAKERS[layout](tmp_path) / FIRST[layout]
    colors = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 192]], np.uint8)
    save(path, colors[mask(1) % 3])
    found = only(scanned(layout, tmp_path))
    assert found.kind == "color_mask"
    assert "a colour mask with 3 colours ([0, 0, 0], [0, 0, 192], [128, 64, 128])" in found.problem.message
    assert "colors: {class name: [r, g, b], ...}" in found.problem.suggestion


def test_a_jpeg_mask(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "masks/p01.png").unlink()
    save(tmp_path / "masks/p01.jpg", mask(1))
    found = only(scanned("pairs", tmp_path))
    assert found.kind == "jpeg_mask"
    assert found.problem.message == "the mask is a JPEG, whose compression changes values"


def test_a_mask_of_floats(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "masks/p01.png").unlink()
    Image.fromarray(mask(1) + np.float32(0.5)).save(tmp_path / "masks/p01.tif")
    assert only(scanned("pairs", tmp_path)).problem.message == (
        "the mask (TIFF) holds floating-point numbers that are not whole, so no class ids"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_mask(layout: str, tmp_path: Path) -> None:
    path = MAKERS[layout](tmp_path) / FIRST[layout]
    path.write_bytes(path.read_bytes()[:-20])
    found = only(scanned(layout, tmp_path))
    assert (found.kind, found.files) == ("truncated", (str(path),))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (255, "mask_ignored", "1 mask in which every pixel is ignored: masks/p01.png"),
        (2, "mask_constant", "1 mask with a single class everywhere (other): masks/p01.png"),
    ],
)
def test_masks_with_nothing_in_them(value: int, kind: str, words: str, tmp_path: Path) -> None:
    make_pairs(tmp_path)
    save(tmp_path / "masks/p01.png", np.full(SIZE, value, np.uint8))
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity, found.problem.message) == (kind, "warning", words)


def test_an_image_without_mask_and_a_mask_without_image(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "masks/p01.png").unlink()
    save(tmp_path / "masks/q.png", mask(3))
    report = scanned("pairs", tmp_path)
    found = {one.kind: one for one in report.findings}
    assert set(found) == {"no_mask", "unlisted_label"}
    assert found["no_mask"].severity == "error"
    assert found["no_mask"].files == (str(tmp_path / "images/p01.jpg"),)
    assert found["no_mask"].problem.message == "1 image(s) of the split have no mask: p01"
    assert found["unlisted_label"].problem.message == "1 label file(s) of no image: q.png"
    assert report.facts[0] == Fact("read", "train: 6 samples, 1 bad")


def test_an_image_in_no_list(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    save(tmp_path / "images/q.jpg", picture(77))
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.files) == ("unlisted_image", (str(tmp_path / "images/q.jpg"),))


def test_a_split_that_names_what_is_not_there_and_a_name_twice(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "train.txt").write_text("p00\np01\np02\np03\np04\np05\np01\nnowhere\n")
    found = {one.kind: one for one in scanned("pairs", tmp_path).findings}
    assert set(found) == {"image_missing", "listed_twice"}
    assert found["image_missing"].problem.message == "1 image(s) of the split not found: nowhere"
    assert found["listed_twice"].problem.message == "1 name(s) stand more than once: p01"


def test_all_faults_of_a_data_set_are_found_at_once(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    (tmp_path / "masks/p00.png").unlink()
    (tmp_path / "images/p01.jpg").write_bytes(b"")
    save(tmp_path / "masks/p02.png", np.full(SIZE, 9, np.uint8))
    save(tmp_path / "images/p07.jpg", picture(7, (100, 128)))
    kinds = {(one.kind, one.problem.where.partition(":")[0]) for one in scanned("pairs", tmp_path).findings}
    assert {kind for kind, _ in kinds} == {"no_mask", "empty", "unknown_label", "mask_size"}


def test_statistics_are_those_of_the_label_maps(tmp_path: Path) -> None:
    from toolkit.data.classes.frequencies import class_counts, median_frequency_weights
    from toolkit.data.datasets.image_masks import ImageMasks

    make_pairs(tmp_path)
    report = scanned("pairs", tmp_path)
    train = report.as_json()["statistics"]["data"]["train"]
    dataset = ImageMasks(CLASSES, str(tmp_path), split="train.txt")
    counts = class_counts(dataset)
    assert [train["classes"][name]["pixels"] for name in CLASSES] == counts.pixels.tolist()
    assert train["median_frequency_weights"] == [float(f"{w:.4g}") for w in median_frequency_weights(counts)]
    pixels = np.concatenate([dataset[i].image.reshape(-1, 3) for i in range(len(dataset))]) / 255
    np.testing.assert_allclose(train["pixel_mean"], pixels.mean(0), atol=2e-5)
    np.testing.assert_allclose(train["pixel_std"], pixels.std(0), atol=2e-5)
    assert train["sizes"] == {"smallest": [96, 128], "median": [96, 128], "largest": [96, 128], "different": 1}
    weights = ", ".join(f"{w:.4g}" for w in train["median_frequency_weights"])
    assert Fact("weights", f"class_weights: [{weights}]  # median frequency, of train") in report.facts


def test_weights_that_are_far_apart_are_warned_of_with_softer_ones(tmp_path: Path) -> None:
    root = make_pairs(tmp_path)
    for path in (root / "masks").iterdir():
        labels = np.zeros((96, 128), np.uint8)
        labels[:10], labels[50, 50] = 1, 2
        save(path, labels)
    report = scanned("pairs", root)
    train = report.data["train"]
    frequencies = np.array([86 * 128 - 1, 10 * 128, 1]) / (96 * 128)
    assert train.median_frequency_weights == pytest.approx(np.median(frequencies) / frequencies, rel=1e-3)
    warning = only(report)
    assert (warning.kind, warning.severity) == ("class_weights_ratio", "warning")
    softer = [0.341, 1.0, 10.0]  # square roots, the last cut from 35.8
    assert "differ by a factor of 11006" in warning.problem.message  # 86 * 128 - 1 pixels against one, in four digits
    assert "class_weights: [" + ", ".join(f"{one:g}" for one in softer) + "]" in warning.problem.suggestion
    (line,) = [fact.text for fact in report.facts if fact.topic == "weights" and "softer" in fact.text]
    assert line.startswith("class_weights: [0.341, 1, 10]")

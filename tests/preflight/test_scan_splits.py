"""Copies within and between splits, and classes that only one split has."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from broken_data import CLASSES, SIZE, make_pairs, mask, only, picture, save, scanned
from PIL import Image

from toolkit.data.images.fingerprint import hash_bits, mirrored_bits, near_pairs, perceptual_hash, pixel_digest


def test_the_same_image_in_two_splits(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    shutil.copy(tmp_path / "images/p02.jpg", tmp_path / "images/p07.jpg")
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity, found.number) == ("same_image", "error", 1)
    assert found.files == (str(tmp_path / "images/p07.jpg"), str(tmp_path / "images/p02.jpg"))
    assert found.problem.message == (
        "1 of the 3 images of val are in train too, pixel for pixel: images/p07.jpg = images/p02.jpg"
    )


def test_the_same_pixels_in_another_format(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "images/p02.jpg"))
    (tmp_path / "images/p07.jpg").unlink()
    save(tmp_path / "images/p07.png", pixels)
    assert only(scanned("pairs", tmp_path)).kind == "same_image"


@pytest.mark.parametrize("change", ["encoded", "resized", "brighter", "mirrored"])
def test_a_near_copy_in_two_splits(change: str, tmp_path: Path) -> None:
    make_pairs(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "images/p02.jpg")).copy()
    if change == "resized":
        pixels = cv2.resize(cv2.resize(pixels, (80, 60)), SIZE[::-1])
    elif change == "brighter":
        pixels = np.clip(pixels * 1.08, 0, 255).astype(np.uint8)
    elif change == "mirrored":
        pixels = pixels[:, ::-1].copy()
    Image.fromarray(pixels).save(tmp_path / "images/p07.jpg", quality=60)
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity, found.number) == ("near_copy", "warning", 1)
    assert found.problem.message.startswith(
        "1 of the 3 images of val are near copies (or mirror images) of one in train"
    )


def test_copies_within_a_split(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    shutil.copy(tmp_path / "images/p02.jpg", tmp_path / "images/p04.jpg")
    Image.open(tmp_path / "images/p01.jpg").save(tmp_path / "images/p05.jpg", quality=50)
    found = {one.kind: one for one in scanned("pairs", tmp_path).findings}
    assert set(found) == {"duplicate_image", "near_copies"}
    assert found["duplicate_image"].number == 1
    assert "images/p02.jpg = images/p04.jpg" in found["duplicate_image"].problem.message
    assert found["near_copies"].files == (str(tmp_path / "images/p01.jpg"), str(tmp_path / "images/p05.jpg"))


def test_the_frames_of_a_video_are_one_finding(tmp_path: Path) -> None:
    make_pairs(tmp_path, count=12)
    long = picture(3, (96, 400))
    for seed in range(12):
        save(tmp_path / f"images/p{seed:02d}.jpg", long[:, 2 * seed : 2 * seed + 128].copy())
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity) == ("near_copies", "warning")
    assert found.number >= 10


def test_real_photographs_are_no_near_copies(real_data: object) -> None:
    root: Path = real_data("coco_yolo_mini")  # type: ignore[operator]
    from toolkit.data.images.read import read_image

    looks = [perceptual_hash(read_image(path)) for path in sorted((root / "images").rglob("*.jpg"))]
    bits = hash_bits(looks)
    pairs = near_pairs(bits, bits)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert not len(near_pairs(bits, mirrored_bits(bits)))


def test_the_hash_of_a_mirrored_picture_follows_from_its_hash() -> None:
    for seed in range(5):
        image = picture(seed)
        mirrored = hash_bits([perceptual_hash(np.ascontiguousarray(image[:, ::-1]))])
        differ = (mirrored_bits(hash_bits([perceptual_hash(image)])) != mirrored).sum()
        assert differ <= 2  # a coefficient of all but 0 may turn


def test_flat_and_small_pictures_have_no_look() -> None:
    assert perceptual_hash(np.full((100, 100, 3), 90, np.uint8)) == ""
    assert perceptual_hash(picture(0, (40, 100))) == ""
    assert pixel_digest(np.zeros((2, 3, 3), np.uint8)) != pixel_digest(np.zeros((3, 2, 3), np.uint8))


def without_class(path: Path, label: int) -> None:
    labels = np.asarray(Image.open(path)).copy()
    labels[labels == label] = 0
    save(path, labels)


@pytest.mark.parametrize(
    ("splits", "kind", "words"),
    [
        ((0, 9), "class_never_seen", "1 class occurs in no split: other"),
        ((0, 6), "class_only_in_val", "1 class occurs in val but never in train: other"),
        ((6, 9), "class_not_in_val", "1 class occurs in train but never in val: other"),
    ],
)
def test_classes_of_one_split_or_none(splits: tuple[int, int], kind: str, words: str, tmp_path: Path) -> None:
    make_pairs(tmp_path)
    for seed in range(*splits):
        without_class(tmp_path / f"masks/p{seed:02d}.png", 2)
    found = only(scanned("pairs", tmp_path))
    assert (found.kind, found.severity, found.problem.message) == (kind, "warning", words)


def test_no_class_at_all_is_an_error(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    for seed in range(6):
        save(tmp_path / f"masks/p{seed:02d}.png", np.full(SIZE, 255, np.uint8))
    kinds = {one.kind: one.severity for one in scanned("pairs", tmp_path).findings}
    assert kinds["no_labels"] == "error"
    assert mask(0).max() == 255
    assert len(CLASSES) == 3

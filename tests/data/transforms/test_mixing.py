"""A marked pixel and its box stay together, in one picture made of several as well; the same for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.contracts import Dataset
from toolkit.data.loading.loader import train_loader
from toolkit.data.transforms.pipeline import Pipeline, transform_class
from toolkit.errors import DataError
from toolkit.samples import IGNORE_INDEX, Boxes, Sample

SIZE = (72, 96)
MIXING = {
    "mosaic": {"height": 60, "width": 80},
    "cutmix": {"p": 1.0},
    "copy_paste": {"p": 1.0, "share": 0.7},
    "large_scale_jitter": {"height": 64, "width": 64, "minimum": 0.5},
    "crop_and_resize": {"height": 64, "width": 48, "area": (0.3, 1.0)},
    "rotate90": {"p": 1.0},
}


def color_of(label: int, number: int) -> tuple[int, int, int]:
    """Of an object: red says its class, green its picture."""
    return 60 + 60 * label, 20 + 40 * number, 0


class Marked(Dataset):
    """Four pictures with a rectangle of each of three classes, marked by its colour, in the kinds of annotation wanted."""

    def __init__(self, *kinds: str) -> None:
        self.classes, self.kinds = ("none", "a", "b", "c"), kinds
        self.root = Path()

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < 4:
            raise IndexError(index)
        rng = np.random.default_rng(index)
        image, labels = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
        image[..., 2] = 200
        boxes = []
        for label in (1, 2, 3):
            top, left = int(rng.integers(0, 40)), 32 * (label - 1) + int(rng.integers(0, 8))
            place = slice(top, top + 24), slice(left, left + 20)
            image[place], labels[place] = color_of(label, index), label
            boxes.append([left, top, left + 20, top + 24])
        return Sample(
            image, f"{index}.png", index, SIZE,
            label_map=labels if "label_map" in self.kinds else None,
            boxes=Boxes.of(boxes, [1, 2, 3]) if "boxes" in self.kinds else None,
        )  # fmt: skip


def pipeline(name: str, **more: Any) -> Pipeline:
    return Pipeline([transform_class(name)(**{**MIXING.get(name, {}), **more})])


def class_colors(image: np.ndarray) -> np.ndarray:
    """The class that the colour of each pixel says, 0 for none, -1 where two colours run into one another."""
    red = image[..., 0].astype(int)
    found = np.where(image[..., 2] == 0, (red - 60) // 60, 0)
    return np.where((image[..., 2] > 0) & (red > 0) | ((red - 60) % 60 != 0) & (image[..., 2] == 0), -1, found)


@pytest.mark.parametrize("name", MIXING)
def test_label_maps_follow_the_pixels(name: str) -> None:
    data = Marked("label_map")
    for seed in range(20):
        found = pipeline(name)(data[seed % 4], seed, data)
        assert found.label_map is not None
        assert found.label_map.shape == found.image.shape[:2]
        said = class_colors(found.image)
        counts = (said >= 0) & (found.label_map != IGNORE_INDEX)
        wrong = (said != found.label_map) & counts & ~near_an_edge(found.label_map)
        assert not wrong.any()
        empty = (found.image == 0).all(2)
        assert (found.label_map[empty] == IGNORE_INDEX).all()


def near_an_edge(labels: np.ndarray) -> np.ndarray:
    """Pixels beside one of another label, which scaling blends."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            found |= np.roll(labels, step, axis) != labels
    return found


@pytest.mark.parametrize("name", [*MIXING, "mixup"])
def test_boxes_follow_the_pixels(name: str) -> None:
    data = Marked("boxes")
    seen = 0
    for seed in range(20):
        found = pipeline(name, **({"p": 1.0} if name == "mixup" else {}))(data[seed % 4], seed, data)
        assert found.boxes is not None
        height, width = found.image.shape[:2]
        xyxy = found.boxes.xyxy
        assert (xyxy[:, :2] >= 0).all()
        assert (xyxy[:, 2:] <= [width, height]).all()
        if name == "mixup":
            assert found.boxes.count == 6
            continue
        said = class_colors(found.image)
        for (left, top, right, bottom), label in zip(xyxy.tolist(), found.boxes.labels.tolist(), strict=True):
            inside = said[int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)]
            if inside.size > 20:
                assert (inside == label).any()
                seen += 1
        for label in (1, 2, 3):  # and what is marked lies in a box of its class, but for slivers of dropped ones
            rest = said == label
            for left, top, right, bottom in xyxy[found.boxes.labels == label].tolist():
                rest[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = False
            assert rest.sum() <= 0.12 * 20 * 24 * 4
    assert seen or name == "mixup"


@pytest.mark.parametrize("name", ["mosaic", "cutmix", "copy_paste"])
def test_other_pictures_come_in(name: str) -> None:
    data = Marked("label_map")
    pictures = [set(np.unique(pipeline(name)(data[0], seed, data).image[..., 1]).tolist()) for seed in range(10)]
    assert any(len(one & {20, 60, 100, 140}) > 1 for one in pictures)


def test_others_have_been_through_the_transforms_before() -> None:
    data = Marked("label_map")
    row = Pipeline([transform_class("resize")(24, 32), transform_class("cutmix")(p=1.0)])
    assert row(data[0], 5, data).image.shape == (24, 32, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_a_function_of_seed_and_step(workers: int) -> None:
    data = Marked("label_map", "boxes")
    row = [transform_class("mosaic")(60, 80), transform_class("cutmix")(), transform_class("copy_paste")()]
    whole = list(train_loader(data, row, 2, 7, 0, 6))
    late = list(train_loader(data, row, 2, 7, 3, 6, workers))
    for one, other in zip(whole[3:], late, strict=True):
        np.testing.assert_array_equal(one.images.numpy(), other.images.numpy())
        np.testing.assert_array_equal(one.label_maps.numpy(), other.label_maps.numpy())  # type: ignore[union-attr]
        for a, b in zip(one.boxes or (), other.boxes or (), strict=True):
            np.testing.assert_array_equal(a.xyxy, b.xyxy)


def test_labels_of_whole_pictures_and_blended_label_maps_are_refused() -> None:
    data = Marked("label_map")
    with pytest.raises(DataError):
        pipeline("mixup", p=1.0)(data[0], 0, data)
    with pytest.raises(DataError):
        pipeline("mosaic")(data[0]._replace(image_label=1), 0, data)


def test_four_quarter_turns_are_none() -> None:
    sample = Marked("label_map", "boxes")[1]
    turn = transform_class("rotate90")(angles=(90,), p=1.0)
    found = sample
    for _ in range(4):
        found = turn(found, 0)
    np.testing.assert_array_equal(found.image, sample.image)
    np.testing.assert_array_equal(found.boxes.xyxy, sample.boxes.xyxy)  # type: ignore[union-attr]

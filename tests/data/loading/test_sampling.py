"""How often samples come: against the formulas by hand, and as functions of numbers alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.data.formats.box_checks import BoxFixes, RawBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import DetectionIndex, ImageTable
from toolkit.data.loading import class_presence as module
from toolkit.data.loading.batches import StepBatches
from toolkit.data.loading.class_presence import class_presence
from toolkit.data.loading.sampling import ClassBalanced, Draws, Epochs, RepeatFactors, repeat_factors
from toolkit.errors import ConfigError, DataError
from toolkit.jobs.build_data import aspect_groups_of, build_dataset, draws_of
from toolkit.samples import IGNORE_INDEX

# 10 images, 3 classes: everywhere, in four, in one; image 9 holds nothing.
PRESENCE = np.zeros((10, 3), bool)
PRESENCE[:9, 0] = True
PRESENCE[:4, 1] = True
PRESENCE[2, 2] = True


def laws() -> list[Draws]:
    return [
        Epochs(10, 7),
        RepeatFactors(repeat_factors(PRESENCE, 0.5), 7),
        ClassBalanced(PRESENCE, 7),
    ]


def test_repeat_factors_by_hand() -> None:
    found = repeat_factors(PRESENCE, 0.5)
    # f = 0.9, 0.4, 0.1; r = 1, sqrt(1.25), sqrt(5); an image takes the largest of its classes.
    wanted = [np.sqrt(1.25), np.sqrt(1.25), np.sqrt(5), np.sqrt(1.25), 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(found, wanted)
    assert (repeat_factors(PRESENCE, 0.001) == 1).all()  # nothing is that rare


def test_images_come_as_often_as_their_repeat_factor() -> None:
    repeats = repeat_factors(PRESENCE, 0.5)
    draws = RepeatFactors(repeats, 3)
    assert draws.length == int(np.ceil(repeats.sum()))
    epochs = 400
    counts = np.zeros(10)
    for epoch in range(epochs):
        drawn = Counter(draws.key(epoch * draws.length + place)[1] for place in range(draws.length))
        expected = repeats * draws.length / repeats.sum()
        for image in range(10):
            assert np.floor(expected[image]) <= drawn[image] <= np.ceil(expected[image])
            counts[image] += drawn[image]
    np.testing.assert_allclose(counts / epochs, repeats * draws.length / repeats.sum(), atol=0.1)


def test_every_class_is_drawn_equally_often_and_its_images_too() -> None:
    draws = ClassBalanced(PRESENCE, 3)
    rounds = 360
    images = [draws.key(place)[1] for place in range(3 * rounds)]
    counts = Counter(images)
    # A round draws each class once: class 2 has image 2 alone, class 1 four images, class 0 nine.
    assert counts[9] == 0
    assert counts[2] == rounds + rounds // 4 + rounds // 9
    assert all(counts[image] == rounds // 4 + rounds // 9 for image in (0, 1, 3))
    assert all(counts[image] == rounds // 9 for image in range(4, 9))


@pytest.mark.parametrize("law", range(3))
def test_a_place_is_a_function_of_numbers_alone(law: int) -> None:
    """Entered anywhere, in any order, shared by any number of processes: the same samples."""
    row = [laws()[law].key(place) for place in range(200)]
    fresh = laws()[law]
    assert [fresh.key(place) for place in reversed(range(200))] == row[::-1]
    batches = list(StepBatches(10, 4, 7, stop=50, draws=laws()[law]))
    assert [key for batch in batches for key in batch] == row
    assert list(StepBatches(10, 4, 7, start=13, stop=50, draws=laws()[law])) == batches[13:]
    shares = [list(StepBatches(10, 4, 7, stop=50, rank=rank, world_size=2, draws=laws()[law])) for rank in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == batches


@pytest.mark.parametrize("law", range(3))
def test_no_two_draws_are_augmented_alike(law: int) -> None:
    keys = [laws()[law].key(place) for place in range(300)]
    assert len(set(keys)) == 300


def test_another_seed_is_another_row() -> None:
    for kind in (
        lambda seed: RepeatFactors(repeat_factors(PRESENCE, 0.5), seed),
        lambda seed: ClassBalanced(PRESENCE, seed),
    ):
        one, two = ([kind(seed).key(place)[1] for place in range(60)] for seed in (1, 2))
        assert one != two


def test_no_class_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no image of the training set holds any class"):
        ClassBalanced(np.zeros((3, 2), bool), 0)
    assert repeat_factors(np.zeros((3, 2), bool), 0.5).tolist() == [1, 1, 1]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_presence_from_label_maps_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = build_dataset(tiny_config(tmp_path / "data"), "train")
    found = class_presence(dataset)
    for row in range(len(dataset)):
        label_map = dataset[row].label_map
        assert label_map is not None
        assert set(np.flatnonzero(found[row])) == set(np.unique(label_map)) - {IGNORE_INDEX}
    monkeypatch.setattr(module, "_of_samples", lambda dataset: pytest.fail("counted again"))
    assert np.array_equal(class_presence(dataset), found)


def test_presence_from_boxes(tmp_path: Path) -> None:
    dataset = build_dataset(tiny_detection_config(tmp_path / "data"), "train")
    found = class_presence(dataset)
    for row in range(len(dataset)):
        boxes = dataset[row].boxes
        assert boxes is not None
        assert set(np.flatnonzero(found[row])) == set(boxes.labels.tolist())


def test_crowds_hold_nothing() -> None:
    raw = RawBoxes(
        owners=np.array([0, 0, 1]), xyxy=np.array([[0, 0, 4, 4]] * 3, float), labels=np.array([0, 1, 1]),
        crowd=np.array([False, False, True]), difficult=np.zeros(3, bool), area=np.full(3, np.nan),
    )  # fmt: skip
    index = DetectionIndex(ImageTable(["a", "b"], np.arange(2), np.full((2, 2), 8), [""]), raw, BoxFixes(0, 0, 0))
    dataset = BoxDataset(("x", "y", "z"), Path(), index)
    assert class_presence(dataset).tolist() == [[True, True, False], [False] * 3]


def test_the_config_picks_the_law(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "data", "data.sampling=class_balanced")
    dataset = build_dataset(config, "train")
    assert isinstance(draws_of(config, dataset), ClassBalanced)
    config = tiny_config(tmp_path / "data", "data.sampling=repeat_factor", "data.repeat_threshold=1.0")
    draws = draws_of(config, dataset)
    assert isinstance(draws, RepeatFactors)
    assert draws.length == int(np.ceil(repeat_factors(class_presence(dataset), 1.0).sum()))
    assert draws_of(tiny_config(tmp_path / "data"), dataset) is None
    grouped = tiny_config(tmp_path / "data", "data.sampling=repeat_factor", "data.group_by_aspect=true")
    with pytest.raises(ConfigError, match="sampling 'repeat_factor' draws images by their classes"):
        aspect_groups_of(grouped, dataset)

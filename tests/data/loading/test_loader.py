"""Loaders: the same batches whatever the workers, errors as they were raised, truths in original pixels."""

import multiprocessing
import os
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.loading.test_picture_reader import folder, write_folder
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import SeededDataset, eval_loader, train_loader
from toolkit.data.loading.pixel_cache import PixelCache, places_for
from toolkit.data.transforms.pipeline import Pipeline, transform_class
from toolkit.data.transforms.warp import Warp
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.samples import Batch, Boxes, Sample, collate


class Made(Dataset):
    """Random pictures in memory; sample `bad` raises."""

    classes = ("a", "b", "c")

    def __init__(self, count: int = 7, bad: int = -1) -> None:
        self.count = count
        self.bad = bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index == self.bad:
            raise DataError(Problem(f"/data/{index}.jpg", "the JPEG is truncated", "fetch it again"))
        rng = np.random.default_rng(index)
        size = (40 + index, 50)
        return Sample(
            rng.integers(0, 255, (*size, 3), np.uint8),
            f"{index}.jpg",
            index,
            size,
            label_map=rng.integers(0, 3, size, np.uint8),
            boxes=Boxes.of([[5, 5, 30, 30], [10, 12, 50, 40]][: index % 3], [0, 2][: index % 3]),
        )


def part(name: str, **arguments):
    return transform_class(name)(**arguments)


def augmentations():
    return [
        part("random_scale"),
        part("random_crop", height=32, width=32),
        part("HorizontalFlip"),
        part("Affine", rotate=[-20, 20], p=1.0),
        part("GaussNoise", p=1.0),
    ]


def same(one: Batch, other: Batch) -> bool:
    for a, b in zip(one, other, strict=True):
        if isinstance(a, torch.Tensor):
            if a.dtype != b.dtype or not torch.equal(a, b):
                return False
        elif isinstance(a, tuple) and a and isinstance(a[0], Boxes):
            if not all(torch.equal(x, y) for m, n in zip(a, b, strict=True) for x, y in zip(m, n, strict=True)):
                return False
        elif pickle.dumps(a) != pickle.dumps(b):
            return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    here = list(train_loader(Made(), augmentations(), 4, seed=9, stop=6))
    there = list(train_loader(Made(), augmentations(), 4, seed=9, stop=6, workers=workers))
    assert len(here) == len(there) == 6
    assert all(same(a, b) for a, b in zip(here, there, strict=True))
    assert not same(here[0], here[1])
    assert here[0].images.dtype == torch.uint8
    assert here[0].images.shape == (4, 3, 32, 32)


def test_starting_late_gives_the_same_pictures():
    whole = list(train_loader(Made(), augmentations(), 4, seed=9, stop=6))
    late = list(train_loader(Made(), augmentations(), 4, seed=9, start=4, stop=6))
    assert all(same(a, b) for a, b in zip(whole[4:], late, strict=True))


def test_processes_together_make_the_batches_of_one():
    alone = list(train_loader(Made(), augmentations(), 4, seed=9, stop=3))
    shares = [list(train_loader(Made(), augmentations(), 4, seed=9, stop=3, rank=r, world_size=2)) for r in (0, 1)]
    for number, batch in enumerate(alone):
        assert torch.equal(batch.images, torch.cat([share[number].images for share in shares]))


def test_epochs_and_seeds_change_the_pictures():
    loader = train_loader(Made(1), augmentations(), 1, seed=9)
    first, second = islice(loader, 2)
    assert not torch.equal(first.images, second.images)
    other = next(iter(train_loader(Made(1), augmentations(), 1, seed=10)))
    assert not torch.equal(first.images, other.images)


def test_iterating_leaves_the_global_random_state_alone():
    torch.manual_seed(4)
    state = torch.get_rng_state()
    next(iter(train_loader(Made(), augmentations(), 2, seed=1)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_arrive_as_they_were_raised(workers):
    loader = train_loader(Made(bad=3), [], 7, seed=0, workers=workers)
    with pytest.raises(DataError) as caught:
        next(iter(loader))
    assert caught.value.problems == (Problem("/data/3.jpg", "the JPEG is truncated", "fetch it again"),)
    assert str(caught.value) == "/data/3.jpg: the JPEG is truncated; fetch it again"


def test_torch_alone_would_lose_the_message():
    """The reason for returning errors instead of raising them. When this fails, torch has mended it."""

    class Raising(Made, torch.utils.data.Dataset):
        pass

    with pytest.raises(DataError) as caught:
        next(iter(DataLoader(Raising(bad=0), num_workers=1, collate_fn=list)))
    assert "Traceback" in str(caught.value)


def test_mixed_annotations_are_a_data_error():
    class Mixed(Made):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample if index else sample._replace(label_map=None)

    with pytest.raises(DataError, match=r"with and without 'label_map'; without: 0\.jpg"):
        next(iter(train_loader(Mixed(), [], 7, seed=0)))


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_keeps_order_and_original_truths(workers):
    resize = part("resize", height=20, width=24)
    batches = list(eval_loader(Made(), [resize], 3, workers=workers))
    assert [batch.count for batch in batches] == [3, 3, 1]
    assert [name for batch in batches for name in batch.names] == [f"{i}.jpg" for i in range(7)]
    for batch in batches:
        assert batch.images.shape[2:] == (20, 24)
        for name, size, truth in zip(batch.names, batch.original_sizes.tolist(), batch.truths, strict=True):
            sample = Made()[int(name[0])]
            assert tuple(size) == truth.size == sample.original_size
            np.testing.assert_array_equal(truth.label_map, sample.label_map)
            np.testing.assert_array_equal(truth.boxes.xyxy, sample.boxes.xyxy)
            assert truth.image_id == sample.position


def test_evaluation_refuses_what_would_falsify_it():
    bad = [part("flip"), part("random_scale"), part("CenterCrop", height=8, width=8), part("ColorJitter")]
    fine = [part("resize", height=8, width=8), part("resize_shorter", shorter=9), part("ToGray", p=1.0)]
    with pytest.raises(ConfigError) as caught:
        eval_loader(Made(), bad + fine)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for name in ("flip", "random_scale", "CenterCrop", "ColorJitter"):
        assert f"'{name}'" in text
    eval_loader(Made(), fine)
    with pytest.raises(ConfigError):
        eval_loader(Made(), [part("ToGray", p=0.5)])


def test_many_boxes_cost_no_file_descriptors():
    """Every tensor sent between processes is an open file; 5 a picture would pass the usual limit of 1024."""

    class Many(Made):
        def __getitem__(self, index):
            return super().__getitem__(2)._replace(position=index)

    held = list(train_loader(Many(400), [], 50, seed=0, stop=8, workers=1))
    assert sum(len(batch.boxes) for batch in held) == 400
    assert all(isinstance(boxes.labels, torch.Tensor) for batch in held for boxes in batch.boxes)


def test_seeded_dataset_can_be_sent_to_a_worker_by_pickle():
    seeded = SeededDataset(Made(), Pipeline(augmentations()), 5)
    again = pickle.loads(pickle.dumps(seeded))
    one, other = seeded[(3, 2)], again[(3, 2)]
    np.testing.assert_array_equal(one[0].image, other[0].image)


def test_small_sets_fill_large_batches():
    batch = next(iter(train_loader(Made(3), [], 8, seed=0)))
    assert batch.count == 8
    assert sorted(batch.names[:3]) == sorted(batch.names[3:6]) == ["0.jpg", "1.jpg", "2.jpg"]


def _is_shared(samples):
    batch = collate(samples)
    return batch.images.is_shared(), batch.label_maps.is_shared()


def test_a_batch_is_put_together_in_memory_that_the_parent_shares():
    sample = Sample(np.zeros((8, 6, 3), np.uint8), "a", 0, (8, 6), label_map=np.zeros((8, 6), np.uint8))
    loader = DataLoader([sample] * 4, 2, collate_fn=_is_shared, num_workers=1)
    assert list(loader) == [(True, True)] * 2
    assert _is_shared([sample]) == (False, False)


@pytest.mark.slow
def test_epochs_do_not_creep_in_memory(tmp_path):
    """Memory of this process and its worker (proportional: shared pages count once) after two epochs and after six."""
    dataset = folder(write_folder(tmp_path, ".jpg", count=24))
    cache = PixelCache(places_for([dataset], [True]), 1 << 30)
    for shelf in (None, cache):
        loader = train_loader(dataset, [Warp(48, 64, scale=(0.1, 1.5), rotation=5)], 4, seed=0, workers=1, shelf=shelf)
        batches, used = iter(loader), []
        for epoch in range(6 * 8):  # 24 pictures in batches of 4, eight times each
            for _ in range(6):
                next(batches)
            if epoch in (15, 47):
                used.append(sum(_proportional_bytes(child) for child in [os.getpid(), *_children()]))
        assert used[1] - used[0] < 4 << 20


def _children() -> list[int]:
    return [process.pid for process in multiprocessing.active_children()]


def _proportional_bytes(process: int) -> int:
    rollup = Path(f"/proc/{process}/smaps_rollup")
    if not rollup.exists():
        pytest.skip("no /proc/PID/smaps_rollup here")
    return sum(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:")) << 10

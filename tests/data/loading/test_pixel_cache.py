"""With a cache and without: the same samples to the bit, whatever happens to files and disk meanwhile."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.loading.test_picture_reader import folder, photograph, write_folder
from toolkit.data.images import read
from toolkit.data.loading.loader import train_loader
from toolkit.data.loading.pixel_cache import PixelCache, cache_name, places_for
from toolkit.data.transforms.augment import Flip, Resize
from toolkit.data.transforms.warp import Warp

ROOM = 1 << 30
PIPELINES = {"warp": [Warp(48, 64, scale=(0.1, 1.2), hue=0.1), Flip()], "plain": [Resize(48, 64), Flip()]}


def batches(dataset, transforms, cache, workers=0, steps=8):
    """Of four pictures two epochs and more, in batches of three."""
    return list(train_loader(dataset, transforms, 3, seed=3, stop=steps, workers=workers, shelf=cache))


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.names == other.names
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.label_maps, other.label_maps)


def cache_of(dataset, file=None, limit=ROOM, halved=True):
    return PixelCache(places_for([dataset], [halved]), limit, file)


def no_decoding(monkeypatch):
    for name in ("decode_image", "decode_halved", "decode_label_map"):
        monkeypatch.setattr(f"toolkit.data.loading.picture_reader.{name}", lambda *_: pytest.fail("decoded again"))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_samples_are_the_same_and_nothing_is_decoded_twice(tmp_path, monkeypatch, suffix, pipeline, kind):
    dataset, transforms = folder(write_folder(tmp_path / "data", suffix)), PIPELINES[pipeline]
    wanted = batches(dataset, transforms, None)
    file = tmp_path / "cache.pixels" if kind == "disk" else None
    cache = cache_of(dataset, file)
    assert_same(batches(dataset, transforms, cache), wanted)
    assert cache.filled == len(cache.places) == 8
    again = cache_of(dataset, file) if file is not None else cache
    no_decoding(monkeypatch)
    assert_same(batches(dataset, transforms, cache), wanted)
    assert_same(batches(dataset, transforms, again), wanted)


def test_workers_fill_one_cache_for_all(tmp_path):
    dataset, transforms = folder(write_folder(tmp_path, ".jpg")), PIPELINES["warp"]
    cache = cache_of(dataset)
    assert_same(batches(dataset, transforms, cache, workers=2), batches(dataset, transforms, None))
    assert cache.filled == 8


def test_room_is_what_the_decoded_files_take(tmp_path):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    images = 166 * 236 * 3
    assert cache_of(dataset, halved=False).bytes == 4 * (images + images // 3)
    assert 1.3 < (cache_of(dataset).bytes / 4 - images // 3) / images < 1.35


def test_what_does_not_fit_is_decoded_each_time(tmp_path):
    dataset, transforms = folder(write_folder(tmp_path, ".jpg")), PIPELINES["warp"]
    whole = cache_of(dataset).bytes
    cache = cache_of(dataset, limit=whole // 2)
    assert 0 < cache.kept < len(cache.places)
    assert_same(batches(dataset, transforms, cache), batches(dataset, transforms, None))
    assert cache.filled == cache.kept


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_changed_file_is_noticed_said_and_read_again(tmp_path, caplog, pipeline):
    dataset, transforms = folder(write_folder(tmp_path / "data", ".jpg")), PIPELINES[pipeline]
    file = tmp_path / "cache.pixels"
    cache = cache_of(dataset, file)
    batches(dataset, transforms, cache)
    changed = dataset.pairs[1].image
    cv2.imwrite(str(changed), photograph(77))
    os.utime(changed, ns=(1, 1))
    wanted = batches(dataset, transforms, None)
    assert_same(batches(dataset, transforms, cache), wanted)
    assert [text for text in caplog.messages if "has changed since it was kept" in text] == [
        f"{changed} has changed since it was kept: it is read from its file from now on"
    ]
    del cache
    later = cache_of(dataset, file)
    assert "1 files have changed since they were kept: they are read again" in caplog.messages
    assert later.filled == 7
    assert_same(batches(dataset, transforms, later), wanted)
    assert later.filled == 8


def test_a_full_disk_is_said_once_and_costs_time_only(tmp_path, monkeypatch, caplog):
    dataset, transforms = folder(write_folder(tmp_path / "data", ".jpg")), PIPELINES["warp"]
    cache, write, left = cache_of(dataset, tmp_path / "cache.pixels"), os.pwrite, [3]

    def full(file, data, start):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data, start)

    monkeypatch.setattr(os, "pwrite", full)
    assert_same(batches(dataset, transforms, cache), batches(dataset, transforms, None))
    assert [text for text in caplog.messages if "no more pictures are kept" in text] == [
        "no more pictures are kept: No space left on device; the others are read from files"
    ]
    assert 0 < cache.filled <= 3


def test_damage_in_the_cache_is_found(tmp_path, caplog):
    dataset, transforms = folder(write_folder(tmp_path / "data", ".png")), PIPELINES["warp"]
    file = tmp_path / "cache.pixels"
    wanted = batches(dataset, transforms, cache_of(dataset, file))
    with file.open("r+b") as opened:
        opened.seek(Path(file).stat().st_size - 1000)  # in the last mask
        opened.write(bytes(500))
    assert_same(batches(dataset, transforms, cache_of(dataset, file)), wanted)
    assert any("is damaged" in text for text in caplog.messages)


def test_another_decoder_or_file_has_a_cache_of_its_own(tmp_path, monkeypatch):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    places = places_for([dataset], [True])
    names = {cache_name(places), cache_name(places[:-1]), cache_name(places_for([dataset], [False]))}
    monkeypatch.setattr("simplejpeg.__version__", "0.0")
    assert len(names | {cache_name(places)}) == 4


def test_what_is_kept_cannot_be_written_to_by_a_transform(tmp_path):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    cache = cache_of(dataset)
    list(train_loader(dataset, [], 2, seed=0, stop=2, shelf=cache))
    kept = cache.pixels(dataset.pairs[0].image, "image 3", lambda: pytest.fail("decoded again"))
    assert not kept.flags.writeable
    np.testing.assert_array_equal(kept, read.read_image(dataset.pairs[0].image))

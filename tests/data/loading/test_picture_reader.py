"""Pictures decoded late and halved: the samples of a loader are those of the steps done one by one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.images.read import read_image
from toolkit.data.loading.loader import SeededDataset
from toolkit.data.seeds import mix, sample_seed
from toolkit.data.transforms.augment import Flip
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.data.transforms.warp import Warp
from toolkit.samples import Sample

SIZE = (166, 236)
REDUCED = {
    0: cv2.IMREAD_COLOR,
    1: cv2.IMREAD_REDUCED_COLOR_2,
    2: cv2.IMREAD_REDUCED_COLOR_4,
    3: cv2.IMREAD_REDUCED_COLOR_8,
}


def photograph(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth light, edges and a little noise, as a camera sees them."""
    random = np.random.default_rng(seed)
    light = cv2.resize(random.integers(0, 256, (7, 9, 3)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    light[40:110, 60:150] = random.integers(0, 256, 3)
    return np.clip(light + random.normal(0, 3, light.shape), 0, 255).astype(np.uint8)


def write_folder(root: Path, suffix: str, count: int = 4) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number in range(count):
        parameters = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else []
        cv2.imwrite(str(root / "images" / f"{number}{suffix}"), photograph(number), parameters)
        labels = np.random.default_rng(number).integers(0, 3, SIZE, np.uint8)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), labels)
    return root


def folder(root: Path, kind: type[ImageMasks] = ImageMasks) -> ImageMasks:
    return kind(["a", "b", "c"], str(root))


def drawn(dataset, transform, epochs=12):
    """Samples of a loader: (epoch, index, sample)."""
    seeded = SeededDataset(dataset, Pipeline([transform, Flip()]), seed=5)
    for epoch in range(epochs):
        for index in range(len(dataset)):
            item = seeded[(epoch, index)]
            assert not isinstance(item, Exception), item
            yield epoch, index, item[0]


def as_drawn(transform, sample: Sample, epoch: int) -> Sample:
    return Pipeline([transform, Flip()])(sample, sample_seed(5, epoch, sample.position))


def assert_same(one: Sample, other: Sample) -> None:
    for left, right in zip(one, other, strict=True):
        np.testing.assert_equal(left, right)


def test_a_halved_jpeg_is_opencvs_reduced_decode_then_warped(tmp_path):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    transform, seen = Warp(48, 64, scale=(0.1, 1.2), rotation=8, brightness=0.3, hue=0.1), set()
    for epoch, index, sample in drawn(dataset, transform):
        times = transform.halvings(SIZE, mix(sample_seed(5, epoch, index), 0))
        reduced = cv2.imread(str(dataset.pairs[index].image), REDUCED[times])[..., ::-1]
        assert_same(sample, as_drawn(transform, dataset[index]._replace(image=reduced, halvings=times), epoch))
        seen.add(times)
    assert seen == {0, 1, 2, 3}


def test_what_the_decoder_halves_is_near_to_what_the_whole_picture_gives(tmp_path):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    transform, errors = Warp(48, 64, scale=(0.13, 0.5)), []
    for epoch, index, sample in drawn(dataset, transform):
        whole = as_drawn(transform, dataset[index], epoch)
        np.testing.assert_array_equal(sample.label_map, whole.label_map)
        errors.append(np.abs(sample.image.astype(float) - whole.image).ravel())
    error = np.concatenate(errors)
    assert 0 < error.mean() < 1
    assert np.quantile(error, 0.99) < 8  # along edges: the decoder keeps what a mean would blur


@pytest.mark.parametrize(("suffix", "scale"), [(".png", (0.1, 1.0)), (".jpg", (0.6, 2.0))])
def test_other_pictures_and_larger_ones_are_read_whole(tmp_path, suffix, scale):
    dataset, transform = folder(write_folder(tmp_path, suffix)), Warp(48, 64, scale=scale)
    for epoch, index, sample in drawn(dataset, transform, epochs=4):
        assert_same(sample, as_drawn(transform, dataset[index], epoch))


class Inverted(ImageMasks):
    """A data set of somebody else, that changes what it reads."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return sample._replace(image=255 - sample.image)


class Promising(Inverted):
    """One that promises what it does not keep."""

    looks_at_no_pixel = True

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index)


@pytest.mark.parametrize("kind", [Inverted, Promising])
def test_a_data_set_that_changes_pixels_is_given_them(tmp_path, kind):
    write_folder(tmp_path, ".jpg")
    transform, dataset = Warp(48, 64, scale=(0.1, 0.4)), folder(tmp_path, kind)
    assert folder(tmp_path).hands_images_on()
    assert dataset.hands_images_on() == (kind is Promising)
    for epoch, index, sample in drawn(dataset, transform, epochs=2):
        assert_same(sample, as_drawn(transform, dataset[index], epoch))


def test_a_turned_photograph_is_decoded_whole_and_turned(tmp_path):
    write_folder(tmp_path, ".jpg", count=1)
    path = tmp_path / "images" / "0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(0, SIZE[::-1])).save(path, quality=95, exif=exif)
    dataset, transform = folder(tmp_path), Warp(48, 64, scale=(0.1, 0.4))
    assert read_image(path).shape == (*SIZE, 3)
    for epoch, index, sample in drawn(dataset, transform, epochs=3):
        assert_same(sample, as_drawn(transform, dataset[index], epoch))

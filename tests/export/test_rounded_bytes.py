"""A byte that two ways of resizing round to neighbouring levels is counted; any other difference stays for the proof."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import Transform
from toolkit.export.reference import as_resized_inside
from toolkit.heads.pixel import PixelHead
from toolkit.models.vision_model import VisionModel
from toolkit.ops.opencv_resize import half_levels, resize_bytes
from toolkit.samples import Sample

WANTED = np.random.default_rng(0).integers(1, 255, (40, 50, 3), dtype=np.uint8)


class Given(Transform):
    """Stands for a resize that makes these bytes."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def __call__(self, sample: Sample, seed: int) -> Sample:
        return sample

    def exported(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.image).permute(2, 0, 1)[None]


def inside(change: tuple[int, int]) -> tuple[np.ndarray, int]:
    """What comes of a resize inside that differs in `change[0]` bytes by `change[1]` levels."""
    image = WANTED.copy()
    image.reshape(-1)[: change[0]] += np.uint8(change[1])
    backbone = UNetEncoder(3, 4, depth=2)
    model = VisionModel(backbone, None, PixelHead(backbone.spec, 2), ["a", "b"])
    model.transforms = [Given(image)]
    found, count = as_resized_inside(model, WANTED, WANTED)
    assert (found == (image if count else WANTED)).all()
    return found, count


@pytest.mark.parametrize(("change", "count"), [((0, 0), 0), ((1, 1), 1), ((6, 1), 6), ((7, 1), 0), ((1, 2), 0)])
def test_few_bytes_of_one_level_are_roundings_and_no_others(change: tuple[int, int], count: int) -> None:
    """Of 6,000 bytes one in a thousand is six."""
    assert inside(change)[1] == count


def shrunk() -> tuple[np.ndarray, np.ndarray]:
    """A picture, and what OpenCV makes of it at a size where many sums end half-way between two levels."""
    picture = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return picture, cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)


def test_bytes_in_which_opencv_and_the_program_part_are_half_way_between_levels() -> None:
    picture, wanted = shrunk()
    found = resize_bytes(torch.from_numpy(picture).permute(2, 0, 1)[None], (64, 64))[0].permute(1, 2, 0).numpy()
    other = found != wanted
    assert other.any()
    assert half_levels(picture, (64, 64))[other].all()


@pytest.mark.parametrize(("half", "excused"), [(True, True), (False, False)])
def test_any_number_of_bytes_may_round_either_way_where_both_are_right(half: bool, excused: bool) -> None:
    """More of them than of others, of which one in a thousand is too many."""
    picture, wanted = shrunk()
    where = half_levels(picture, (64, 64)) == half
    where &= np.cumsum(where).reshape(where.shape) <= 30
    assert where.sum() == 30
    backbone = UNetEncoder(3, 4, depth=2)
    model = VisionModel(backbone, None, PixelHead(backbone.spec, 2), ["a", "b"])
    model.transforms = [Given(np.where(where, wanted ^ 1, wanted))]
    assert as_resized_inside(model, picture, wanted)[1] == (30 if excused else 0)

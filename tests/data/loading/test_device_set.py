"""A training set on the device (here the CPU): the batches of the loader, and resumed to the bit."""

import numpy as np
import pytest
import torch
from versions import WARP_STEP

from tests.data.loading.test_picture_reader import folder, write_folder
from toolkit.contracts import Subset
from toolkit.data.loading.batches import StepBatches
from toolkit.data.loading.device_set import DeviceSet, warp_alone
from toolkit.data.loading.loader import train_loader
from toolkit.data.transforms.augment import Flip
from toolkit.data.transforms.warp import Warp
from toolkit.data.transforms.warp_plan import ColorChange
from toolkit.errors import ConfigError
from toolkit.samples import Boxes

CPU = torch.device("cpu")
WARPS = {
    "usual": Warp(48, 64, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    "shrinks": Warp(48, 64, scale=(0.1, 0.5)),
    "turns": Warp(48, 64, scale=(0.2, 1.5), rotation=30, stretch=1.2, contrast=0.4),
}


class Boxed(Subset):
    """The samples with two boxes each."""

    def __getitem__(self, index):
        return super().__getitem__(index)._replace(boxes=Boxes.of([[10, 20, 90, 120], [100, 5, 230, 160]], [0, 1]))


def device_batches(dataset, warp, start=0, stop=8):
    return list(DeviceSet(dataset, warp, CPU, seed=3).batches(StepBatches(len(dataset), 3, 3, start, stop)))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kind", WARPS)
def test_batches_are_the_loaders_to_a_level(tmp_path, kind, suffix):
    dataset = Boxed(folder(write_folder(tmp_path, suffix)), range(4))
    ours = device_batches(dataset, WARPS[kind])
    theirs = list(train_loader(dataset, [WARPS[kind]], 3, seed=3, stop=8))
    assert len(ours) == len(theirs) == 8
    for one, other in zip(ours, theirs, strict=True):
        assert one.names == other.names
        assert one.sizes.tolist() == other.sizes.tolist()
        assert one.original_sizes.tolist() == other.original_sizes.tolist()
        assert one.images.shape == other.images.shape
        differ = one.label_maps != other.label_maps
        assert differ.float().mean() < 0.02  # centres on the border of two pixels
        bound = 1 if WARPS[kind].plan((166, 236), 0).color == ColorChange() else 3  # which colours multiply
        if kind == "turns":
            bound += WARP_STEP / 2 * 2 * 255
        assert (one.images.int() - other.images.int()).abs().max() <= bound
        for left, right in zip(one.boxes, other.boxes, strict=True):
            for a, b in zip(left, right, strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_later_start_gives_the_same_batches(tmp_path):
    dataset = folder(write_folder(tmp_path, ".jpg"))
    whole, later = device_batches(dataset, WARPS["turns"]), device_batches(dataset, WARPS["turns"], start=5)
    for one, other in zip(whole[5:], later, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.label_maps, other.label_maps)


@pytest.mark.parametrize("transforms", [[], [Flip()], [WARPS["usual"], Flip()]])
def test_other_transforms_are_refused(transforms):
    with pytest.raises(ConfigError, match="nothing but one transform `warp`"):
        warp_alone(transforms)

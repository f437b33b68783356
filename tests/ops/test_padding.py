from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.contracts import SizeRule
from toolkit.errors import ImageSizeError
from toolkit.ops.padding import Pad, check_size, legal_size, mirror, mirror_each, pad_targets
from toolkit.samples import Batch

UNET = SizeRule(188, 16, 12)


@pytest.mark.parametrize("shape", [(5, 7), (1, 4), (2, 1), (1, 1), (9, 2)])
@pytest.mark.parametrize("pad", [Pad(0, 3, 0, 1), Pad(2, 2, 2, 2), Pad(11, 0, 4, 25), Pad(0, 0, 0, 0)])
def test_mirror_is_numpys_reflect(shape: tuple[int, int], pad: Pad) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 3, *shape), np.uint8)
    expected = np.pad(image, ((0, 0), (0, 0), pad[:2], pad[2:]), mode="reflect")
    assert np.array_equal(mirror(torch.from_numpy(image), pad).numpy(), expected)


def test_every_image_is_mirrored_from_its_own_content() -> None:
    images = torch.zeros(2, 1, 6, 8)
    images[0, :, :4, :5] = torch.rand(4, 5)
    images[1] = torch.rand(6, 8)
    result = mirror_each(images, [(4, 5), (6, 8)], before=3, own=[(14, 16), (14, 16)], size=(14, 16))
    assert torch.equal(result[:1], mirror(images[:1, :, :4, :5], Pad(3, 7, 3, 8)))
    assert torch.equal(result[1:], mirror(images[1:], Pad(3, 5, 3, 5)))
    same = mirror_each(images, [(4, 5), (4, 5)], before=3, own=[(14, 16)] * 2, size=(14, 16))
    assert torch.equal(same[0], result[0])


def test_legal_sizes() -> None:
    assert legal_size((100, 573), UNET) == (188, 588)
    check_size((188, 572), UNET)


def test_an_illegal_size_names_the_nearest_legal_ones() -> None:
    with pytest.raises(ImageSizeError) as caught:
        check_size((572, 580), UNET)
    message = str(caught.value)
    assert "572x580" in message
    assert "width 572 or 588" in message
    assert "height" not in message.partition("; crop or")[2]
    with pytest.raises(ImageSizeError, match="height 188, width 188"):
        check_size((20, 187), UNET)


def test_targets_do_not_count_in_the_padding() -> None:
    batch = Batch(
        images=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        sizes=torch.tensor([[2, 2]]),
        original_sizes=torch.tensor([[2, 2]]),
        names=("a",),
        label_maps=torch.ones(1, 2, 2, dtype=torch.uint8),
        value_maps=torch.ones(1, 2, 2),
        weight_maps=torch.ones(1, 2, 2),
    )
    padded = pad_targets(batch, (2, 3))
    assert padded.label_maps is not None
    assert padded.label_maps.dtype == torch.uint8
    assert padded.label_maps.tolist() == [[[1, 1, 255], [1, 1, 255]]]
    assert padded.weight_maps is not None
    assert padded.weight_maps.tolist() == [[[1, 1, 0], [1, 1, 0]]]
    assert padded.value_maps is not None
    assert padded.value_maps[0, :, 2].isnan().all()
    assert torch.equal(padded.sizes, batch.sizes)
    assert pad_targets(batch, (2, 2)).label_maps is batch.label_maps

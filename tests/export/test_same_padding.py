"""timm's "SAME" padding in whole numbers is timm's own, and takes its place only while a net is traced."""

from __future__ import annotations

import sys

import pytest
import torch

from toolkit.export.same_padding import pad_same, whole_numbers

padding = pytest.importorskip("timm.layers.padding")


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_it_is_timms(kernel: int, stride: int, dilation: int) -> None:
    for height, width in [(1, 2), (7, 8), (33, 10), (12, 31)]:
        x = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
        sides = [kernel, kernel], [stride, stride], [dilation, dilation]
        assert torch.equal(pad_same(x, *sides, value=-1), padding.pad_same(x, *sides, value=-1))


def test_timm_has_its_own_again_whatever_happens() -> None:
    user = sys.modules["timm.layers.conv2d_same"]
    own, seen = user.pad_same, []

    def fail() -> None:
        seen.append(user.pad_same)
        raise ValueError("nothing")

    with pytest.raises(ValueError, match="nothing"), whole_numbers():
        fail()
    assert seen == [pad_same]
    assert user.pad_same is own

"""Resizing inside exported programs gives OpenCV's bytes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from toolkit.ops.opencv_resize import resize_bytes


@pytest.mark.parametrize(
    ("before", "after"),
    [((37, 51), (64, 64)), ((97, 131), (360, 480)), ((1, 7), (5, 9)), ((40, 100), (64, 41)), ((64, 64), (32, 32))],
)
def test_bytes_are_opencvs(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    shrinks = after[0] * after[1] < before[0] * before[1]
    wanted = cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    found = resize_bytes(torch.from_numpy(image).permute(2, 0, 1)[None], after)[0].permute(1, 2, 0).numpy()
    assert (found == wanted).all()

"""Test-time augmentation against its slow twin: each look by itself, turned back, and made one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from prediction_jobs import dense_model, detector
from torch import Tensor

import toolkit
from toolkit.errors import ConfigError
from toolkit.inference.several_looks import looks_of, several_looks
from toolkit.ops.resize import upsample
from toolkit.predictions import Detections
from toolkit.samples import Batch

RNG = np.random.default_rng(0)


def batch_of(height: int, width: int) -> Batch:
    small = torch.from_numpy(RNG.integers(0, 256, (1, 3, height // 8, width // 8), dtype=np.uint8)).float()
    images = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear").round().to(torch.uint8)
    size = torch.tensor([[height, width]])
    return Batch(images, size, size, ("a",))


def logits(model: Any, images: Tensor) -> Tensor:
    size = torch.tensor([images.shape[-2:]])
    with torch.inference_mode():
        return model.head(model.pyramid(model.prepared(Batch(images, size, size, ("a",)))))


def test_one_look_is_the_model_itself() -> None:
    model = dense_model()
    assert several_looks(model) == model.predict


def test_a_mirror_image_is_averaged_in() -> None:
    model, batch = dense_model(), batch_of(48, 64)
    mean = (logits(model, batch.images) + logits(model, batch.images.flip(-1)).flip(-1)) / 2
    (found,) = several_looks(model, 2)(batch)
    assert torch.equal(found[0], upsample(mean, model.head.stride, (48, 64)).argmax(1)[0].to(torch.uint8))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_another_size_is_read_where_the_cells_lie(scale: float) -> None:
    """At half and twice the size the positions are exact: the mean of two cells, or half way between two."""
    model, batch = dense_model(), batch_of(48, 64)
    other = torch.nn.functional.interpolate(
        batch.images.float(), scale_factor=scale, mode="bilinear", align_corners=False, antialias=True
    )
    own, more = logits(model, batch.images), logits(model, other.round().to(torch.uint8))
    read = torch.nn.functional.interpolate(more, size=own.shape[-2:], mode="bilinear", align_corners=False)
    expected = upsample((own + read) / 2, model.head.stride, (48, 64)).argmax(1)[0]
    (found,) = several_looks(model, 1, (1.0, scale))(batch)
    assert (found[0] == expected).float().mean() == 1.0


@pytest.mark.parametrize("size", [(50, 70), (37, 51)])
def test_every_size_of_picture_is_answered_in_its_own_pixels(size: tuple[int, int]) -> None:
    model = dense_model()
    (found,) = several_looks(model, 2, (1.0, 0.75, 1.25))(batch_of(*size))
    assert tuple(found[0].shape) == size


def test_boxes_of_a_mirror_image_come_back_and_merge() -> None:
    model, batch = detector(), batch_of(64, 96)
    with torch.inference_mode():
        (own,) = model.predict(batch)
        (mirrored,) = model.predict(batch._replace(images=batch.images.flip(-1)))
    assert isinstance(own, Detections)
    assert isinstance(mirrored, Detections)
    back = mirrored.boxes[:, [2, 1, 0, 3]].clone()
    back[:, [0, 2]] = 96 - back[:, [0, 2]]
    (found,) = several_looks(model, 2)(batch)
    assert isinstance(found, Detections)
    every = {tuple(row) for row in torch.cat([own.boxes, back]).round(decimals=3).tolist()}
    assert {tuple(row) for row in found.boxes.round(decimals=3).tolist()} <= every
    assert found.scores[0] == max(own.scores.max(), mirrored.scores.max())
    assert found.classes == own.classes
    assert (found.scores.diff() <= 0).all()


def test_a_picture_that_is_its_own_mirror_image_gains_nothing() -> None:
    model, batch = dense_model(), batch_of(48, 64)
    half = batch.images[..., :32]
    batch = batch._replace(images=torch.cat([half, half.flip(-1)], -1))
    (found,) = several_looks(model, 2)(batch)
    assert torch.equal(found[0], found[0].flip(-1))


def test_who_cannot_be_looked_at_so() -> None:
    with pytest.raises(ConfigError, match="answer with pixels or boxes"):
        several_looks(toolkit.classifier("lenet5", 2), 2)
    with pytest.raises(ConfigError, match="left-right only"):
        several_looks(detector(), 4)
    with pytest.raises(ConfigError, match="wanted flips, scales"):
        looks_of("flip")

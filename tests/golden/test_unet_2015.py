"""Counts and sizes of the 2015 U-Net as a whole model: with its head, other channels and classes, and odd pictures."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from mac_counter import learnable, multiply_adds

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.errors import ImageSizeError, PartsError
from toolkit.heads.pixel import PixelHead
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch


def unet(
    in_channels: int = 1,
    classes: int = 2,
    padding: Literal["valid", "same"] = "valid",
    illegal_sizes: Literal["refuse", "pad"] = "pad",
    width: int = 64,
) -> VisionModel:
    backbone = UNetEncoder(in_channels, width, padding=padding)
    neck = SkipNeck(backbone.spec, padding=padding, fit="crop")
    names = [str(i) for i in range(classes)]
    return VisionModel(backbone, neck, PixelHead(neck.spec, classes), names, illegal_sizes=illegal_sizes)


@pytest.mark.parametrize(
    ("in_channels", "classes", "count"),
    [(1, 2, 31_030_658), (3, 2, 31_031_810), (3, 11, 31_032_395), (3, 21, 31_033_045)],
)
def test_parameters(in_channels: int, classes: int, count: int) -> None:
    with torch.device("meta"):
        model = unet(in_channels, classes)
    assert learnable(model) == count
    assert sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias")) == 6_848 + classes


def released() -> VisionModel:
    """`phseg_v5` of the authors' release: a wider last up-convolution, and a ReLU after each."""
    backbone = UNetEncoder(1, dropout=0.5)
    neck = SkipNeck(backbone.spec, padding="valid", fit="crop", up_channels=[512, 256, 128, 128], up_relu=True)
    return VisionModel(backbone, neck, PixelHead(neck.spec, 2), ["background", "cell"])


def test_the_released_net() -> None:
    with torch.device("meta"):
        model = released()
        assert learnable(model) == 31_100_354
        assert multiply_adds(model, lambda: model(torch.zeros(1, 1, 572, 572))) == 157_294_254_336


def test_its_last_joint_takes_what_the_relu_lets_through() -> None:
    step = SkipNeck(UNetEncoder(1, width=2, depth=2).spec, up_channels=[6], up_relu=True).steps[-1]
    seen: list[torch.Tensor] = []
    step.convs.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    step(torch.randn(1, 4, 4, 4), torch.randn(1, 2, 8, 8), (8, 8))
    assert seen[0].shape[1] == 6 + 2
    assert (seen[0][:, :6] >= 0).all()
    assert (seen[0][:, 6:] < 0).any()


def test_widths_of_up_convolutions_need_up_convolutions() -> None:
    spec = UNetEncoder(1, width=2, depth=3).spec
    with pytest.raises(PartsError, match="upsample is bilinear"):
        SkipNeck(spec, upsample="bilinear", up_channels=[4, 2])
    with pytest.raises(PartsError, match="1 widths for 2 steps"):
        SkipNeck(spec, up_channels=[4])


@pytest.mark.parametrize(("padding", "size", "macs"), [("valid", 572, 150_428_424_448), ("same", 512, 192_384_335_872)])
def test_multiply_adds(padding: Literal["valid", "same"], size: int, macs: int) -> None:
    with torch.device("meta"):
        model = unet(padding=padding)
        images = torch.zeros(1, 1, size, size)
        assert multiply_adds(model, lambda: model(images)) == macs


def test_a_picture_of_another_size_is_refused_with_the_nearest_that_fit() -> None:
    model = unet(illegal_sizes="refuse", width=2)
    for use in (model, lambda images: model.loss(batch_of(images))):
        with pytest.raises(ImageSizeError) as caught:
            use(torch.zeros(1, 1, 572, 600))
        message = str(caught.value)
        assert "16 * k + 12 pixels, at least 188" in message
        assert "572x600" in message
        assert "width 588 or 604" in message
        assert "height 5" not in message
    with pytest.raises(ImageSizeError, match="height 188, width 188"):
        model(torch.zeros(1, 1, 100, 187))


@pytest.mark.parametrize(("size", "answered"), [((188, 200), (4, 20)), ((180, 189), (4, 20)), ((205, 300), (36, 116))])
def test_or_padded_to_the_next_that_fits(size: tuple[int, int], answered: tuple[int, int]) -> None:
    model = unet(width=2)
    assert tuple(model(torch.rand(1, 1, *size)).shape) == (1, 2, *answered)


def test_a_prediction_covers_every_pixel_whatever_the_size() -> None:
    model = unet(width=2).eval()
    for size in ((1, 1), (17, 250), (188, 188)):
        images = (torch.rand(1, 1, *size) * 255).to(torch.uint8)
        assert tuple(model.predict(batch_of(images))[0].labels.shape) == size


def test_labels_beyond_the_answered_pixels_do_not_count() -> None:
    # 92 pixels at each edge: what stands there changes nothing, one pixel further in it does.
    model, images = unet(width=2).eval(), torch.rand(1, 1, 220, 204)
    batch = batch_of(images)
    assert batch.label_maps is not None
    before = model.loss(batch)["cross_entropy"]
    for row, changes in ((91, False), (92, True), (127, True), (128, False)):
        labels = batch.label_maps.clone()
        labels[:, row] = 1
        found = model.loss(batch._replace(label_maps=labels))["cross_entropy"]
        assert bool(found != before) == changes


def batch_of(images: torch.Tensor) -> Batch:
    size = torch.tensor([images.shape[-2:]])
    labels = torch.zeros(1, *images.shape[-2:], dtype=torch.uint8)
    return Batch(images, size, size, ("x",), label_maps=labels)

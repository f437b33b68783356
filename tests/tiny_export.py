"""Nets of some thousand parameters, one of each kind that an export must take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import toolkit.backbones
import toolkit.heads
import toolkit.necks  # noqa: F401 - they register the parts
from toolkit.contracts import BACKBONES, HEADS, NECKS
from toolkit.models.vision_model import VisionModel

CLASSES = ("sky", "road", "car")


def _seeded(make: Callable[[], VisionModel]) -> VisionModel:
    """The model with statistics and shifts that are not 0 and 1, so that nothing is hidden by them."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = make()
        for module in model.modules():
            if (
                isinstance(module, nn.BatchNorm2d)
                and module.running_mean is not None
                and module.running_var is not None
            ):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def tiny_unet(padding: str = "same", samples: int = 1) -> VisionModel:
    """A U-Net of three steps; `valid` loses a border, as the net of 2015."""

    def make() -> VisionModel:
        backbone = BACKBONES.find("unet_encoder")(
            in_channels=3, width=4, depth=3, padding=padding, norm="batch", dropout=0.3
        )
        options = {"padding": "valid", "fit": "crop"} if padding == "valid" else {}
        neck = NECKS.find("skip")(backbone.spec, norm="batch", **options)
        return VisionModel(backbone, neck, HEADS.find("pixel")(neck.spec, 3), CLASSES, samples=samples)

    return _seeded(make)


def tiny_segnet(samples: int = 1) -> VisionModel:
    """Two stages with pooling indices; with several samples, dropout on the deeper one."""

    def make() -> VisionModel:
        drops: dict[str, Any] = {"dropout_after": [2], "dropout": 0.3} if samples > 1 else {}
        backbone = BACKBONES.find("segnet_basic_encoder")(num_stages=2, width=6, **drops)
        neck = NECKS.find("index_unpool")(backbone.spec, convs=[1, 1], kernel_size=7, activation="none", **drops)
        return VisionModel(backbone, neck, HEADS.find("pixel")(neck.spec, 3), CLASSES, samples=samples)

    model = _seeded(make)
    with torch.no_grad():  # untrained logits are of 100, whose last bit is 1e-5: these are of units, as trained ones
        for parameter in model.head.parameters():
            parameter /= 100
    return model


def other_windows(model: VisionModel) -> VisionModel:
    """The net with indices, which in the middle of each map now unpools to the pixel beside the maximum."""

    def moved(_: object, given: tuple, named: dict) -> tuple:
        indices = named["indices"]
        height, width = indices.codes.shape[2:]
        codes = indices.codes.clone()
        codes[:, :, height // 3 : -height // 3, width // 3 : -width // 3] ^= 1
        return given, {"indices": indices._replace(codes=codes)}

    for unpool in model.neck.unpools:
        unpool.register_forward_pre_hook(moved, with_kwargs=True)
    return model


def tiny_coarse(grid: str = "half_pixel", interpolate: str = "logits") -> VisionModel:
    """Logits at stride 4, upsampled behind the head."""

    def make() -> VisionModel:
        backbone = BACKBONES.find("unet_encoder")(in_channels=3, width=4, depth=3, padding="same", norm="batch")
        head = HEADS.find("pixel")(backbone.spec, 3, stride=4, upsample=grid, interpolate=interpolate)
        return VisionModel(backbone, None, head, CLASSES)

    return _seeded(make)


def tiny_lite() -> VisionModel:
    """EfficientNet-Lite, whose padding depends on whether a side is odd; the paths up are narrow."""

    def make() -> VisionModel:
        backbone = BACKBONES.find("efficientnet_lite")()
        neck = NECKS.find("skip")(
            backbone.spec, to_stride=2, channels=[16, 12, 8, 8], upsample="bilinear", norm="batch"
        )
        return VisionModel(backbone, neck, HEADS.find("pixel")(neck.spec, 3), CLASSES)

    return _seeded(make)


def tiny_classifier(backbone: str, grid: int = 1, pool: str = "average", **options: Any) -> VisionModel:
    """A classic net in its own width, pooled to a grid."""

    def make() -> VisionModel:
        body = BACKBONES.find(backbone)(**options)
        return VisionModel(body, None, HEADS.find("image")(body.spec, 3, grid=grid, pool=pool), CLASSES)

    return _seeded(make)


def tiny_lrn() -> VisionModel:
    """A classifier with local response normalisation, pooled to 3x3 cells and fully connected."""

    def make() -> VisionModel:
        body = BACKBONES.find("segnet_basic_encoder")(num_stages=2, width=6)
        head = HEADS.find("image")(body.spec, 3, grid=3, hidden=[8])
        return VisionModel(body, None, head, CLASSES)

    return _seeded(make)


def tiny_of_library(backbone: str, neck: str = "", **options: Any) -> VisionModel:
    """A net of smp or timm, with a decoder of smp's or logits at its finest stride."""

    def make() -> VisionModel:
        body = BACKBONES.find(backbone)(**options)
        made = NECKS.find(neck)(body.spec) if neck else None
        spec = body.spec if made is None else made.spec
        return VisionModel(body, made, HEADS.find("pixel")(spec, 3), CLASSES)

    return _seeded(make)


def tiny_image(head: str = "image") -> VisionModel:
    """One answer a picture: a class, or three values."""

    def make() -> VisionModel:
        backbone = BACKBONES.find("unet_encoder")(in_channels=1, width=4, depth=3, padding="same", norm="batch")
        return VisionModel(backbone, None, HEADS.find(head)(backbone.spec, 3), CLASSES)

    return _seeded(make)

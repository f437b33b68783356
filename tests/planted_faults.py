"""Faults that exports of others have had, planted into a model: (what makes the model, what plants, block, words)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tiny_export import tiny_coarse, tiny_unet

from toolkit.contracts import SizeRule
from toolkit.models.vision_model import VisionModel


def bgr(model: VisionModel) -> None:
    model.backbone.pixel_stats = model.pixel_stats._replace(bgr=True)


def mean(model: VisionModel) -> None:
    model.pixel_shift = model.pixel_shift + 0.2


def no_padding(model: VisionModel) -> None:
    spec = model.spec
    object.__setattr__(spec, "sizes", SizeRule(1, 4, 1) if spec.sizes.multiple == 1 else SizeRule())
    (model.neck or model.backbone).spec = spec


def align(model: VisionModel) -> None:
    model.head.grid = "ends"


def reorder(model: VisionModel) -> None:
    weight, bias = model.head.classifier.weight.data, model.head.classifier.bias.data
    weight[:], bias[:] = weight[[2, 0, 1]].clone(), bias[[2, 0, 1]].clone()


def enlarge(model: VisionModel) -> None:
    with torch.no_grad():
        next(module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)).weight.fill_(
            1e6
        )


FAULTS: list[tuple[Callable[[], VisionModel], Callable[[VisionModel], object], str, str]] = [
    (tiny_unet, bgr, "input", "BGR"),
    (tiny_unet, mean, "input", "mean"),
    (tiny_unet, no_padding, "input", "padding"),
    (tiny_coarse, align, "scores", "align_corners"),
    (tiny_unet, reorder, "logits", "class order"),
]

"""Small random detectors of both styles, whose scores and boxes are spread, and batches of noise to show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.rcnn_presets import DETECTRON2_FPN, FASTER_RCNN_2015
from toolkit.heads.roi import RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.necks.single import Single
from toolkit.samples import Batch, Sample, collate

CLASSES = ("ant", "bee", "cat", "dog", "eel")
STYLES = ("fpn", "2015", "detectron2", "torchvision")
SIZES: list[list[tuple[int, int]]] = [
    [(64, 96)],
    [(127, 80)],
    [(37, 51)],
    [(64, 96), (50, 41), (127, 80)],
    [(33, 97), (97, 33), (200, 150)],
    [(20, 20)],
]


def _settings(style: str) -> dict[str, Any]:
    few = ProposalSettings(before_test=60, after_test=40)
    if style == "fpn":
        return {"rpn": RpnSettings(proposals=few), "roi": RoiSettings(hidden=32)}
    if style == "torchvision":
        anchors = AnchorSettings(style="torchvision")
        return {"rpn": RpnSettings(anchors, few), "roi": RoiSettings(hidden=32, boxes="agnostic")}
    found = dict(DETECTRON2_FPN if style == "detectron2" else FASTER_RCNN_2015)
    own = replace(found["rpn"].proposals, before_test=60, after_test=40)
    if style == "2015":
        own = replace(own, min_side=6)
    return {**found, "rpn": replace(found["rpn"], proposals=own), "roi": replace(found["roi"], hidden=32)}


def tiny_detector(style: str, seed: int = 1) -> VisionModel:
    """A detector of a few thousand weights with the values of a published style, in eval mode."""
    torch.manual_seed(seed)
    backbone = UNetEncoder(in_channels=3, width=4, depth=5, padding="same", norm="batch")
    neck = Single(backbone.spec, 16) if style == "2015" else FPN(backbone.spec, [4, 8, 16], 8)
    head = RcnnHead(neck.spec, len(CLASSES), **_settings(style))
    spread = ((head.rpn.deltas, 0.3), (head.rpn.objectness, 1.0), (head.roi.classes, 0.6), (head.roi.deltas, 0.3))
    for layer, deviation in spread:
        nn.init.normal_(layer.weight, std=deviation)
    return VisionModel(backbone, neck, head, CLASSES).eval()


def noise(sizes: Sequence[tuple[int, int]], files: Sequence[tuple[int, int]] | None = None) -> Batch:
    """Pictures of noise, padded to one size; `files`: their sizes on disk, else double the height, three times the width."""
    random = np.random.default_rng(0)
    files = [(2 * height, 3 * width) for height, width in sizes] if files is None else files
    pictures = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return collate([Sample(one, f"{i}.png", i, files[i]) for i, one in enumerate(pictures)])

"""What tests of prediction jobs share: pictures of several sizes, small models, and what a folder of results holds."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image

import toolkit
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.config.sections import Config
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.restore import Restored
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck

SIZES = ((48, 64), (64, 48), (48, 48))


def picture_folder(folder: Path, count: int = 11, damaged: bool = True) -> Path:
    """Pictures of three sizes in two sub-folders; one of them is cut in half."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("day", "night")[number % 2] / f"p{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        height, width = SIZES[number * 7 % 5 % 3]
        Image.fromarray(small).resize((width, height)).save(path)
    if damaged:
        path = folder / "day" / "p004.png"
        path.write_bytes(path.read_bytes()[:60])
    return folder


def dense_model() -> VisionModel:
    """A U-Net of two levels and three classes."""
    torch.manual_seed(0)
    backbone = UNetEncoder(3, 4, 2, "same")
    neck = SkipNeck(backbone.spec)
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"]).eval()


def detector() -> VisionModel:
    """A Faster R-CNN that gives many boxes."""
    torch.manual_seed(0)
    model = toolkit.faster_rcnn("resnet18", 2, norm="batch")
    model.head.limit_detections(score=0.0, count=20)
    return model.eval()


def restored(model: VisionModel) -> Restored:
    """A model as if it came from a file."""
    return Restored(model, cast(Config, None), Path("model"), {})


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with the hash of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}

"""The fastest engine that `--engine auto` finds here against eager PyTorch in inference mode: forward passes, and `predict`."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import toolkit
from benchmarks.measure import FOLDER
from benchmarks.predict_folder import write_pictures
from benchmarks.rows import Goal, Measurements, Row, Way, Work
from benchmarks.untrained import settled
from toolkit.config.load import load_config
from toolkit.export.engines import with_engine
from toolkit.inference.folder import predict
from toolkit.jobs.build import build_model
from toolkit.models.vision_model import VisionModel

SIZES = {"unet": (360, 480), "segnet": (360, 480), "detector": (480, 640)}
TITLES = {
    "unet": "U-Net resnet18 360 × 480",
    "segnet": "SegNet 360 × 480",
    "detector": "R18-FPN detector 480 × 640",
}
GOALS = {"unet": 1.4, "segnet": 1.8, "detector": 1.3}
APART = {"unet": 0.0, "segnet": 1e-3, "detector": 0.0}
"""Share of values that may differ by more than rounding: around pooling windows of SegNet with two equal maxima."""


def rows() -> list[Row]:
    found = []
    for name, title in TITLES.items():
        goals = (Goal("eager", least=GOALS[name]),)
        found.append(
            Row(f"engine_{name}", f"fastest engine, forward of {title}", forward(name), goals, budget=10, rounds=3)
        )
        found.append(Row(f"engine_{name}_predict", f"fastest engine, predict of a JPEG, {title}", whole(name),
                         (Goal("eager", least=1.0),), budget=10, rounds=3))  # fmt: skip
    return found


def forward(name: str) -> Callable[[Work], Measurements]:
    """From pixels to what the head gives."""

    def measure(work: Work) -> Measurements:
        model, fast, size = _both(name, work)
        images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

        def of(one: VisionModel) -> Way:
            def way() -> Any:
                with torch.inference_mode():
                    return one(images)

            return way

        return work.in_turn({"toolkit": of(fast), "eager": of(model)}, lambda found: _same(found, APART[name]))

    return measure


def whole(name: str) -> Callable[[Work], Measurements]:
    """From a JPEG to its answer in pixels."""

    def measure(work: Work) -> Measurements:
        model, fast, size = _both(name, work)
        (path,) = write_pictures(work.folder / "pictures", 1, size)
        return work.in_turn({"toolkit": lambda: list(predict(fast, path)), "eager": lambda: list(predict(model, path))})

    return measure


def _both(name: str, work: Work) -> tuple[VisionModel, VisionModel, tuple[int, int]]:
    """The model, the same behind the fastest engine, and the size of pictures."""
    os.environ["XDG_CACHE_HOME"] = str(work.folder)  # exported and measured anew
    model = _model(name, toy=work.toy)
    fast = with_engine(copy.deepcopy(model), "auto", 1)
    return model, fast, (64, 96) if work.toy else SIZES[name]


def _model(name: str, *, toy: bool) -> VisionModel:
    torch.manual_seed(0)
    if name == "unet":
        model = toolkit.unet("resnet18", num_classes=11)
    else:
        segnet = "tiny/segnet_camvid" if toy else "segnet_camvid"
        recipe = segnet if name == "segnet" else "faster_rcnn_r18_fpn_bccd"
        config = load_config(str(FOLDER.parent / "configs" / f"{recipe}.yaml"), [])
        model = build_model(config, pretrained=False)
    return settled(model)


def _same(returned: dict[str, Any], share: float) -> None:
    """Raises AssertionError when more than a share of the values differ by more than rounding."""
    mine, theirs = (
        one if isinstance(one, Tensor) else one.objectness for one in (returned["toolkit"], returned["eager"])
    )
    gaps, spread = (mine - theirs).abs(), float(theirs.std())
    apart = float((gaps > 1e-3 * max(spread, 1e-6)).float().mean())
    assert apart <= share, (
        f"{apart:.3g} of the answers differ, by up to {gaps.max():.3g} where they spread by {spread:.3g}"
    )

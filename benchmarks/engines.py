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
from toolkit.export.comparison import BOUNDS
from toolkit.export.engine_model import EngineModel
from toolkit.export.engines import AutoRun, with_engine
from toolkit.export.inside import with_blocks
from toolkit.export.pooling_ties import choices_of, unpooled
from toolkit.export.programs import load_program
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
ROUNDING = 1e-3
"""Difference of a value, in standard deviations of all, that is none."""


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

        return work.in_turn({"toolkit": of(fast), "eager": of(model)}, lambda found: _same(found, model, fast, images))

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


def _same(returned: dict[str, Any], model: VisionModel, fast: VisionModel, images: Tensor) -> None:
    """Raises AssertionError when a value differs by more than rounding.

    Where a net unpools by indices, a window whose two largest values are equal but for rounding may lead either way, and all
    that is computed of it differs: then eager PyTorch runs again with the engine's choices, which must be such windows.

    Args:
        returned: what each way gave.
        model: the model in eager PyTorch.
        fast: the same with the engine.
        images: (N, C, H, W) uint8 that both were shown.
    """
    mine, theirs = (
        one if isinstance(one, Tensor) else one.objectness for one in (returned["toolkit"], returned["eager"])
    )
    most = ROUNDING * max(float(theirs.std()), 1e-6)
    gap = float((mine - theirs).abs().max())
    if gap > most and unpooled(model):
        gap = _with_its_choices(mine, model, fast, images)
    assert gap <= most, f"answers differ by up to {gap:.3g}, allowed {most:.3g}"


def _with_its_choices(mine: Tensor, model: VisionModel, fast: VisionModel, images: Tensor) -> float:
    """The largest difference that is left; infinite where the engine chose a window's value that is no tie.

    Args:
        mine: what the engine gave.
        model: the model in eager PyTorch.
        fast: the same with the engine that was chosen.
        images: (N, C, H, W) uint8 that both were shown.
    """
    assert isinstance(fast, EngineModel)
    assert isinstance(fast.run, AutoRun)
    engine = next(iter(fast.run.chosen.values()))
    file = fast.run.runs[engine].path
    target = {"onnxruntime": "onnx"}.get(engine, engine)
    opened = load_program(with_blocks(file, target, unpooled(model), file.parent / "opened"), 1)
    with torch.inference_mode(), choices_of(model, opened(model.padded(model.entering(images)).numpy())) as chosen:
        again = model(images)
    gap = float((mine - again).abs().max())
    print(
        f"{engine}: {chosen.windows} pooling windows of two equal values, up to {chosen.gap:.2g} of their map's spread apart"
    )
    return gap if chosen.gap <= BOUNDS["float32"].ties else float("inf")

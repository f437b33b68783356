"""Every config under configs/: it builds without data, is the published net to the last number, and can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mac_counter import learnable, multiply_adds

from toolkit.config.load import load_config
from toolkit.heads.image import ImageHead
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.build import build_model, build_optimizer_rule, build_schedule
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Boxes, Sample, collate

ROOT = Path(__file__).resolve().parents[2] / "configs"
FILES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.yaml"))}
TINY = [name for name in FILES if name.startswith("tiny/")]
SLOW = {
    f"tiny/{name}" for name in ("faster_rcnn_shapes", "own_pictures", "dilated_shapes", "unet_camvid", "segnet_camvid")
}

# Learnable numbers, image size, output size, multiply-adds: those of the authors' files, or worked out from them.
PUBLISHED = {
    "segnet_camvid": (29_449_355, (360, 480), (11, 360, 480), 106_712_432_640),
    "segnet_basic_camvid": (1_416_587, (360, 480), (11, 360, 480), 59_188_838_400),
    "bayesian_segnet_camvid": (29_449_355, (360, 480), (11, 360, 480), 106_712_432_640),
    "unet_em": (31_030_658, (572, 572), (2, 388, 388), 150_428_424_448),
    "dilated_frontend_voc": (134_346_581, (900, 900), (21, 66, 66), None),
    "dilated_frontend_camvid": (134_305_611, (900, 1100), (11, 66, 91), None),
    "dilated_frontend_kitti": (134_305_611, (852, 1640), (11, 60, 159), None),
    "dilated_frontend_cityscapes": (134_338_387, (1396, 1396), (19, 128, 128), None),
    "dilated_context_voc": (141_149_720, (900, 900), (21, 66, 66), 826_395_410_952),
    "dilated_context_camvid": (134_313_443, (900, 1100), (11, 66, 91), 1_053_445_617_792),
    "dilated_context_kitti": (134_312_343, (852, 1640), (11, 60, 159), 1_622_029_798_332),
    "dilated_context_cityscapes": (134_368_179, (1396, 1396), (19, 1024, 1024), 2_647_410_518_784),
    "faster_rcnn_vgg16_voc": (137_078_239, None, None, None),
    # torchvision's 41,755,286 with 81 instead of 91 outputs, less the frozen stem and first stage (222,400).
    "faster_rcnn_r50_fpn_coco": (41_481_636, None, None, None),
    "classify/lenet5": (61_706, (28, 28), (10,), 416_520),
    "classify/alexnet": (61_100_840, (224, 224), (1000,), 714_188_480),
    "classify/vgg16": (138_357_544, (224, 224), (1000,), 15_470_264_320),
    "classify/vgg16_bn": (138_365_992, (224, 224), (1000,), 15_470_264_320),
    "classify/googlenet": (13_004_888, (224, 224), (1000,), 1_498_376_192),
    "classify/resnet18": (11_689_512, (224, 224), (1000,), 1_814_073_344),
    "classify/resnet50": (25_557_032, (224, 224), (1000,), 4_089_184_256),
    "classify/densenet121": (7_978_856, (224, 224), (1000,), 2_834_161_664),
}
OURS = {
    *("faster_rcnn_r18_fpn_bccd", "unet_resnet34_camvid", "unet_lite_camvid"),
    *(name for name in FILES if name.startswith("sequences/") or name.endswith(("_bccd", "maxout_shapes"))),
}
"""Combinations nobody published numbers of."""


def on_meta(name: str) -> VisionModel:
    with torch.device("meta"):
        return build_model(load_config(FILES[name]), pretrained=False).eval()


def test_there_are_configs_and_each_says_what_it_is():
    assert len(FILES) >= 20
    assert set(FILES) - set(TINY) - OURS <= set(PUBLISHED), "a new config needs a line in PUBLISHED or OURS"
    for name, path in FILES.items():
        text = path.read_text()
        assert text.startswith("# "), name
        assert f"toolkit train configs/{name}.yaml" in text or "mine.yaml" in text, f"{name} does not say how to run it"


@pytest.mark.parametrize("name", [name for name in FILES if name not in PUBLISHED])
def test_builds_without_data(name):
    model = on_meta(name)
    assert learnable(model) > 0
    config = load_config(FILES[name])
    build_optimizer_rule(config)
    build_schedule(config)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in FILES])
def test_is_the_published_net(name):
    numbers, size, output, macs = PUBLISHED[name]
    model = on_meta(name)
    assert learnable(model) == numbers
    if size is None:
        return
    images = torch.empty(1, model.in_channels, *size, device="meta")
    answers = []

    def run() -> (
        None
    ):  # the parts alone: the model itself would first mirror an illegal size (KITTI's) up to a legal one
        pyramid = model.backbone(images)
        answers.append(model.head(pyramid if model.neck is None else model.neck(pyramid)))

    found = multiply_adds(model, run)
    assert tuple(answers[0].shape) == (1, *output)
    assert macs is None or found == macs


def scene(position: int, model: VisionModel) -> Sample:
    """Blocks of a colour a class, a little noise, and every kind of truth about them."""
    rng = np.random.default_rng(position)
    count = model.num_classes
    border = model.border
    side = model.spec.sizes.next_legal(2 * border + 48)
    blocks = rng.integers(count, size=(-(-side // 24),) * 2)
    labels = np.kron(blocks, np.ones((24, 24), np.int64))[:side, :side].astype(np.uint8)
    colours = np.random.default_rng(99).integers(30, 225, (count, 3))
    image = (colours[labels] + rng.normal(0, 6, (side, side, 3))).clip(0, 255).astype(np.uint8)
    if isinstance(model.head, PixelHead):
        truth = {"label_map": labels}
    elif isinstance(model.head, ImageHead):
        label = position % count
        image = np.broadcast_to(colours[label], image.shape).astype(np.uint8)
        truth = {"image_label": label}
    else:
        label = position % count
        image = rng.integers(100, 120, image.shape).astype(np.uint8)
        image[8:36, 10:38] = colours[label]
        truth = {"boxes": Boxes.of([[10, 8, 38, 36]], [label])}
    return Sample(image[..., : model.in_channels], str(position), position, image.shape[:2], **truth)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in TINY])
def test_tiny_variants_learn_one_batch(name):
    config = load_config(FILES[name])
    torch.manual_seed(config.seed)
    model = build_model(config, pretrained=False).train()
    batch = collate([scene(position, model) for position in range(2)])
    optimizer = build_optimizer_rule(config).build([{"params": list(model.parameters())}])
    losses: list[float] = []
    # A limit only: most need 20 steps; without normalisation, and with dropout, a net starts slowly.
    while len(losses) < 400 and not (len(losses) >= 5 and max(losses[-5:]) < 0.6 * losses[0]):
        loss = torch.stack(list(model.loss(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert max(losses[-5:]) < 0.6 * losses[0], losses

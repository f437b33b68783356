"""Against torchvision's Faster R-CNN: the same weights and image give the same detections, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from toolkit.backbones.resnet import ResNet
from toolkit.errors import CheckpointError
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.roi import DetectionSettings, RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings
from toolkit.models.torchvision_weights import faster_rcnn_names
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.samples import Batch, Boxes, Detections, Sample, collate

CLASSES = 5
EVERYTHING = 10**6
"""More samples than there are anchors or proposals: nothing is left to chance."""


def make_theirs(size: tuple[int, int] | None = None, **settings: object) -> FasterRCNN:
    """size: to which every picture is resized; None leaves pictures as they are."""
    torch.manual_seed(3)
    # FrozenBatchNorm2d of a random network is the identity: without trained statistics the activations grow from
    # block to block, so each block's last one is turned down.
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    for name, module in backbone.named_modules():
        if name.endswith("bn2"):
            module.weight.fill_(0.3)
    model = FasterRCNN(
        backbone,
        num_classes=CLASSES + 1,
        min_size=min(size) if size else 100,
        max_size=max(size) if size else 1000,
        rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5),
        **settings,
    )
    if size is None:
        model.transform.resize = lambda image, target: (image, target)  # type: ignore[method-assign]
    with torch.no_grad():  # a random head says nothing: louder, so that boxes move and classes differ
        model.rpn.head.cls_logits.weight.mul_(20)
        model.rpn.head.bbox_pred.weight.mul_(3)
        model.roi_heads.box_predictor.cls_score.weight.mul_(60)
        model.roi_heads.box_predictor.bbox_pred.weight.mul_(20)
    return model


def make_ours(theirs: FasterRCNN, **settings: object) -> VisionModel:
    backbone = ResNet(depth=18, norm="frozen_batch")
    neck = FPN(backbone.spec)
    model = VisionModel(backbone, neck, RcnnHead(neck.spec, CLASSES, **settings), [str(k) for k in range(CLASSES)])
    model.load_state_dict(faster_rcnn_names(theirs.state_dict()), strict=True)
    return model


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs and edges of many sizes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8) // 4
    for _ in range(30):
        y, x = rng.integers(0, height - 8), rng.integers(0, width - 8)
        h, w = rng.integers(8, height // 2), rng.integers(8, width // 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


def as_theirs(image: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).to(dtype) / 255


TORCHVISION = AnchorSettings(style="torchvision")
FRIENDLY = [(128, 192)]
ODD = [(107, 150)]
"""Multiples of nothing: what is padded, and where anchors stand, shows."""
MIXED = [(107, 150), (96, 131), (90, 160), (101, 97)]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(FRIENDLY, id="friendly", marks=pytest.mark.slow),
        pytest.param([(160, 224)], id="P6 of 160 rows is not 160 / 64 high"),
        pytest.param(ODD, id="odd", marks=pytest.mark.slow),
        pytest.param(MIXED, id="mixed"),
    ],
)
def test_detections_are_torchvisions(sizes: list[tuple[int, int]]) -> None:
    theirs = make_theirs(rpn_pre_nms_top_n_test=300, rpn_post_nms_top_n_test=200).eval()
    settings = RpnSettings(TORCHVISION, ProposalSettings(before_test=300, after_test=200))
    ours = make_ours(theirs, rpn=settings).eval()
    images = [picture(*size, seed) for seed, size in enumerate(sizes)]
    with torch.no_grad():
        expected = theirs([as_theirs(image) for image in images])
    samples = [Sample(image, f"{i}.png", i, size) for i, (image, size) in enumerate(zip(images, sizes, strict=True))]
    for found, wanted in zip(ours.predict(collate(samples)), expected, strict=True):
        assert isinstance(found, Detections)
        assert len(wanted["boxes"]) >= 20
        assert len(set(wanted["labels"].tolist())) >= 2
        torch.testing.assert_close(found.scores, wanted["scores"], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.boxes, wanted["boxes"], atol=1e-3, rtol=1e-5)
        assert found.labels.tolist() == (wanted["labels"] - 1).tolist()


def test_detections_come_back_in_original_pixels() -> None:
    size = (128, 192)
    theirs = make_theirs(size, rpn_pre_nms_top_n_test=300, rpn_post_nms_top_n_test=200).eval()
    ours = make_ours(theirs, rpn=RpnSettings(TORCHVISION, ProposalSettings(before_test=300, after_test=200))).eval()
    image = picture(256, 384)
    with torch.no_grad():  # torchvision resizes inside; the resized picture goes to ours, with the size it had
        expected = theirs([as_theirs(image)])[0]
        resized = theirs.transform([as_theirs(image)])[0].tensors
        mean, std = (
            torch.tensor(values)[:, None, None] for values in (theirs.transform.image_mean, theirs.transform.image_std)
        )
        batch = Batch(resized * std + mean, torch.tensor([size]), torch.tensor([(256, 384)]), ("a.png",))
    found = ours.predict(batch)[0]
    assert isinstance(found, Detections)
    torch.testing.assert_close(found.boxes, expected["boxes"], atol=2e-3, rtol=1e-5)
    assert found.labels.tolist() == (expected["labels"] - 1).tolist()


OBJECTS = [
    Boxes.of([[10, 12, 60, 90], [70, 20, 128, 95], [100, 80, 108, 89]], [0, 4, 2]),
    Boxes.of([[5.5, 30.25, 40, 64]], [3]),
    Boxes.of([[60, 10, 95, 85], [2, 3, 30, 88]], [1, 1]),
    Boxes.of([[20, 20, 90, 90]], [2]),
]


def their_losses(theirs: FasterRCNN, images: list[np.ndarray]) -> dict[str, torch.Tensor]:
    chosen = OBJECTS[: len(images)]
    targets = [{"boxes": torch.from_numpy(b.xyxy).double(), "labels": torch.from_numpy(b.labels) + 1} for b in chosen]
    return theirs([as_theirs(image, torch.float64) for image in images], targets)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([(96, 160)] * 2, id="friendly", marks=pytest.mark.slow),
        pytest.param([(99, 135)], id="odd", marks=pytest.mark.slow),
        pytest.param(MIXED[:2], id="mixed"),
        pytest.param(MIXED, id="four", marks=pytest.mark.slow),
    ],
)
def test_losses_and_gradients_are_torchvisions_when_everything_is_sampled(
    sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64: there no ReLU sits so near 0 that rounding decides whether it passes a gradient.

    What the heads widen to float32 stays as wide as it is. Targets are made of float32 boxes, so not all digits agree.
    """
    narrow = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda one: one if one.dtype == torch.float64 else narrow(one))
    theirs = make_theirs(
        rpn_pre_nms_top_n_train=120,
        rpn_post_nms_top_n_train=80,
        rpn_batch_size_per_image=EVERYTHING,
        rpn_positive_fraction=1.0,
        box_batch_size_per_image=EVERYTHING,
        box_positive_fraction=1.0,
    ).train()
    ours = make_ours(
        theirs,
        rpn=RpnSettings(
            TORCHVISION, ProposalSettings(before_train=120, after_train=80), samples=EVERYTHING, positive_fraction=1.0
        ),
        roi=RoiSettings(samples=EVERYTHING, positive_fraction=1.0),
    ).train()
    theirs, ours = theirs.double(), ours.double()
    images = [picture(*size, seed + 10) for seed, size in enumerate(sizes)]
    expected = their_losses(theirs, images)
    sample = [Sample(image, f"{n}.png", n, sizes[n], boxes=OBJECTS[n]) for n, image in enumerate(images)]
    batch = collate(sample)
    found = ours.loss(batch._replace(images=batch.images.double() / 255))

    pairs = {
        "rpn_objectness": "loss_objectness",
        "rpn_boxes": "loss_rpn_box_reg",
        "roi_classes": "loss_classifier",
        "roi_boxes": "loss_box_reg",
    }
    assert set(found) == set(pairs)
    for mine, other in pairs.items():
        torch.testing.assert_close(
            found[mine].double(), expected[other].double(), rtol=1e-5, atol=1e-8, msg=lambda m, n=mine: f"{n}: {m}"
        )

    sum(expected.values()).backward()
    sum(found.values()).backward()
    gradients = faster_rcnn_names({n: p.grad for n, p in theirs.named_parameters() if p.grad is not None})
    mine = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    assert set(mine) == set(gradients)
    assert "backbone.conv1.weight" in mine
    for name, gradient in mine.items():
        scale = gradients[name].abs().max().item()
        torch.testing.assert_close(
            gradient.double(),
            gradients[name].double(),
            rtol=1e-4,
            atol=1e-5 * scale + 1e-12,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_parameter_count_is_that_of_the_published_model() -> None:
    with torch.device("meta"):
        backbone = ResNet(depth=50, norm="frozen_batch")
        neck = FPN(backbone.spec)
        counts = {}
        for classes in (90, 20):
            model = VisionModel(backbone, neck, RcnnHead(neck.spec, classes), [str(k) for k in range(classes)])
            counts[classes] = sum(p.numel() for p in model.parameters())
        detectron2 = RcnnHead(neck.spec, 80, roi=RoiSettings(boxes="class"))
        parts = (backbone, neck, detectron2)
    assert counts == {90: 41_755_286, 20: 41_396_536}
    assert sum(p.numel() for part in parts for p in part.parameters()) == 41_699_936


def test_no_score_no_detection() -> None:
    theirs = make_theirs((64, 64)).eval()
    ours = make_ours(theirs, test=DetectionSettings(score=1.0)).eval()
    found = ours.predict(collate([Sample(picture(64, 64), "a.png", 0, (64, 64))]))[0]
    assert isinstance(found, Detections)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


def test_another_models_weights_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"box_head\.0\.0\.weight"):
        faster_rcnn_names({"roi_heads.box_head.0.0.weight": torch.zeros(1)})

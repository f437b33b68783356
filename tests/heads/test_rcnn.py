"""The head `rcnn`: shapes, targets, the two published conventions, and inputs nobody hopes for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rcnn_parts import FPN, NOTHING, SINGLE, SMALL, assert_trains, flagged, make_batch, make_pyramid
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import DataError, PartsError
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.rcnn_presets import DETECTRON2_FPN, FASTER_RCNN_2015
from toolkit.heads.roi import DetectionSettings, PoolSettings, RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings
from toolkit.ops import boxes as box_ops
from toolkit.samples import Boxes, Detections, Sample, collate

# ---------------------------------------------------------------------------------------- shapes and counts


@pytest.mark.parametrize(
    ("spec", "anchors"), [(FPN, 3 * (24 * 32 + 12 * 16 + 6 * 8 + 3 * 4 + 2 * 2)), (SINGLE, 3 * 6 * 8)]
)
def test_forward_gives_tensors_of_the_promised_shapes(spec: PyramidSpec, anchors: int) -> None:
    head = RcnnHead(spec, 4, roi=SMALL)
    raw = head(make_pyramid(spec, (96, 128), 2))
    proposals = len(raw.proposals)
    assert raw.objectness.shape == (2, anchors)
    assert raw.anchor_deltas.shape == (2, anchors, 4)
    assert 2 <= proposals <= 2000
    assert raw.proposal_images.bincount().sum() == proposals
    assert raw.class_logits.shape == (proposals, 5)
    assert raw.box_deltas.shape == (proposals, 5, 4)
    assert bool((raw.proposals[:, 2:] >= raw.proposals[:, :2]).all())


@pytest.mark.parametrize(("boxes", "number"), [("class_and_background", 5), ("class", 4), ("agnostic", 1)])
def test_kinds_of_box_outputs(boxes: Any, number: int) -> None:
    head = RcnnHead(FPN, 4, roi=RoiSettings(hidden=16, boxes=boxes), test=DetectionSettings(score=0.0))
    pyramid = make_pyramid(FPN, (64, 64), grad=True)
    assert head(pyramid).box_deltas.shape[1] == number
    batch = make_batch([(64, 64)], [Boxes.of([[4, 4, 40, 40]], [3])])
    assert_trains(head, pyramid, batch)
    # What is read at test time is what was trained: only class 3's outputs have a gradient.
    trained = (head.roi.deltas.weight.grad.abs().sum(1) > 0).view(-1, 4).any(1).nonzero().flatten().tolist()
    own = {"class_and_background": 4, "class": 3, "agnostic": 0}[boxes]
    assert trained == [own]
    # And that output is the one read at test time: moved by a whole width, only class 3 leaves its proposals.
    proposal = torch.tensor([[0.0, 0, 20, 20]])
    outputs = torch.zeros(1, number, 4)
    outputs[0, own, 0] = 10.0
    found, _, labels = head.roi.detect(torch.zeros(1, 5), outputs, proposal, (64, 64), head.test)
    assert found[labels == 3].tolist() == [[20, 0, 40, 20]]
    expected = [[20, 0, 40, 20]] if boxes == "agnostic" else [[0, 0, 20, 20]]
    assert found[labels == 0].tolist() == expected


@pytest.mark.parametrize(
    ("classes", "scales", "total"), [(20, (8.0, 16.0, 32.0), 137_078_239), (80, (4.0, 8.0, 16.0, 32.0), 138_316_573)]
)
def test_2015_parameter_count(classes: int, scales: tuple[float, ...], total: int) -> None:
    rpn = RpnSettings(anchors=AnchorSettings(scales, style="caffe"), objectness="softmax")
    with torch.device("meta"):
        head = RcnnHead(PyramidSpec((512,), (16,)), classes, **{**FASTER_RCNN_2015, "rpn": rpn})
    vgg16_convolutions = 14_714_688
    assert sum(p.numel() for p in head.parameters()) + vgg16_convolutions == total
    anchors = len(scales) * 3
    assert sum(p.numel() for p in head.rpn.parameters()) == 2_359_808 + 513 * 2 * anchors + 513 * 4 * anchors


def test_runs_on_the_meta_device_with_every_proposal() -> None:
    with torch.device("meta"):
        head = RcnnHead(FPN, 4, roi=SMALL)
        raw = head(make_pyramid(FPN, (256, 256), 2))
    assert raw.class_logits.shape == (2000, 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PyramidSpec((8, 16), (4, 8)), "equal channels"),
        (PyramidSpec((8,), (64,)), "stride 32 or finer"),
        (PyramidSpec((8, 8), (4, 16)), "double"),
        (PyramidSpec((8,), (8,), borders=(92,)), "whole image"),
    ],
)
def test_unfit_pyramids_are_refused(spec: PyramidSpec, message: str) -> None:
    with pytest.raises(PartsError, match=message):
        RcnnHead(spec, 4)


# ---------------------------------------------------------------------------------------- what data brings


@pytest.mark.parametrize("preset", [{}, FASTER_RCNN_2015, DETECTRON2_FPN])
@pytest.mark.parametrize(
    "boxes",
    [
        [NOTHING, NOTHING],
        [NOTHING, Boxes.of([[2, 3, 30, 40]], [1])],
        [Boxes.of([[8, 8, 9, 9], [0, 0, 0.25, 0.25]], [0, 1]), Boxes.of([[5, 5, 5, 9]], [2])],  # tiny, and without area
        [flagged([[0, 0, 64, 64]], [True], [False]), flagged([[0, 0, 64, 64]], [False], [True])],
    ],
    ids=["empty", "one empty", "tiny and degenerate", "crowd and difficult only"],
)
def test_odd_annotations_train(preset: dict[str, Any], boxes: list[Boxes]) -> None:
    settings = {**preset, "roi": RoiSettings(**{**vars(preset.get("roi", RoiSettings())), "hidden": 16})}
    spec = SINGLE if preset is FASTER_RCNN_2015 else FPN
    head = RcnnHead(spec, 3, **settings)
    losses = assert_trains(head, make_pyramid(spec, (96, 96), 2, grad=True), make_batch([(96, 96), (80, 64)], boxes))
    if not any(b.count and not b.crowd.any() and not b.difficult.any() for b in boxes):
        assert losses["rpn_boxes"].item() == 0
        assert losses["roi_boxes"].item() == 0


def test_hundreds_of_objects() -> None:
    corner = np.random.default_rng(0).uniform(0, 100, (400, 2))
    many = Boxes.of(
        np.concatenate((corner, corner + np.random.default_rng(1).uniform(2, 28, (400, 2))), 1), [0, 1] * 200
    )
    head = RcnnHead(FPN, 2, roi=SMALL)
    assert_trains(head, make_pyramid(FPN, (128, 128), 1, grad=True), make_batch([(128, 128)], [many]))


def test_no_proposal_at_all() -> None:
    head = RcnnHead(FPN, 2, rpn=RpnSettings(proposals=ProposalSettings(min_side=500.0)), roi=SMALL)
    pyramid = make_pyramid(FPN, (64, 64), 2, grad=True)
    losses = assert_trains(head, pyramid, make_batch([(64, 64)] * 2, [NOTHING] * 2))
    assert losses["roi_classes"].item() == 0
    found = head.predict(pyramid, make_batch([(64, 64)] * 2, [NOTHING] * 2))
    assert [len(one.boxes) for one in found] == [0, 0]  # type: ignore[union-attr]
    assert head(pyramid).class_logits.shape == (0, 3)


def test_image_smaller_than_every_anchor_inside() -> None:
    head = RcnnHead(SINGLE, 2, **{**FASTER_RCNN_2015, "roi": SMALL})
    losses = assert_trains(head, make_pyramid(SINGLE, (48, 48), 1, grad=True), make_batch([(48, 48)], [NOTHING]))
    assert losses["rpn_objectness"].item() == 0


def rpn_background(unclear: Any, boxes: Boxes) -> Tensor:
    head = RcnnHead(FPN, 2, rpn=RpnSettings(samples=10**6, positive_fraction=1.0), roi=SMALL, unclear=unclear)
    objects = head._objects(make_batch([(128, 128)], [boxes]))[0]
    anchors = head.rpn.anchors(make_pyramid(FPN, (128, 128)))
    places, positive, _ = head.rpn.assign(anchors, objects)
    return anchors[places[~positive]]


def test_crowds_and_difficult_objects_are_not_background_unless_asked_for() -> None:
    region = torch.tensor([[16.0, 16, 80, 80]])
    crowd = flagged([[16, 16, 80, 80]], [True], [False])
    difficult = flagged([[16, 16, 80, 80]], [False], [True])
    every = len(rpn_background("background", NOTHING))
    assert len(rpn_background("background", crowd)) == len(rpn_background("background", difficult)) == every
    assert len(rpn_background("ignore", NOTHING)) == every
    kept = rpn_background("ignore", crowd)
    assert 0 < len(kept) < every
    assert float(box_ops.covered_by(kept, region).max()) < 0.5
    kept = rpn_background("ignore", difficult)
    assert 0 < len(kept) < every
    assert float(box_ops.box_iou(kept, region).max()) < 0.3


def test_errors_name_the_image() -> None:
    head = RcnnHead(FPN, 2, roi=SMALL)
    pyramid = make_pyramid(FPN, (64, 64), 1)
    with pytest.raises(DataError, match=r"0\.png: label 5, but the head has classes 0\.\.1"):
        head.loss(pyramid, make_batch([(64, 64)], [Boxes.of([[0, 0, 9, 9]], [5])]))
    with pytest.raises(DataError, match="annotated"):
        head.loss(pyramid, make_batch([(64, 64)], [NOTHING])._replace(boxes=None))


def test_under_autocast_boxes_are_float32() -> None:
    head = RcnnHead(FPN, 3, roi=SMALL, test=DetectionSettings(score=0.0))
    pyramid = make_pyramid(FPN, (96, 96), 1, grad=True)
    batch = make_batch([(96, 96)], [Boxes.of([[4, 4, 60, 60]], [1])])
    with torch.autocast("cpu", torch.bfloat16):
        raw = head(pyramid)
        losses = head.loss(pyramid, batch)
        found = head.predict(pyramid, batch)[0]
    assert {part.dtype for part in raw if part.is_floating_point()} == {torch.float32}
    assert {value.dtype for value in losses.values()} == {torch.float32}
    # bfloat16 has no odd number above 256, and no quarter above 32: decoded boxes do.
    assert found.boxes.dtype == torch.float32
    assert not torch.equal(found.boxes, found.boxes.bfloat16().float())


def test_results_do_not_depend_on_the_rest_of_the_batch() -> None:
    head = RcnnHead(FPN, 3, roi=SMALL, test=DetectionSettings(score=0.2)).eval()
    nn.init.normal_(head.roi.classes.weight, std=0.5)
    pyramid = make_pyramid(FPN, (96, 96), 2)
    batch = make_batch([(96, 96), (96, 80)], [NOTHING] * 2)
    together = head.predict(pyramid, batch)
    for n in range(2):
        one = FeaturePyramid(tuple(m[n : n + 1] for m in pyramid.maps), FPN, (96, 96))
        alone = head.predict(
            one,
            batch._replace(
                sizes=batch.sizes[n : n + 1],
                original_sizes=batch.original_sizes[n : n + 1],
                names=batch.names[n : n + 1],
            ),
        )[0]
        torch.testing.assert_close(tuple(alone), tuple(together[n]), atol=1e-4, rtol=1e-4)


class Whole(nn.Module):
    """A head behind the simplest of backbones, as something that takes images."""

    def __init__(self, head: RcnnHead) -> None:
        super().__init__()
        self.head = head
        self.stem = nn.Conv2d(3, 8, 7, stride=4, padding=3)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [self.stem(images)]
        for _ in range(4):
            maps.append(nn.functional.max_pool2d(maps[-1], 2, ceil_mode=True))
        return tuple(self.head(FeaturePyramid(tuple(maps), FPN, (images.shape[-2], images.shape[-1]))))


def test_a_traced_detector_is_refused() -> None:
    """Tracing freezes sizes and numbers of boxes: the program would answer wrongly at every other size."""
    model = Whole(RcnnHead(FPN, 3, roi=SMALL)).eval()
    with pytest.raises(PartsError, match="wrong at every other size"):
        torch.jit.trace(model, torch.rand(1, 3, 64, 96))


def test_exported_model_answers_alike_for_another_image() -> None:
    model = Whole(RcnnHead(FPN, 3, roi=SMALL)).eval()
    nn.init.normal_(model.head.rpn.deltas.weight, std=0.5)
    nn.init.normal_(model.head.rpn.objectness.weight, std=3.0)  # no two scores alike, whose order would be open
    exported = torch.export.export(model, (torch.rand(2, 3, 64, 96),)).module()
    images = torch.rand(2, 3, 64, 96)
    expected = model(images)
    found = exported(images)
    assert len(expected[2]) == len(found[2]) > 20
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-4)


# ---------------------------------------------------------------------------------------- it learns


def finds(found: Detections, boxes: Boxes) -> bool:
    """Whether the two best detections are the two boxes, surely and closely."""
    order = found.labels[:2].argsort()
    if found.labels[:2][order].tolist() != [0, 1]:
        return False
    iou = box_ops.box_iou(found.boxes[:2][order], torch.from_numpy(boxes.xyxy)).diagonal()
    return float(found.scores[:2].min()) > 0.8 and float(iou.min()) > 0.8


@pytest.mark.parametrize("kind", ["fpn", pytest.param("2015", marks=pytest.mark.slow)])
def test_overfits_one_picture(kind: str) -> None:
    """Two rectangles of two colours are found again by a net of a few thousand parameters, in as many steps as it needs.

    About 100 steps; how many more differs from machine to machine, as the last bits of their sums do.
    """
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = Boxes.of([[6, 8, 30, 38], [36, 20, 60, 56]], [0, 1])
    for (x1, y1, x2, y2), channel in zip(boxes.xyxy.astype(int), (0, 2), strict=True):
        image[y1:y2, x1:x2, channel] = 255
    batch = collate([Sample(image, "a.png", 0, (64, 64), boxes=boxes)])
    spec = PyramidSpec((16, 16), (8, 16)) if kind == "fpn" else PyramidSpec((16,), (16,))
    stem = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU()
    )
    coarser = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU())
    if kind == "fpn":
        settings: dict[str, Any] = {
            "rpn": RpnSettings(
                anchors=AnchorSettings((3.0,)), samples=32, proposals=ProposalSettings(before_train=60, before_test=60)
            ),
            "roi": RoiSettings(hidden=32, samples=32),
        }
    else:
        rpn = RpnSettings(
            anchors=AnchorSettings((2.0,), style="caffe"), objectness="softmax", samples=32, inside_only=True,
            proposals=ProposalSettings(min_side=4, min_side_in="original"),
        )  # fmt: skip
        roi = RoiSettings(PoolSettings("max"), hidden=32, samples=32, box_beta=1.0)
        settings = {**FASTER_RCNN_2015, "rpn": rpn, "roi": roi}
    head = RcnnHead(spec, 2, **settings)
    net = nn.ModuleList([stem, coarser, head])
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def pyramid() -> FeaturePyramid:
        fine = stem(batch.images / 255)
        maps = (fine, coarser(fine)) if kind == "fpn" else (coarser(fine),)
        return FeaturePyramid(maps, spec, (64, 64))

    for _ in range(50):
        head.train()
        for _ in range(40):
            optimizer.zero_grad()
            sum(head.loss(pyramid(), batch).values()).backward()
            optimizer.step()
        with torch.no_grad():
            found = head.eval().predict(pyramid(), batch)[0]
        assert isinstance(found, Detections)
        if finds(found, boxes):
            return
    pytest.fail(f"not learnt by heart in 2000 steps: {found}")

"""Both stages of the head `rcnn`: where anchors stand, which become proposals, what is learned of them and what is answered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rcnn_parts import FPN, NOTHING, SINGLE, SMALL, make_batch, make_pyramid
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.rcnn_presets import DETECTRON2_FPN, FASTER_RCNN_2015
from toolkit.heads.roi import DetectionSettings, RoiSettings
from toolkit.heads.rpn import AnchorSettings, Objects, ProposalSettings, Rpn, RpnSettings
from toolkit.ops import boxes as box_ops
from toolkit.ops.roi_pooling import MapRows
from toolkit.samples import Detections

# ---------------------------------------------------------------------------------------- region proposals


@pytest.mark.parametrize("objectness", ["sigmoid", "softmax"])
def test_chosen_anchors_answer_as_in_the_whole_and_have_its_gradient(objectness: Any) -> None:
    rpn = Rpn(FPN, RpnSettings(objectness=objectness))
    for layer in (rpn.conv, rpn.objectness, rpn.deltas):
        nn.init.normal_(layer.weight, std=0.3)
        nn.init.normal_(layer.bias)
    pyramid = make_pyramid(FPN, (72, 100), 2, grad=True)
    logits, deltas = rpn(pyramid.maps)
    images, anchors = torch.arange(2).repeat_interleave(300), torch.randint(logits.shape[1], (600,))
    weights = torch.randn(600, 5)
    inputs = [*pyramid.maps, *rpn.parameters()]

    def total(chosen_logits: Tensor, chosen_deltas: Tensor) -> Tensor:
        return (chosen_logits * weights[:, 0]).sum() + (chosen_deltas * weights[:, 1:]).sum()

    found_logits, found_deltas = rpn.at(MapRows.of(pyramid.maps), images, anchors)
    torch.testing.assert_close(found_logits, logits[images, anchors], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_deltas, deltas[images, anchors], atol=1e-4, rtol=1e-4)
    expected = torch.autograd.grad(total(logits[images, anchors], deltas[images, anchors]), inputs)
    found = torch.autograd.grad(total(found_logits, found_deltas), inputs)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-3, rtol=1e-4)


def test_softmax_objectness_is_the_softmax_over_pairs() -> None:
    rpn = Rpn(SINGLE, FASTER_RCNN_2015["rpn"], plus_one=True)
    nn.init.normal_(rpn.objectness.weight)
    maps = torch.randn(1, 8, 3, 4)
    raw = rpn.objectness(rpn.conv(maps).relu())  # (1, 18, 3, 4): nine background channels, then nine of objects
    expected = raw.view(1, 2, 9, 3, 4).softmax(1)[:, 1].permute(0, 2, 3, 1).flatten()
    torch.testing.assert_close(rpn([maps])[0][0].sigmoid(), expected)


def test_2015_anchors_stand_where_they_should() -> None:
    rpn = Rpn(SINGLE, FASTER_RCNN_2015["rpn"], plus_one=True)
    anchors = rpn.anchors(make_pyramid(SINGLE, (600, 1000)))
    assert anchors.shape == (21_546, 4)
    assert anchors[0].tolist() == [-84, -40, 99, 55]
    assert anchors[9].tolist() == [-68, -40, 115, 55]
    # A head of the other convention sees the same pixels.
    modern = Rpn(SINGLE, FASTER_RCNN_2015["rpn"]).anchors(make_pyramid(SINGLE, (600, 1000)))
    assert modern[0].tolist() == [-84, -40, 100, 56]


def test_anchors_follow_the_image_size() -> None:
    rpn = Rpn(FPN, RpnSettings())
    sizes = [(64, 64), (64, 96), (64, 64), (60, 64)]
    grids = [rpn.anchors(make_pyramid(FPN, size)) for size in sizes]
    assert torch.equal(grids[0], grids[2])
    assert len(grids[1]) > len(grids[0])
    assert not torch.equal(grids[0], grids[3])  # equally many cells, but steps of 60 // 16


def test_targets_by_hand() -> None:
    rpn = Rpn(SINGLE, FASTER_RCNN_2015["rpn"], plus_one=True)
    anchors = rpn.anchors(make_pyramid(SINGLE, (600, 800)))
    box = torch.tensor([[200.0, 200, 327, 327]])  # anchor shape 4 at cell (16, 16) is 200..327
    nothing = torch.zeros(0, 4)
    places, positive, targets = rpn.assign(anchors, Objects(box, torch.tensor([0]), nothing, nothing, (600, 800)))
    assert len(places) == 256
    where = (anchors[places] == box).all(1)
    assert where.sum() == 1
    assert bool(positive[where])
    assert targets[where].tolist() == [[0, 0, 0, 0]]
    inside = anchors[places]
    assert bool((inside[:, :2] >= 0).all() & (inside[:, 2] < 800).all() & (inside[:, 3] < 600).all())
    iou = box_ops.box_iou(inside, box, plus_one=True)[:, 0]
    assert bool((iou[positive] >= 0.7).all())
    assert bool((iou[~positive] < 0.3).all())
    assert bool((targets[~positive] == 0).all())


def test_proposals_stay_in_their_image_and_keep_their_size() -> None:
    settings = RpnSettings(proposals=ProposalSettings(min_side=6.0))
    rpn = Rpn(FPN, settings)
    nn.init.normal_(rpn.deltas.weight, std=0.3)
    pyramid = make_pyramid(FPN, (128, 128), 2)
    sizes = [(128, 96), (64, 128)]
    with torch.no_grad():
        proposals = rpn.propose(pyramid, *rpn(pyramid.maps), sizes, [6.0, 6.0], (500, 80))
    for boxes, (height, width) in zip(proposals, sizes, strict=True):
        assert 10 < len(boxes) <= 80
        assert bool((boxes[:, 0::2] >= 0).all() & (boxes[:, 0::2] <= width).all())
        assert bool((boxes[:, 1::2] >= 0).all() & (boxes[:, 1::2] <= height).all())
        assert bool((boxes[:, 2:] - boxes[:, :2] >= 6).all())


def test_each_image_is_proposed_as_if_it_were_alone() -> None:
    rpn = Rpn(FPN, RpnSettings())
    pyramid = make_pyramid(FPN, (96, 96), 3)
    logits, deltas = (part.detach() for part in rpn(pyramid.maps))
    together = rpn.propose(pyramid, logits, deltas, [(96, 96)] * 3, [1.0] * 3, (300, 100))
    for n in range(3):
        alone = rpn.propose(pyramid, logits[n : n + 1], deltas[n : n + 1], [(96, 96)], [1.0], (300, 100))[0]
        assert torch.equal(together[n], alone)


def test_smallest_side_in_original_pixels() -> None:
    head = RcnnHead(SINGLE, 2, **FASTER_RCNN_2015)
    batch = make_batch([(300, 400), (300, 400)], [NOTHING] * 2, [(600, 800), (300, 400)])
    assert head._min_sides(batch) == [8.0, 16.0]
    assert RcnnHead(SINGLE, 2, roi=SMALL)._min_sides(batch) == [1e-3, 1e-3]


# ---------------------------------------------------------------------------------------- second stage


@pytest.mark.parametrize("first", [True, False])
def test_short_boxes_take_no_places_when_they_are_dropped_first(first: bool) -> None:
    """The best anchors are too short: dropped first, the next best take their places, as in py-faster-rcnn."""
    settings = ProposalSettings(min_side_first=first, nms_iou=1.0)
    spec = PyramidSpec((8,), (16,))
    rpn = Rpn(spec, RpnSettings(AnchorSettings(scales=(1.0, 4.0), ratios=(1.0,)), settings))
    pyramid = FeaturePyramid((torch.zeros(1, 8, 8, 8),), spec, (128, 128))
    small = torch.arange(128) % 2 == 0
    logits = torch.where(small, 5.0, -5.0)[None] - torch.arange(128) / 1000
    (found,) = rpn.propose(pyramid, logits, torch.zeros(1, 128, 4), [(128, 128)], [20.0], (10, 100))
    assert len(found) == (10 if first else 0)
    assert (found[:, 2:] - found[:, :2] >= 20).all()


def test_anchors_lie_on_the_stride_at_every_size() -> None:
    """At 800x1066 a quotient of sizes would squeeze those of stride 4 to a step of 3, ending before the image does."""
    rpn = Rpn(PyramidSpec((8,), (4,)), RpnSettings())
    pyramid = FeaturePyramid((torch.zeros(1, 8, 200, 267),), PyramidSpec((8,), (4,)), (800, 1066))
    anchors = rpn.anchors(pyramid).view(200, 267, -1, 4)
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    assert centres[0, -1, 0].tolist() == [4 * 266, 0]
    assert centres[-1, 0, 0].tolist() == [0, 4 * 199]


def test_proposals_of_the_second_stage_by_hand() -> None:
    head = RcnnHead(FPN, 4, roi=SMALL)
    nothing = torch.zeros(0, 4)
    objects = Objects(
        torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]), torch.tensor([3, 1]), nothing, nothing, (64, 64)
    )
    proposals = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 4], [21, 20, 41, 40], [50, 50, 60, 60]])
    boxes, labels, targets = head.roi.assign(proposals, objects)
    found = {tuple(box): label for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)}
    assert found == {
        (0, 0, 10, 5): 3,  # IoU 0.5 exactly
        (0, 0, 10, 4): -1,
        (21, 20, 41, 40): 1,
        (50, 50, 60, 60): -1,
        (0, 0, 10, 10): 3,  # the objects themselves
        (20, 20, 40, 40): 1,
    }
    row = boxes.tolist().index([21, 20, 41, 40])
    torch.testing.assert_close(targets[row], torch.tensor([-0.5, 0, 0, 0]))  # -1 / 20 pixels, times 10


def test_sampled_numbers_and_fraction() -> None:
    head = RcnnHead(FPN, 4, roi=RoiSettings(hidden=16, samples=128))
    nothing = torch.zeros(0, 4)
    objects = Objects(torch.tensor([[0.0, 0, 20, 20]]), torch.tensor([2]), nothing, nothing, (64, 64))
    proposals = torch.cat(
        (torch.tensor([[0.0, 0, 20, 19]]).repeat(200, 1), torch.tensor([[30.0, 30, 60, 60]]).repeat(300, 1))
    )
    _, labels, _ = head.roi.assign(proposals, objects)
    assert (labels == 2).sum() == 32
    assert (labels == -1).sum() == 96


def test_smoothed_labels_mix_the_classes_loss_with_that_of_a_target_without_preference() -> None:
    plain, smooth = (RcnnHead(FPN, 4, roi=RoiSettings(hidden=16, label_smoothing=share)) for share in (0.0, 0.3))
    pyramid = make_pyramid(FPN, (64, 64))
    with torch.no_grad():
        plain.roi.classes.bias.copy_(torch.tensor([3.0, 0, 0, 0, 0]))
    smooth.load_state_dict(plain.state_dict())
    one = [torch.tensor([[50.0, 50, 60, 60]])]
    nobody = [Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), *[torch.zeros(0, 4)] * 2, (64, 64))]
    table = MapRows.of(pyramid.maps)
    logits, _ = plain.roi(pyramid.maps, one[0], torch.zeros(1, dtype=torch.int64), table)
    surprise = -logits.log_softmax(1)[0]
    given = smooth.roi.loss(pyramid.maps, table, one, nobody)["roi_classes"]
    torch.testing.assert_close(given, 0.7 * surprise[0] + 0.3 * surprise.mean())


@pytest.mark.parametrize("preset", [{}, FASTER_RCNN_2015, DETECTRON2_FPN])
def test_perfect_answers_give_the_box_back_in_original_pixels(preset: dict[str, Any]) -> None:
    """A head whose second stage answers what the targets say returns the object, scaled and exclusive."""
    settings = {**preset, "roi": RoiSettings(**{**vars(preset.get("roi", RoiSettings())), "hidden": 16})}
    spec = SINGLE if preset is FASTER_RCNN_2015 else FPN
    head = RcnnHead(spec, 3, **settings)
    truth = torch.tensor([[10.0, 20, 50, 84]])
    inner = box_ops.to_inclusive(truth) if head.plus_one else truth
    proposal = torch.tensor([[14.0, 16, 55, 90]])
    deltas = box_ops.encode(inner, proposal, settings["roi"].box_weights, head.plus_one)
    outputs = torch.zeros(1, head.roi.deltas.out_features // 4, 4)
    outputs[0, -1] = deltas[0]  # class 2 is the last, with or without background in front
    logits = torch.tensor([[0.0, 0, 0, 9]])
    boxes, scores, labels = head.roi.detect(logits, outputs, proposal, (96, 96), head.test)
    assert labels[0] == 2
    assert scores[0] > 0.99
    # 2015: decoding is one pixel too wide, faithfully; the inclusive corner 83 + 1 is read as inclusive again.
    expected = inner + (torch.tensor([0, 0, 1, 1]) if head.plus_one else 0)
    torch.testing.assert_close(boxes[:1], expected, atol=1e-3, rtol=0)


def test_detections_are_sorted_limited_and_above_the_score() -> None:
    head = RcnnHead(FPN, 6, roi=SMALL, test=DetectionSettings(score=0.1, nms_iou=0.5, per_image=7))
    nn.init.normal_(head.roi.classes.weight, std=1.0)
    nn.init.normal_(head.roi.deltas.weight, std=0.5)
    batch = make_batch([(96, 128), (64, 80)], [NOTHING] * 2, [(192, 256), (128, 160)])
    found = head.predict(make_pyramid(FPN, (96, 128), 2), batch)
    for one, (height, width) in zip(found, [(192, 256), (128, 160)], strict=True):
        assert isinstance(one, Detections)
        assert 0 < len(one.boxes) <= 7
        assert one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)
        assert bool((one.scores > 0.1).all())
        assert set(one.labels.tolist()) <= set(range(6))
        assert bool((one.boxes[:, 2] <= width).all() & (one.boxes[:, 3] <= height).all() & (one.boxes >= 0).all())
        assert float(one.boxes[:, 2].max()) > width / 3
        for label in one.labels.unique():
            same = one.boxes[one.labels == label]
            assert bool((box_ops.box_iou(same, same).fill_diagonal_(0) <= 0.5 + 1e-4).all())

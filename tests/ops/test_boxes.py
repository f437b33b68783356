from __future__ import annotations

import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou as their_iou
from torchvision.ops import nms

from toolkit.ops import boxes as box_ops

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(number: int, seed: int = 0, smallest: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 200
    return torch.cat((corner, corner + smallest + torch.rand(number, 2, generator=generator) * 100), 1)


def test_iou_is_torchvisions() -> None:
    first, second = random_boxes(40), random_boxes(30, 1)
    torch.testing.assert_close(box_ops.box_iou(first, second), their_iou(first, second))


def test_iou_by_hand_in_both_conventions() -> None:
    # Ten pixels square each. Inclusive: they share 25 of 175. Exclusive: nine wide, 16 of 146.
    first, second = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[5.0, 5, 14, 14]])
    assert box_ops.box_iou(first, second, plus_one=True).item() == pytest.approx(1 / 7)
    assert box_ops.box_iou(first, second).item() == pytest.approx(16 / 146)


def test_iou_of_nothing_is_zero() -> None:
    empty = torch.tensor([[3.0, 3, 3, 3]])
    assert box_ops.box_iou(empty, empty).item() == 0
    assert box_ops.box_iou(torch.zeros(0, 4), empty).shape == (0, 1)


def test_iou_of_half_precision_boxes_is_computed_wide() -> None:
    boxes = torch.tensor([[0.0, 0, 1000, 1000]]).bfloat16()
    other = torch.tensor([[4.0, 0, 1000, 1000]]).bfloat16()
    assert box_ops.box_iou(boxes, other).dtype == torch.float32
    assert box_ops.box_iou(boxes, other).item() == pytest.approx(0.996)


def test_covered_by_is_relative_to_the_box() -> None:
    box, crowd = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 500, 500]])
    assert box_ops.covered_by(box, crowd).item() == pytest.approx(0.5)
    assert box_ops.covered_by(crowd, box).item() == pytest.approx(50 / (495 * 500))


def test_encode_and_decode_are_torchvisions() -> None:
    coder = BoxCoder(WEIGHTS)
    reference, boxes = random_boxes(50), random_boxes(50, 1)
    torch.testing.assert_close(box_ops.encode(boxes, reference, WEIGHTS), coder.encode([boxes], [reference])[0])
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(2)) * 10  # some beyond the clamp
    expected = coder.decode(deltas, [reference])[:, 0]
    torch.testing.assert_close(box_ops.decode(deltas, reference, WEIGHTS), expected)


@pytest.mark.parametrize("weights", [box_ops.UNIT_WEIGHTS, WEIGHTS])
def test_decode_undoes_encode(weights: tuple[float, ...]) -> None:
    reference, boxes = random_boxes(100), random_boxes(100, 1)
    torch.testing.assert_close(
        box_ops.decode(box_ops.encode(boxes, reference, weights), reference, weights), boxes, rtol=1e-4, atol=1e-3
    )
    shifted = box_ops.decode(box_ops.encode(boxes, reference, weights, True), reference, weights, True)
    torch.testing.assert_close(shifted, boxes + torch.tensor([0, 0, 1, 1]), rtol=1e-4, atol=1e-3)


def test_published_example_of_2015() -> None:
    reference, box = torch.tensor([[10.0, 20, 109, 219]]), torch.tensor([[30.0, 40, 129, 139]])
    deltas = box_ops.encode(box, reference, plus_one=True)
    torch.testing.assert_close(deltas, torch.tensor([[0.2, -0.15, 0, -0.693147]]))
    scaled = box_ops.encode(box, reference, WEIGHTS, plus_one=True)
    torch.testing.assert_close(scaled, torch.tensor([[2, -1.5, 0, -3.465736]]))
    # One more than (129, 139) at the lower right: the decoder of 2015 does not take the 1 off again.
    torch.testing.assert_close(box_ops.decode(scaled, reference, WEIGHTS, True), torch.tensor([[30.0, 40, 130, 140]]))


def test_decode_of_several_deltas_a_box() -> None:
    reference, deltas = random_boxes(6), torch.randn(6, 3, 4)
    every = box_ops.decode(deltas, reference, WEIGHTS)
    for k in range(3):
        assert torch.equal(every[:, k], box_ops.decode(deltas[:, k], reference, WEIGHTS))


def test_growth_is_clamped() -> None:
    grown = box_ops.decode(torch.tensor([[0.0, 0, 100, math.log(2)]]), torch.tensor([[0.0, 0, 16, 16]]))
    assert (grown[0, 2] - grown[0, 0]).item() == pytest.approx(1000, rel=1e-5)
    assert (grown[0, 3] - grown[0, 1]).item() == pytest.approx(32, rel=1e-5)


def test_clip_takes_height_first() -> None:
    boxes = torch.tensor([[-5.0, -5, 700, 500]])
    assert box_ops.clip(boxes, (480, 640)).tolist() == [[0, 0, 640, 480]]
    assert box_ops.clip(boxes, (480, 640), plus_one=True).tolist() == [[0, 0, 639, 479]]


def test_scale_takes_height_first() -> None:
    assert box_ops.scale(torch.tensor([[1.0, 2, 3, 4]]), 10, 100).tolist() == [[100, 20, 300, 40]]


def test_at_least_looks_at_both_sides() -> None:
    boxes = torch.tensor([[0.0, 0, 16, 16], [0, 0, 15, 99], [0, 0, 99, 15]])
    assert box_ops.at_least(boxes, 16).tolist() == [True, False, False]
    assert box_ops.at_least(boxes, 16, plus_one=True).tolist() == [True, True, True]


def test_suppression_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 10, 10]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.8])
    groups = torch.tensor([0, 0, 0, 1])
    assert box_ops.suppress(boxes, scores, groups, 0.5).tolist() == [1, 3, 2]


def test_suppression_with_inclusive_corners_is_that_of_the_same_pixels() -> None:
    boxes = random_boxes(200).round()
    scores = torch.rand(200)
    one_group = torch.zeros(200, dtype=torch.int64)
    expected = nms(boxes, scores, 0.3)
    found = box_ops.suppress(box_ops.to_inclusive(boxes), scores, one_group, 0.3, plus_one=True)
    assert torch.equal(found, expected)
    # IoU 1/2 with the last pixel counted, 72/154 without: the convention decides who stays.
    pair = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 4]])
    assert box_ops.suppress(pair, scores[:2], one_group[:2], 0.45, plus_one=True).numel() == 1
    assert box_ops.suppress(pair, scores[:2], one_group[:2], 0.45).numel() == 2


def test_votes_are_what_a_loop_over_boxes_gives() -> None:
    boxes, groups = random_boxes(60), torch.arange(60) % 3
    scores = torch.rand(60, generator=torch.Generator().manual_seed(1)) + 0.05
    kept = box_ops.suppress(boxes, scores, groups, iou=0.5)
    found = box_ops.voted(kept, boxes, scores, groups, iou=0.3)
    for place, index in zip(found, kept.tolist(), strict=True):
        shares = (their_iou(boxes[index : index + 1], boxes)[0] >= 0.3) & (groups == groups[index])
        expected = (boxes[shares] * scores[shares, None]).sum(0) / scores[shares].sum()
        torch.testing.assert_close(place, expected)
    assert not torch.equal(found, boxes[kept])
    torch.testing.assert_close(box_ops.voted(kept, boxes, scores, groups, iou=1.0), boxes[kept])
    with torch.autocast("cpu", torch.bfloat16):  # in which nets are measured that were trained so
        assert torch.equal(box_ops.voted(kept, boxes, scores, groups, iou=0.3), found)


def test_votes_do_not_depend_on_the_order_of_the_boxes() -> None:
    boxes, scores, groups = random_boxes(40), torch.linspace(0.1, 0.9, 40), torch.arange(40) % 2
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    answers = []
    for b, s, g in ((boxes, scores, groups), (boxes[order], scores[order], groups[order])):
        answers.append(box_ops.voted(box_ops.suppress(b, s, g, iou=0.5), b, s, g, iou=0.6))
    torch.testing.assert_close(*answers)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert box_ops.voted(nothing, boxes[:0], scores[:0], groups[:0], iou=0.5).shape == (0, 4)

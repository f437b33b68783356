from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import Matcher

from toolkit.ops import matching
from toolkit.ops.matching import BACKGROUND, BETWEEN, leave_out, match_boxes, match_iou, sample_balanced

IOU = torch.tensor(  # three objects, four boxes
    [
        [0.80, 0.20, 0.40, 0.10],
        [0.10, 0.25, 0.50, 0.10],
        [0.10, 0.05, 0.45, 0.60],
    ]
)


def test_thresholds_by_hand() -> None:
    # Box 0 is above 0.7; box 1's best is 0.25, below 0.3; boxes 2 and 3 are between.
    assert match_iou(IOU, 0.7, 0.3, keep_best=False).tolist() == [0, BACKGROUND, BETWEEN, BETWEEN]


def test_best_of_each_object_by_hand() -> None:
    # Object 1 is best met by box 2 (0.50) and object 2 by box 3 (0.60).
    assert match_iou(IOU, 0.7, 0.3, keep_best=True).tolist() == [0, BACKGROUND, 1, 2]


def test_the_best_box_of_an_object_keeps_its_own_best_object() -> None:
    # Object 1's best box is box 0, which overlaps object 0 more: it answers for object 0.
    iou = torch.tensor([[0.6, 0.1], [0.4, 0.1]])
    assert match_iou(iou, 0.7, 0.3, keep_best=True).tolist() == [0, BACKGROUND]


def test_ties_are_all_kept_even_below_the_threshold() -> None:
    iou = torch.tensor([[0.2, 0.2, 0.1]])
    assert match_iou(iou, 0.7, 0.3, keep_best=True).tolist() == [0, 0, BACKGROUND]


def test_at_the_threshold() -> None:
    iou = torch.tensor([[0.75, 0.25, 0.125]])
    assert match_iou(iou, 0.75, 0.25, keep_best=False).tolist() == [0, BETWEEN, BACKGROUND]


def test_object_that_nothing_touches_has_no_box() -> None:
    iou = torch.tensor([[0.0, 0.0], [0.9, 0.1]])
    assert match_iou(iou, 0.7, 0.3, keep_best=True).tolist() == [1, BACKGROUND]


def test_no_objects_and_no_boxes() -> None:
    assert match_iou(torch.zeros(0, 3), 0.7, 0.3, keep_best=True).tolist() == [BACKGROUND] * 3
    assert match_iou(torch.zeros(3, 0), 0.7, 0.3, keep_best=True).tolist() == []


@pytest.mark.parametrize("keep_best", [False, True])
def test_equals_torchvisions_matcher(keep_best: bool) -> None:
    iou = torch.rand(7, 200, generator=torch.Generator().manual_seed(1)) ** 3
    expected = Matcher(0.6, 0.3, allow_low_quality_matches=keep_best)(iou)
    assert torch.equal(match_iou(iou, 0.6, 0.3, keep_best), expected)


def some_boxes(number: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 60
    return torch.cat((corner, corner + 5 + torch.rand(number, 2, generator=generator) * 30), 1).round()


@pytest.mark.parametrize("objects", [0, 1, 9])
def test_in_pieces_or_at_once_is_the_same(objects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, targets = some_boxes(300, 0), some_boxes(objects, 1)
    at_once = match_boxes(boxes, targets, 0.6, 0.3, keep_best=True)
    monkeypatch.setattr(matching, "CHUNK", 64)
    assert torch.equal(match_boxes(boxes, targets, 0.6, 0.3, keep_best=True), at_once)


def test_crowds_and_difficult_objects_are_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110], [200, 200, 210, 210], [0, 0, 10, 10]])
    match = torch.tensor([BACKGROUND, BACKGROUND, BACKGROUND, 0])
    crowd = torch.tensor([[5.0, 0, 90, 90]])  # half of box 0, and a tiny IoU with it
    difficult = torch.tensor([[100.0, 100, 110, 105], [200, 200, 230, 230]])  # IoU 1/2 and 1/9
    left = leave_out(match, boxes, crowd, difficult, 0.3, plus_one=False)
    assert left.tolist() == [BETWEEN, BETWEEN, BACKGROUND, 0]
    nothing = torch.zeros(0, 4)
    assert torch.equal(leave_out(match, boxes, nothing, nothing, 0.3, plus_one=False), match)


def labels(positives: int, negatives: int, between: int) -> torch.Tensor:
    parts = [torch.arange(positives) % 3, torch.full((negatives,), BACKGROUND), torch.full((between,), BETWEEN)]
    return torch.cat(parts)[torch.randperm(positives + negatives + between)]


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (300, 1000, (128, 128)),
        (10, 1000, (10, 246)),
        (0, 1000, (0, 256)),
        (10, 20, (10, 20)),
        (300, 0, (128, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_sample_numbers(positives: int, negatives: int, expected: tuple[int, int]) -> None:
    match = labels(positives, negatives, 50)
    positive, negative = sample_balanced(match, 256, 0.5)
    assert (len(positive), len(negative)) == expected
    assert bool((match[positive] >= 0).all())
    assert bool((match[negative] == BACKGROUND).all())
    assert len(set(positive.tolist()) | set(negative.tolist())) == sum(expected)


def test_sample_is_a_function_of_the_seed_and_is_fair() -> None:
    match = torch.full((40,), BACKGROUND)
    draws = [sample_balanced(match, 10, 0.5, torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert set(draws[0].tolist()) != set(draws[2].tolist())
    generator = torch.Generator().manual_seed(0)
    times = sum(torch.bincount(sample_balanced(match, 10, 0.5, generator)[1], minlength=40) for _ in range(2000))
    # Each is drawn 500 times on average, with a deviation of 19.
    assert int(times.min()) > 400
    assert int(times.max()) < 600

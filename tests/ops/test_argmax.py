from __future__ import annotations

import math

import pytest
import torch

from toolkit.ops import argmax, native
from toolkit.ops.argmax import best_classes
from toolkit.ops.resize import pixel_positions, resize, resize_positions


@pytest.fixture(params=["kernel", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the labels, on maps of any size."""
    if request.param == "kernel" and native.compiler() is None:
        pytest.skip("no C compiler here")
    monkeypatch.setattr(argmax, "_SMALLEST", 0 if request.param == "kernel" else math.inf)
    return str(request.param)


@pytest.mark.parametrize("band_values", [1, 3 * 40 * 7, 1 << 22])
def test_equals_resize_then_argmax_whatever_the_band(monkeypatch, band_values):
    monkeypatch.setattr(argmax, "_BAND_VALUES", band_values)
    logits = torch.randn(3, 9, 11)
    rows, columns = resize_positions(9, 33), resize_positions(11, 40)
    labels, scores = best_classes(logits, rows, columns, with_scores=True)
    whole = resize(logits[None], (33, 40))[0]
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), whole.argmax(0))
    torch.testing.assert_close(scores, whole.softmax(0).amax(0))


def strange(classes: int, height: int, width: int, kind: int) -> torch.Tensor:
    """Random maps; of some kinds with many equal values, with infinities or with what is not a number."""
    maps = torch.randn(classes, height, width)
    if kind == 1:
        maps = maps.round()
    for value, wanted in ((torch.nan, 2), (torch.inf, 3), (-torch.inf, 4)):
        if kind == wanted:
            maps[torch.rand(maps.shape) < 0.2] = value
    return maps


@pytest.mark.parametrize("kind", range(5))
def test_equals_argmax_to_the_bit(way, kind):
    for classes, height, width in ((1, 1, 1), (2, 3, 1), (19, 5, 700), (255, 2, 3), (4, 40, 13)):
        maps = strange(classes, height, width, kind)
        rows, columns = torch.arange(height).double(), torch.arange(width).double()
        assert torch.equal(best_classes(maps, rows, columns)[0].long(), maps.argmax(0))
        if height > 1 and width > 1:  # a part of a larger map, whose rows are not one behind the other
            part = maps[:, 1:, 1:]
            assert torch.equal(best_classes(part, rows[:-1], columns[:-1])[0].long(), part.argmax(0))
        last = maps.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # all classes of a pixel one behind the other
        assert torch.equal(best_classes(last, rows, columns)[0].long(), maps.argmax(0))


@pytest.mark.parametrize("kind", range(5))
def test_both_ways_to_a_label_are_one(monkeypatch, kind):
    if native.compiler() is None:
        pytest.skip("no C compiler here")
    for number in range(40):
        classes, height, width = (int(torch.randint(1, most, ())) for most in (12, 20, 40))
        maps = strange(classes, height, width, kind)
        if number % 3 == 0:
            maps = maps.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        after = [int(torch.randint(1, most, ())) for most in (60, 700)]
        rows, columns = resize_positions(height, after[0]), resize_positions(width, after[1])
        if number % 4 == 1:
            rows = pixel_positions(height, 8, after[0], "half_pixel")
        if number % 4 == 2:
            columns = pixel_positions(width, 4, after[1], "corner")
        found = []
        for smallest in (0, math.inf):
            monkeypatch.setattr(argmax, "_SMALLEST", smallest)
            found.append(best_classes(maps, rows, columns)[0])
            labels, softmax = best_classes(maps, rows, columns, with_scores=True)
            assert torch.equal(labels, found[-1])
            found += [softmax, best_classes(maps, rows, columns, logits=False, with_scores=True)[1]]
        assert torch.equal(found[0], found[3]), (number, maps.shape, after)
        torch.testing.assert_close(found[1], found[4], rtol=1e-6, atol=0, equal_nan=True)
        torch.testing.assert_close(found[2], found[5], rtol=0, atol=0, equal_nan=True)


def test_equals_interpolate_then_argmax_but_for_rounding(way):
    for size, after in (((16, 32), (128, 256)), ((45, 60), (360, 480)), ((33, 17), (100, 90))):
        maps = torch.randn(11, *size)
        labels, _ = best_classes(maps, *(resize_positions(*pair) for pair in zip(size, after, strict=True)))
        whole = torch.nn.functional.interpolate(maps[None], size=after, mode="bilinear")[0]
        other = (labels.long() != whole.argmax(0)).nonzero()
        assert len(other) < 1e-4 * labels.numel()
        for row, column in other.tolist():
            first, second = whole[:, row, column].topk(2).values.tolist()
            assert first - second < 1e-5


def test_a_position_that_rounds_to_the_next_value(way):
    maps = torch.tensor([[[0.0, 0.0, 9.0]], [[1.0, 1.0, 1.0]]])
    almost = torch.tensor([0.0, 2.0 - 2e-16, 2.0], dtype=torch.float64)
    assert best_classes(maps, torch.zeros(1), almost)[0].tolist() == [[1, 0, 0]]


def test_threads_share_the_rows(monkeypatch, way):
    maps = torch.randn(7, 30, 20)
    positions = resize_positions(30, 201), resize_positions(20, 77)
    alone = best_classes(maps, *positions)[0]
    torch.set_num_threads(3)
    monkeypatch.setattr(native, "_ITEMS_PER_THREAD", 1000)
    assert torch.equal(best_classes(maps, *positions)[0], alone)


def test_scores_are_softmaxes_for_sure_and_unsure_nets(way):
    maps = torch.randn(19, 40, 50) * torch.logspace(-3, 2.5, 50)
    labels, scores = best_classes(maps, torch.arange(40).double(), torch.arange(50).double(), with_scores=True)
    expected = maps.double().softmax(0).amax(0)
    # PyTorch takes the difference of two large numbers; the kernel sums what is small.
    torch.testing.assert_close(scores.double(), expected, rtol=1e-6 if way == "kernel" else 1e-4, atol=0)
    assert torch.equal(labels.long(), maps.argmax(0))


def test_probabilities_are_their_own_scores():
    probabilities = torch.tensor([0.2, 0.5, 0.3]).reshape(3, 1, 1)
    labels, scores = best_classes(probabilities, torch.zeros(2), torch.zeros(1), logits=False, with_scores=True)
    assert labels.tolist() == [[1], [1]]
    torch.testing.assert_close(scores, torch.full((2, 1), 0.5))


def test_255_classes_fit(way):
    logits = torch.zeros(255, 2, 2)
    logits[254] = 1
    assert best_classes(logits, torch.arange(2.0), torch.arange(2.0))[0].tolist() == [[254, 254], [254, 254]]

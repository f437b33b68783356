from __future__ import annotations

import pytest
import torch

from toolkit.ops import argmax
from toolkit.ops.argmax import best_classes
from toolkit.ops.resize import resize, resize_positions


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


def test_probabilities_are_their_own_scores():
    probabilities = torch.tensor([0.2, 0.5, 0.3]).reshape(3, 1, 1)
    labels, scores = best_classes(probabilities, torch.zeros(2), torch.zeros(1), logits=False, with_scores=True)
    assert labels.tolist() == [[1], [1]]
    torch.testing.assert_close(scores, torch.full((2, 1), 0.5))


def test_255_classes_fit():
    logits = torch.zeros(255, 2, 2)
    logits[254] = 1
    assert best_classes(logits, torch.arange(2.0), torch.arange(2.0))[0].tolist() == [[254, 254], [254, 254]]

"""Probabilities and entropy of a map that is read in pieces, beside F.interpolate, softmax and scipy's entropy of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from toolkit.contracts import Part
from toolkit.ops.class_measures import measures_of_part
from toolkit.ops.map_parts import lines_of_part


@pytest.mark.parametrize("logits", [True, False])
def test_as_interpolation_and_softmax_of_the_whole(logits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.ops.class_measures._BAND_VALUES", 4000)  # several bands
    maps = torch.randn(5, 20, 24, generator=torch.Generator().manual_seed(0)) * 3
    maps = maps if logits else maps.softmax(0)
    whole = F.interpolate(maps[None], size=(80, 96), mode="bilinear", align_corners=False)[0]
    expected = whole.softmax(0) if logits else whole
    lines = lines_of_part(Part.whole((20, 24), (80, 96), (80, 96)), 4, "half_pixel")
    found, bits = measures_of_part(maps, *lines, logits=logits, probabilities=True, entropy=True)
    assert found is not None
    assert bits is not None
    assert found.dtype == torch.float16
    assert (found.float() - expected).abs().max() <= 1 / 4096 + 1e-5
    np.testing.assert_allclose(bits, stats.entropy(expected.double().numpy(), base=2, axis=0), atol=1e-5)
    assert measures_of_part(maps, *lines, logits=logits, probabilities=False, entropy=False) == (None, None)


def test_parts_are_the_whole() -> None:
    maps = torch.randn(3, 10, 12, generator=torch.Generator().manual_seed(0))
    wanted = {"logits": True, "probabilities": True, "entropy": True}
    size, original = (40, 48), (50, 31)
    whole = measures_of_part(maps, *lines_of_part(Part.whole((10, 12), size, original), 4, "half_pixel"), **wanted)
    for top, bottom in ((0, 17), (17, 50)):
        part = Part((10, 12), size, original, (top, 0), (bottom, 31), (0, 0))
        found = measures_of_part(maps, *lines_of_part(part, 4, "half_pixel"), **wanted)
        for one, other in zip(found, whole, strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other[..., top:bottom, :])

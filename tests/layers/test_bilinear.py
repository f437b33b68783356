from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from toolkit.errors import PartsError
from toolkit.layers.bilinear import bilinear_upsampling


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_it_is_interpolation_of_a_map_surrounded_by_zeros(factor):
    layer = bilinear_upsampling(3, factor).double()
    maps = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    padded = F.interpolate(F.pad(maps, (1, 1, 1, 1)), scale_factor=factor, mode="bilinear", align_corners=False)
    assert torch.allclose(layer(maps), padded[..., factor:-factor, factor:-factor])
    assert not any(p.requires_grad for p in layer.parameters())


def test_published_numbers():
    layer = bilinear_upsampling(19, 8)
    assert sum(p.numel() for p in layer.parameters()) == 4_864
    assert float(layer(torch.ones(1, 19, 3, 3))[0, 0, 0, 0]) == pytest.approx(0.316, abs=5e-4)
    with pytest.raises(PartsError, match="even factor"):
        bilinear_upsampling(2, 3)

"""Dense regression: losses against hand-written ones, unknown pixels, original sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import DataError, PartsError
from toolkit.heads.pixel_values import PixelValuesHead
from toolkit.samples import Batch, Sample, collate

SPEC = PyramidSpec((3,), (1,))
SIZE = (6, 8)


def batch(maps: list[np.ndarray], original: tuple[int, int] = SIZE) -> Batch:
    return collate(
        [
            Sample(np.zeros((*m.shape, 3), np.uint8), f"{i}.png", i, original, value_map=m.astype(np.float32))
            for i, m in enumerate(maps)
        ]
    )


def pyramid(number: int = 2, spec: PyramidSpec = SPEC, size: tuple[int, int] = SIZE) -> FeaturePyramid:
    stride = spec.strides[0]
    cells = [(n - 2 * spec.borders[0]) // stride for n in size]
    return FeaturePyramid((torch.randn(number, 3, *cells),), spec, size)


def truth() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    maps = [rng.uniform(0.5, 4, SIZE) for _ in range(2)]
    maps[0][:2] = np.nan
    return maps


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_the_mean_is_over_known_pixels(loss: Any, positive: bool) -> None:
    head, source, maps = PixelValuesHead(SPEC, 1, loss=loss, positive=positive), pyramid(), truth()
    values = head(source).detach().numpy()[:, 0]
    gap = (np.exp(values) if positive else values) - np.stack(maps)
    wanted = np.nanmean(abs(gap) if loss == "l1" else gap**2)
    found = head.loss(source, batch(maps))["regression"]
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    found.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_the_scale_invariant_loss_is_eigens_equation() -> None:
    head, source, maps = PixelValuesHead(SPEC, 1, loss="silog", positive=True), pyramid(), truth()
    raw = head(source).detach().numpy()[:, 0]
    terms = []
    for logarithms, wanted in zip(raw, maps, strict=True):
        d = (logarithms - np.log(wanted))[~np.isnan(wanted)]
        terms.append((d**2).mean() - 0.5 * d.mean() ** 2)
    assert head.loss(source, batch(maps))["regression"].item() == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("loss", ["l1", "silog"])
def test_nothing_known_costs_nothing(loss: Any) -> None:
    head, source = PixelValuesHead(SPEC, 1, loss=loss, positive=True), pyramid()
    found = head.loss(source, batch([np.full(SIZE, np.nan)] * 2))["regression"]
    found.backward()
    assert found == 0
    assert all(not p.grad.any() for p in head.parameters())


def test_a_border_is_cropped_from_the_truth() -> None:
    spec = PyramidSpec((3,), (1,), borders=(2,))
    head, maps = PixelValuesHead(spec, 1), truth()
    source = pyramid(spec=spec)
    head.loss(source, batch(maps))["regression"].backward()
    maps[1][:2], maps[1][:, :2] = 99.0, 99.0
    before = [p.grad.clone() for p in head.parameters()]
    head.zero_grad()
    head.loss(source, batch(maps))["regression"].backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, head.parameters(), strict=True))


def test_predictions_have_the_original_size_and_a_constant_stays_constant() -> None:
    spec = PyramidSpec((3,), (4,))
    head = PixelValuesHead(spec, 1, positive=True).eval()
    source = FeaturePyramid((torch.ones(1, 3, 2, 3),), spec, (8, 12))
    data = batch([np.ones((7, 10))], original=(21, 31))
    (found,) = head.predict(source, data)
    assert tuple(found.values.shape) == (21, 31)
    expected = float(head(source)[0, 0, 0, 0].detach().exp())
    torch.testing.assert_close(found.values, torch.full((21, 31), expected))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PartsError, match="set positive: true"):
        PixelValuesHead(SPEC, 1, loss="silog")
    head = PixelValuesHead(SPEC, 1, loss="silog", positive=True)
    maps = truth()
    maps[1][3, 3] = 0
    with pytest.raises(DataError, match=r"values above 0, but these have others: 1.png"):
        head.loss(pyramid(), batch(maps))
    with pytest.raises(DataError, match="the data set gives none"):
        head.loss(pyramid(), batch(maps)._replace(value_maps=None))

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from toolkit.layers.pooling import L2Pool2d, Maxout, StochasticPool2d, pooling_layer

GEOMETRIES = [(2, 2, False), (2, 2, True), (3, 2, False), (3, 2, True), (3, 1, False), (2, 3, True)]


@pytest.mark.parametrize("kind", ["max", "average", "l2", "stochastic"])
@pytest.mark.parametrize(("kernel", "stride", "ceil_mode"), GEOMETRIES)
def test_every_kind_has_the_size_of_pytorchs_maximum(kind, kernel, stride, ceil_mode):
    for size in ((8, 9), (7, 10), (5, 5)):
        x = torch.rand(2, 3, *size)
        wanted = F.max_pool2d(x, kernel, stride, ceil_mode=ceil_mode).shape
        assert pooling_layer(kind, kernel, stride, ceil_mode)(x).shape == wanted


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_l2_is_pytorchs_power_average(kernel, stride):
    x = torch.randn(2, 3, 8, 9)
    assert torch.allclose(L2Pool2d(kernel, stride)(x), F.lp_pool2d(x, 2.0, kernel, stride), atol=1e-6)


def test_l2_by_hand_and_its_gradient_at_zero():
    x = torch.tensor([[[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]]], requires_grad=True)
    norms = L2Pool2d(2, 2, ceil_mode=True)(x)
    assert norms.flatten().tolist() == [5.0, 0.0]
    norms.sum().backward()
    assert torch.allclose(x.grad, torch.tensor([[[[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]]]]))


def test_stochastic_evaluates_to_the_weighted_mean():
    # Section 3.1 of the paper's rule by hand: activations 1, 2, 1, 0 have probabilities 1/4, 1/2, 1/4, 0.
    x = torch.tensor([[[[1.0, 2.0], [1.0, 0.0]]]])
    assert StochasticPool2d().eval()(x).item() == pytest.approx(0.25 + 1 + 0.25)


def test_stochastic_draws_in_proportion_to_activations():
    x = torch.tensor([[1.0, 5.0], [3.0, 0.0]]).repeat(1, 1, 100, 100).requires_grad_()
    drawn = StochasticPool2d().train()(x)
    for value, share in ((1.0, 1 / 9), (5.0, 5 / 9), (3.0, 3 / 9), (0.0, 0.0)):
        assert (drawn == value).float().mean().item() == pytest.approx(share, abs=0.015)
    drawn.sum().backward()
    assert torch.equal(F.avg_pool2d(x.grad, 2) * 4, torch.ones_like(drawn)), "one pixel a window has the gradient"
    assert torch.equal((x * x.grad).detach()[x.grad > 0].sort().values, drawn.detach().flatten().sort().values)


def test_stochastic_of_nothing_is_zero():
    x = -torch.rand(1, 2, 5, 5)
    for mode in (True, False):
        assert torch.equal(StochasticPool2d(ceil_mode=True).train(mode)(x), torch.zeros(1, 2, 3, 3))


def test_maxout_takes_neighbouring_channels():
    x = torch.tensor([1.0, 5.0, -2.0, -3.0]).view(1, 4, 1, 1)
    assert Maxout(2)(x).flatten().tolist() == [5.0, -2.0]
    assert Maxout(4)(x).flatten().tolist() == [5.0]
    with pytest.raises(ValueError, match="multiple"):
        Maxout(3)(x)

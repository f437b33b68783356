"""Causality, by gradients: which inputs an output depends on."""

from __future__ import annotations

import pytest
import torch

from toolkit.layers.causal import CausalConv1d, CausalConv2d


def sources(module: torch.nn.Module, shape: tuple[int, ...], output: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Positions of the input that one output position depends on."""
    x = torch.randn(1, 2, *shape, requires_grad=True)
    module(x)[(0, slice(None), *output)].sum().backward()
    return {tuple(position) for position in x.grad.abs().sum((0, 1)).nonzero().tolist()}


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (2, 4), (3, 3)])
def test_a_step_sees_itself_and_earlier_steps(kernel: int, dilation: int) -> None:
    conv = CausalConv1d(2, 3, kernel, dilation)
    assert conv(torch.randn(1, 2, 20)).shape == (1, 3, 20)
    assert sources(conv, (20,), (12,)) == {(12 - k * dilation,) for k in range(kernel)}


def test_dilations_that_double_see_all_of_a_power_of_two() -> None:
    stack = torch.nn.Sequential(*(CausalConv1d(2, 2, 2, d) for d in (1, 2, 4, 8)))
    assert sources(stack, (32,), (20,)) == {(t,) for t in range(5, 21)}


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_a_pixel_sees_what_was_read_before_it(kind: str, dilation: int) -> None:
    conv = CausalConv2d(2, 3, 3, kind, dilation)  # type: ignore[arg-type]
    row = {(5, 5 - dilation)} | ({(5, 5)} if kind == "B" else set())
    above = {(5 - dilation, 5 + shift) for shift in (-dilation, 0, dilation)}
    assert sources(conv, (10, 10), (5, 5)) == row | above


def test_a_net_of_them_never_sees_the_pixel_it_predicts_or_a_later_one() -> None:
    net = torch.nn.Sequential(CausalConv2d(2, 4, 5, "A"), CausalConv2d(4, 4, 3), CausalConv2d(4, 2, 3, dilation=2))
    seen = sources(net, (9, 9), (4, 4))
    assert seen
    assert all((y, x) < (4, 4) for y, x in seen)


def test_masked_taps_receive_no_gradient_and_are_no_state() -> None:
    conv = CausalConv2d(2, 3, 3, "A")
    conv(torch.randn(1, 2, 6, 6)).square().sum().backward()
    reached = conv.weight.grad.abs().sum((0, 1)) > 0
    assert reached.tolist() == [[True, True, True], [True, False, False], [False, False, False]]
    assert set(conv.state_dict()) == {"weight", "bias"}

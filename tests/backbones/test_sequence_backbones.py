"""Laws of nets that read in order: nothing depends on what comes later, and what is shifted in is shifted out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from toolkit.backbones.maxout import MaxoutNet
from toolkit.backbones.pixel_cnn import PixelCnn
from toolkit.backbones.time_delay import TimeDelay
from toolkit.backbones.wavenet import WaveNet
from toolkit.contracts import Backbone
from toolkit.errors import ConfigError


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def seeded(build: Callable[[], Backbone], seed: int = 0) -> Backbone:
    """A net with the same weights in every process: one whose last units are all silent would depend on nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def last_map(net: Backbone, images: Tensor) -> Tensor:
    return net(images).maps[-1]


def sources(net: Backbone, images: Tensor, row: int, column: int) -> set[tuple[int, int]]:
    """The pixels that one cell of the last map depends on."""
    images = images.clone().requires_grad_()
    last_map(net, images)[0, :, row, column].sum().backward()
    assert images.grad is not None
    return {(y, x) for y, x in images.grad[0].abs().sum(0).nonzero().tolist()}


SEQUENCE_NETS = [
    seeded(lambda: WaveNet(1, 6, 5, dilations=[1, 2, 4])),
    seeded(lambda: WaveNet(2, 4, 4, 3, [1, 3])),
    seeded(lambda: TimeDelay(3)),
    seeded(lambda: TimeDelay(2, [4], [6])),
]


@pytest.mark.parametrize("net", SEQUENCE_NETS)
def test_later_steps_and_other_rows_change_nothing(net: Backbone) -> None:
    images = numbers(2, net.in_channels, 3, 24)
    changed = images.clone()
    changed[:, :, 1, 15:] += 5
    one, other = last_map(net, images), last_map(net, changed)
    assert torch.equal(one[:, :, 1, :15], other[:, :, 1, :15])
    assert torch.equal(one[:, :, [0, 2]], other[:, :, [0, 2]])
    assert not torch.allclose(one[:, :, 1, 15], other[:, :, 1, 15])


@pytest.mark.parametrize(
    ("net", "seen"),
    [
        (seeded(lambda: WaveNet(1, 6, 5, dilations=[1, 2, 4])), 1 + 1 + 7),
        (seeded(lambda: WaveNet(1, 6, 5, 3, [1, 3])), 1 + 2 + 2 * 4),
        (seeded(lambda: TimeDelay(3)), 7),
        (seeded(lambda: TimeDelay(3, [4, 4, 2], [2, 3, 4])), 1 + 1 + 2 + 3),
    ],
)
def test_a_step_sees_exactly_the_steps_that_its_docstring_counts(net: Backbone, seen: int) -> None:
    assert sources(net, numbers(1, net.in_channels, 2, 30), 1, 25) == {(1, step) for step in range(26 - seen, 26)}


def test_a_pixel_of_pixel_cnn_sees_only_what_was_read_before_it() -> None:
    net = seeded(lambda: PixelCnn(2, 4, 3, 5))
    seen = sources(net, numbers(1, 2, 12, 12), 7, 6)
    assert seen
    assert all(place < (7, 6) for place in seen)  # rows above, or left of it in its own row
    assert (7, 5) in seen
    images = numbers(1, 2, 12, 12)
    later = images.clone()
    later[:, :, 7, 6:] += 3
    later[:, :, 8:] -= 3
    assert torch.equal(last_map(net, images)[:, :, :7], last_map(net, later)[:, :, :7])
    assert torch.equal(last_map(net, images)[:, :, 7, :7], last_map(net, later)[:, :, 7, :7])


@pytest.mark.parametrize(("net", "reach"), [(SEQUENCE_NETS[0], 8), (SEQUENCE_NETS[2], 6), (SEQUENCE_NETS[3], 5)])
def test_what_is_shifted_in_is_shifted_out(net: Backbone, reach: int) -> None:
    """Where the whole of what is seen lies in both: `reach` steps before the present one."""
    images = numbers(1, net.in_channels, 1, 40)
    shifted = torch.cat([numbers(1, net.in_channels, 1, 7), images[..., :-7]], -1)
    one, other = last_map(net, images), last_map(net, shifted)
    torch.testing.assert_close(other[..., 7 + reach :], one[..., reach:-7])


def test_the_time_delay_net_has_the_weights_of_1989() -> None:
    layers = [sum(p.numel() for p in layer.parameters()) for layer in TimeDelay().layers]
    assert layers == [8 * (16 * 3 + 1), 3 * (8 * 5 + 1)] == [392, 123]
    units = last_map(TimeDelay(), numbers(1, 16, 1, 15))
    assert units.shape == (1, 3, 1, 15)
    assert ((units > 0) & (units < 1)).all()


def test_a_gated_unit_is_the_equation_of_the_paper() -> None:
    net = WaveNet(1, 3, 4, dilations=[2])
    x = net.first(numbers(1, 1, 1, 12))
    (unit,) = net.units
    weight, bias = unit.filter_and_gate.weight, unit.filter_and_gate.bias
    before = nn.functional.pad(x, (2, 0))[..., :12]

    def conv(rows: slice) -> Tensor:
        taps = torch.stack([weight[rows, :, 0] @ before[0, :, 0], weight[rows, :, 1] @ x[0, :, 0]]).sum(0)
        return (taps + bias[rows, None])[None, :, None]

    answer = torch.tanh(conv(slice(0, 3))) * torch.sigmoid(conv(slice(3, 6)))
    following, skip = unit(x)
    torch.testing.assert_close(following, x + unit.residual(answer))
    torch.testing.assert_close(skip, unit.skip(answer))


def test_maxout_is_the_largest_of_its_linear_pieces_and_so_convex() -> None:
    net = MaxoutNet(1, [5], [3], 3).eval()
    _, conv, maxout, pool = net.layers[0]
    one, other = numbers(1, 1, 8, 8), numbers(1, 1, 8, 8).flip(-1)
    pieces = torch.stack([nn.functional.conv2d(one, conv.weight[k::3], conv.bias[k::3], padding=1) for k in range(3)])
    largest = pieces.amax(0)
    torch.testing.assert_close(maxout(conv(one)), largest)
    torch.testing.assert_close(last_map(net, one), pool(largest))
    middle = last_map(net, (one + other) / 2)
    assert (middle <= (last_map(net, one) + last_map(net, other)) / 2 + 1e-6).all()


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 widths and 1 windows"):
        TimeDelay(3, [4, 4], [2])
    with pytest.raises(ConfigError, match="1 widths and 2 numbers of pieces"):
        MaxoutNet(1, [4], [2, 2])
    with pytest.raises(ConfigError, match="choose an odd one"):
        MaxoutNet(1, kernel_size=4)

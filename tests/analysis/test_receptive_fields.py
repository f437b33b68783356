"""Fields by theory against brute force: one bright row at a time, weights that are never negative, and who lights up."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.analysis.spans import Span, Window, extent, slide, spread
from toolkit.analysis.trace import Trace


def theory(net: nn.Module, size: tuple[int, int], channels: int = 1) -> tuple[Trace, Tensor]:
    images = torch.empty(1, channels, *size, device="meta")
    with Trace(net.to("meta")).of(images) as trace:
        output = net(images)
    return trace, output


def lit_rows(net: nn.Module, size: tuple[int, int], channels: int = 1) -> np.ndarray:
    """(pixels, cells) along the height: whether a bright row of pixels changes a row of cells."""
    height = size[0]
    images = torch.eye(height, dtype=torch.float64).reshape(height, 1, height, 1).expand(height, channels, *size)
    with torch.no_grad():
        output = net(images)
    return (output.amax((1, 3)) > 1e-11).numpy()  # a resizing's weights of 0 are rounded to 1e-16


def positive(net: nn.Module) -> nn.Module:
    """Weights of one sign without bias: an influence can fade, but never vanish."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    return net.double()


class Join(nn.Module):
    """Concatenates or adds two branches, the second cut or resized to the first's size."""

    def __init__(self, first: nn.Module, second: nn.Module, how: str) -> None:
        super().__init__()
        self.first, self.second, self.how = first, second, how

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x), self.second(x)
        if self.how == "resize" and other.shape != one.shape:
            other = F.interpolate(other, size=one.shape[-2:], mode="bilinear")
        else:
            cut = [max(0, (b - a) // 2) for a, b in zip(one.shape[-2:], other.shape[-2:], strict=True)]
            other = other[..., cut[0] : cut[0] + one.shape[-2], cut[1] : cut[1] + one.shape[-1]]
            pads = [one.shape[-1] - other.shape[-1], one.shape[-2] - other.shape[-2]]
            other = F.pad(other, (0, pads[0], 0, pads[1]))
        return one + other if self.how == "add" else torch.cat([one, other], 1).mean(1, keepdim=True)


class Every(nn.Module):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 1 :: self.step, :: self.step]


def layer(rng: random.Random) -> nn.Module:
    kernel, stride, dilation = rng.choice([1, 2, 3, 5]), rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3])
    makers = [
        lambda: nn.Conv2d(1, 1, kernel, stride, rng.randint(0, kernel // 2), dilation, bias=False),
        lambda: nn.Conv2d(1, 1, 3, 1, 1, bias=False),
        lambda: nn.ConvTranspose2d(1, 1, max(kernel, stride), stride, rng.randint(0, kernel // 2), bias=False),
        lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False, dilation=rng.choice([1, 3])),
        lambda: nn.MaxPool2d(2, 2, ceil_mode=rng.random() < 0.5),
        lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=rng.random() < 0.5),
        lambda: nn.AvgPool2d(3, rng.choice([1, 2]), 1),
        lambda: nn.Upsample(scale_factor=2, mode=rng.choice(["nearest", "bilinear"])),
        lambda: nn.Upsample(scale_factor=1.5, mode=rng.choice(["nearest", "bilinear", "nearest-exact"])),
        lambda: nn.Upsample(size=(rng.randint(40, 50), 17), mode=rng.choice(["nearest", "bilinear", "nearest-exact"])),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        lambda: nn.AdaptiveAvgPool2d((rng.randint(20, 31), 9)),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.PixelShuffle(2)),
        lambda: nn.Sequential(nn.ConstantPad2d((0, 0, 2, -1), 0.0), nn.Dropout(0.3).eval()),
        lambda: Every(2),
        lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.ReLU(inplace=True)),
    ]
    return rng.choice(makers)()


def net_of(rng: random.Random, depth: int = 2) -> nn.Module:
    layers = [layer(rng) for _ in range(rng.randint(1, 3))]
    if depth and rng.random() < 0.7:
        branches = net_of(rng, depth - 1), net_of(rng, depth - 1) if rng.random() < 0.6 else nn.Identity()
        layers.insert(rng.randint(0, len(layers)), Join(*branches, rng.choice(["add", "concat", "resize"])))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(48))
def test_random_nets(seed):
    """Cells far from every edge see exactly their field; none sees a pixel outside of it."""
    for attempt in range(20):
        rng = random.Random(100 * seed + attempt)
        size = rng.randint(100, 120), 24
        net = net_of(rng)
        try:
            trace, output = theory(net, size)
        except RuntimeError:  # too small for so many layers
            continue
        if output.numel() < 10_000:
            break
    found = lit_rows(positive(net.to_empty(device="cpu")), size)
    span = trace.field(output).y
    assert span.exact
    assert found.shape[1] == output.shape[2] == span.size
    lo, hi = span.cells()
    exact = not any(isinstance(module, nn.AdaptiveAvgPool2d) for module in net.modules())
    middle = range(span.size * 2 // 5, span.size * 3 // 5) if exact else range(0)
    for cell in range(span.size):
        lit = np.flatnonzero(found[:, cell])
        if len(lit):
            assert lo[cell] <= lit[0] <= lit[-1] <= hi[cell], (cell, net)
        if cell in middle and lo[cell] >= 0 and hi[cell] < size[0]:
            assert (lo[cell], hi[cell]) == (lit[0], lit[-1]), (cell, net)


def seen(net: nn.Module, size: tuple[int, int], channels: int = 1) -> tuple[list[int], list[int]]:
    """First and last pixel that each row of the output's cells sees, before the image's edges cut them."""
    trace, output = theory(net.eval(), size, channels)
    lo, hi = trace.field(output).y.cells()
    return lo.tolist(), hi.tolist()


def test_textbook_recursion():
    """r' = r + (K_eff - 1) j and j' = j S along a chain, with the centre of the first cell."""
    span, field, jump = Span.of_image(2, 256), 1, 1
    for kernel, stride, padding, dilation in ((7, 2, 3, 1), (3, 1, 0, 2), (2, 2, 0, 1), (5, 3, 1, 1)):
        span = slide(span, Window(kernel, stride, padding, dilation), 20)
        field += (kernel - 1) * dilation * jump
        jump *= stride
        assert extent(span)[:2] == (field, field)
        assert span.jump == jump
    assert extent(slide(Span.of_image(2, 64), Window(3, 2, 1), 32)).centre == 0.0
    assert extent(slide(Span.of_image(2, 64), Window(2, 2), 32)).centre == 0.5


def test_transposed_convolution_undoes_the_grid_of_a_strided_one():
    span = spread(slide(Span.of_image(2, 64), Window(2, 2), 32), Window(2, 2), 64)
    lo, hi = span.cells()
    assert lo.tolist() == [i - i % 2 for i in range(64)]
    assert hi.tolist() == [i - i % 2 + 1 for i in range(64)]
    # A stride larger than the kernel leaves cells that only the bias reaches.
    gaps = extent(spread(Span.of_image(2, 8), Window(1, 3), 22))
    assert gaps.smallest == 0
    assert gaps.largest == 1


def test_other_forms_of_the_same_layer_agree():
    """Fields follow what is computed, not what modules are called."""

    class Shuffle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            n, c, h, w = x.shape
            return x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2)
            return F.gelu(tokens).transpose(1, 2).reshape(x.shape)

    class Unfolded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))

    def chain(*layers: nn.Module, channels: int = 4) -> tuple[list[int], list[int]]:
        return seen(nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), *layers, nn.Conv2d(channels, 1, 3, 1, 1)), (30, 30))

    assert chain(Shuffle(), channels=1) == chain(nn.PixelShuffle(2), channels=1)
    assert chain(Last()) == chain(nn.Conv2d(4, 4, 1)) == chain(Tokens()) == chain()
    assert chain(Unfolded()) == chain(nn.MaxPool2d(3, 2))


def test_answers_for_the_whole_image():
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.mean((2, 3), keepdim=True).sigmoid()

    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2)
            tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
            return tokens.transpose(1, 2).reshape(x.shape)

    for net in (Gate(), Attention(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample(size=(12, 9)))):
        lo, hi = seen(net, (12, 9), 4)
        assert set(lo) == {0}
        assert set(hi) == {11}
    trace, _ = theory(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 7, 5)), (8, 9))
    row = trace.rows()[-1]
    assert (row.kind, row.output, row.whole_image, row.jump) == ("linear", (5, 1, 1), True, None)
    assert row.receptive_field == (8, 9)


def test_unpooled_cells_see_at_most_their_window():
    """Where the maxima stood decides which cells are alive; the field is that of all of them."""

    class Codec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            pooled, places = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            return self.last(F.max_unpool2d(pooled, places, 2, output_size=x.shape))

    net = positive(Codec())
    lo, hi = seen(Codec(), (31, 16))
    found = lit_rows(net, (31, 16))
    for cell, lit in enumerate(np.flatnonzero(column) for column in found.T):
        assert not len(lit) or lo[cell] <= lit[0] <= lit[-1] <= hi[cell]
    trace, _ = theory(Codec(), (31, 16))
    rows = {row.name: row for row in trace.rows()}
    assert rows["unpool"].data_dependent
    assert rows["last"].data_dependent
    assert not rows["first"].data_dependent
    assert rows["last"].receptive_field == (6, 6)  # 3 + 1, and the two rows of a neighbouring window


@pytest.mark.parametrize("size", [(45, 61), (64, 64), (33, 100)])
def test_sizes_are_what_is_computed(size):
    """Rows of a net with every rounding there is, against the shapes of a real run."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(4, 6, 3, 1, 0, 2),
        nn.ConvTranspose2d(6, 4, 3, 2, 1, 1), nn.AvgPool2d(2), nn.Upsample(scale_factor=1.5, mode="bilinear"),
    )  # fmt: skip
    shapes = []
    for module in net:
        module.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    net(torch.zeros(1, 3, *size))
    trace, _ = theory(net, size, 3)
    assert [row.output for row in trace.rows()] == shapes[: len(net)]

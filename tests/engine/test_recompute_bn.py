from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.engine.batch_norm import recompute_bn
from toolkit.errors import DataError
from toolkit.samples import Batch


class Net(nn.Module):
    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(dropout)
        self.second, self.norm2 = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(self.second(self.dropout(self.norm1(self.first(x)).relu())))


def batch_of(number: int, side: int) -> Batch:
    size = torch.tensor([[side, side]] * number)
    return Batch(torch.rand(number, 3, side, side) + torch.rand(1), size, size, ("",) * number)


BATCHES = [(4, 8), (4, 8), (1, 11)]


@pytest.mark.parametrize("bessel", [False, True])
def test_averages_of_the_batches_own_statistics_layer_by_layer(bessel):
    net, batches = Net(), [batch_of(*shape) for shape in BATCHES]
    sums = {name: [torch.zeros(c), torch.zeros(c)] for name, c in (("norm1", 4), ("norm2", 5))}

    def normalise(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        sums[name][0] += mean / len(batches)
        sums[name][1] += x.var((0, 2, 3), unbiased=bessel) / len(batches)
        eps = getattr(net, name).eps
        return (x - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + eps).sqrt()

    with torch.no_grad():
        for batch in batches:
            normalise(net.second(normalise(net.first(batch.images), "norm1").relu()), "norm2")
    assert recompute_bn(net, batches, bessel) == 3
    for name, (mean, variance) in sums.items():
        assert torch.allclose(getattr(net, name).running_mean, mean, atol=1e-6)
        assert torch.allclose(getattr(net, name).running_var, variance, rtol=1e-5, atol=1e-6)


def test_a_single_batch_gives_its_training_output():
    # With dropout off, evaluation on the only batch is what normalising by that batch gives.
    net, batch = Net(dropout=0.0), batch_of(3, 9)
    recompute_bn(net, [batch])
    with torch.no_grad():
        assert torch.allclose(net.eval()(batch.images), net.train()(batch.images), atol=1e-5)


def test_repeats_whatever_was_there_before_and_leaves_settings_alone():
    net, batches = Net(), [batch_of(*shape) for shape in BATCHES]
    net.train()
    net.norm1.momentum = 0.3
    recompute_bn(net, batches)
    first = [net.norm1.running_mean.clone(), net.norm2.running_var.clone()]
    recompute_bn(net, batches)
    assert torch.equal(first[0], net.norm1.running_mean)
    assert torch.equal(first[1], net.norm2.running_var)
    assert (net.training, net.norm1.training, net.norm1.momentum) == (True, True, 0.3)


def test_frozen_layers_stay():
    class Frozen(Net):
        def train(self, mode: bool = True) -> Net:
            super().train(mode)
            self.norm1.eval()
            return self

    net = Frozen()
    recompute_bn(net, [batch_of(2, 9)])
    assert torch.equal(net.norm1.running_mean, torch.zeros(4))
    assert not torch.equal(net.norm2.running_mean, torch.zeros(5))


def test_no_batches_are_refused_and_change_nothing():
    net = Net()
    with pytest.raises(DataError):
        recompute_bn(net, [])

    def broken():
        yield batch_of(2, 9)
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        recompute_bn(net, broken())
    assert torch.equal(net.norm1.running_mean, torch.zeros(4))
    assert torch.equal(net.norm2.running_var, torch.ones(5))

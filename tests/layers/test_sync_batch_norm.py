"""Synchronised batch norm of two processes is PyTorch's batch norm of one with the whole batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.layers.recomputed import recompute
from toolkit.layers.sync_batch_norm import ProcessBatchNorm, sync_batch_norm


class Together:
    """Two threads that add tensors up as two processes would."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=60)
        self.given: dict[int, Tensor] = {}
        self.rank = threading.local()

    def all_reduce(self, tensor: Tensor) -> None:
        self.given[self.rank.number] = tensor.clone()
        self.barrier.wait()
        total = self.given[0] + self.given[1]
        self.barrier.wait()
        tensor.copy_(total)

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None, None]

        def one(rank: int) -> None:
            self.rank.number = rank
            results[rank] = work(rank)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Together:
    made = Together()
    monkeypatch.setattr(torch.distributed, "all_reduce", made.all_reduce)
    return made


def net(affine: bool = True, momentum: float | None = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6, affine=affine, momentum=momentum)
    if affine:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    return nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 2, 1)).double()


def compare(together: Together, split: int, again: bool = False, **options: Any) -> None:
    """The whole batch in one net, and its two pieces in two; losses are sums, so gradients add up."""
    images = 3 + 2 * torch.rand(4, 3, 9, 11, dtype=torch.float64)
    one = net(**options)
    inputs = images.clone().requires_grad_()
    whole = one(inputs)
    whole.square().sum().backward()

    def half(rank: int) -> tuple[nn.Sequential, Tensor, Tensor]:
        mine = nets[rank]
        part = images[:split] if rank == 0 else images[split:]
        part = part.clone().requires_grad_()
        out = mine(part)
        out.square().sum().backward()
        assert part.grad is not None
        return mine, out.detach(), part.grad

    nets = [sync_batch_norm(net(**options), "cpu") for _ in range(2)]
    assert all(isinstance(each[1], ProcessBatchNorm) for each in nets)
    for each in nets:
        recompute(each, "units" if again else "none")
    results = together.run(half)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([result[1] for result in results]), whole.detach(), **close)
    torch.testing.assert_close(torch.cat([result[2] for result in results]), inputs.grad, **close)
    for name, parameter in one.named_parameters():
        grads = [dict(result[0].named_parameters())[name].grad for result in results]
        torch.testing.assert_close(grads[0] + grads[1], parameter.grad, **close, msg=name)
    for name, buffer in one.named_buffers():
        for result in results:
            torch.testing.assert_close(dict(result[0].named_buffers())[name], buffer, **close, msg=name)


@pytest.mark.parametrize("split", [2, 1])
def test_two_processes_are_one(together: Together, split: int) -> None:
    compare(together, split)


def test_without_scale_and_without_momentum(together: Together) -> None:
    compare(together, 2, affine=False, momentum=None)


def test_recomputed_in_backward(together: Together) -> None:
    compare(together, 2, again=True)


def test_gradients_are_those_of_the_formula(together: Together) -> None:
    """Finite differences in float64, each process's gradient that of the sum over both."""
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    factors = torch.rand(4, 3, 2, 2, dtype=torch.float64)

    def loss_of(images: Tensor) -> Tensor:
        norm = nn.BatchNorm2d(3).double()
        return (norm(images) * factors).sum()

    def half(rank: int) -> Tensor:
        part = x[2 * rank : 2 * rank + 2].clone().requires_grad_()
        (norms[rank](part) * factors[2 * rank : 2 * rank + 2]).sum().backward()
        assert part.grad is not None
        return part.grad

    norms = [sync_batch_norm(nn.BatchNorm2d(3).double(), "cpu") for _ in range(2)]
    found = torch.cat(together.run(half))
    step = 1e-6
    for place in [(0, 0, 0, 0), (1, 2, 1, 0), (3, 1, 1, 1)]:
        up, down = x.clone(), x.clone()
        up[place] += step
        down[place] -= step
        slope = (loss_of(up) - loss_of(down)) / (2 * step)
        assert float(found[place]) == pytest.approx(float(slope.detach()), rel=1e-5, abs=1e-8)


def test_evaluation_and_names_are_as_before() -> None:
    plain = net()
    plain(torch.rand(4, 3, 9, 9, dtype=torch.float64))
    expected = plain.eval()(x := torch.rand(1, 3, 9, 9, dtype=torch.float64))
    names = list(plain.state_dict())
    synced = sync_batch_norm(plain, "cpu")
    assert list(synced.state_dict()) == names
    assert torch.equal(synced(x), expected)


def test_fused_layers_of_others_are_refused_on_a_cpu() -> None:
    class Fused(nn.BatchNorm2d):
        pass

    with pytest.raises(ConfigError, match=r"train.sync_bn: .*class Fused cannot be synchronised on a CPU"):
        sync_batch_norm(nn.Sequential(Fused(3)), "cpu")

"""Batch normalisation over the batches of all processes together, where PyTorch's own does not run (CPUs, gloo).

Ioffe & Szegedy, "Batch Normalization", 2015 (arXiv 1502.03167), algorithm 1 and the gradients of section 3, with every
sum taken over all processes. Two processes with half a batch each compute what one computes with the whole, up to the
order of sums; halves may differ in size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.errors import ConfigError, Problem

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class ProcessBatchNorm(_BatchNorm):
    """(N, C, ...) -> the same shape. Parameters, buffers and evaluation are PyTorch's; statistics are everybody's."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch normalisation takes (N, C, ...), found {tuple(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Normalised by the statistics of all processes while training, by the running ones otherwise."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        mean, variance, count = _statistics(x.detach())
        self._track(mean, variance * (count / (count - 1).clamp_min(1)))
        return _Normalise.apply(x, self.weight, self.bias, mean, (variance + self.eps).rsqrt(), count)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """The running averages, as PyTorch keeps them (with the corrected variance)."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def sync_batch_norm(net: nn.Module, device: str) -> nn.Module:
    """The net with all batch normalisation synchronised; parameters, buffers and their names stay.

    On CUDA it becomes PyTorch's `SyncBatchNorm`, elsewhere `ProcessBatchNorm`, in place. Raises ConfigError for layers
    of other classes there.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    fused = {type(norm).__name__ for norm in norms if type(norm) not in (*_PLAIN, nn.SyncBatchNorm, ProcessBatchNorm)}
    if device == "cuda":
        if not fused:
            return nn.SyncBatchNorm.convert_sync_batchnorm(net)
        from timm.layers import convert_sync_batchnorm  # its layers hold the activation too; it knows them

        return convert_sync_batchnorm(net)
    if fused:
        message = f"batch normalisation of the class {', '.join(sorted(fused))} cannot be synchronised on a CPU"
        raise ConfigError(Problem("train.sync_bn", message, "train on GPUs, choose another backbone, or leave it out"))
    for norm in norms:
        norm.__class__ = ProcessBatchNorm
    return net


def _over_channels(x: Tensor) -> tuple[list[int], list[int]]:
    """The dimensions that are summed, and the shape of (C,) beside x."""
    return [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C,) over all processes, and how many values a channel has: float32 or better."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    dims, shape = _over_channels(x)
    sums = torch.cat([x.sum(dims), x.new_tensor([x.numel() / x.shape[1]])])
    torch.distributed.all_reduce(sums)
    mean, count = sums[:-1] / sums[-1], sums[-1]
    squares = (x - mean.view(shape)).square().sum(dims)
    torch.distributed.all_reduce(squares)
    return mean, squares / count, count


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, scale: Tensor, count: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, scale, count)
        shape = _over_channels(x)[1]
        factor = scale if weight is None else scale * weight
        shift = -mean * factor if bias is None else bias - mean * factor
        return (x.to(factor.dtype) * factor.view(shape) + shift.view(shape)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        dims, shape = _over_channels(x)
        grad = grads[0].to(scale.dtype)
        centred = (x.to(scale.dtype) - mean.view(shape)) * scale.view(shape)
        own = torch.cat([grad.sum(dims), (grad * centred).sum(dims)])
        everyone = own.clone()
        torch.distributed.all_reduce(everyone)
        by_shift, by_scale = everyone.chunk(2)
        factor = scale if weight is None else scale * weight
        through = grad - (by_shift / count).view(shape) - centred * (by_scale / count).view(shape)
        to_bias, to_weight = own.chunk(2)  # of this process: the others' are added by DDP
        affine = (None, None) if weight is None else (to_weight.to(weight.dtype), to_bias.to(weight.dtype))
        return (through * factor.view(shape)).to(x.dtype), *affine, None, None, None

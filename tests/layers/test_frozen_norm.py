"""Frozen norms done by their convolutions, against convolution and norm one after the other."""

from __future__ import annotations

import copy

import torch

from toolkit.backbones.resnet import ResNet
from toolkit.layers.frozen_norm import NormedConv2d


def one_after_the_other(net: ResNet) -> ResNet:
    plain = copy.deepcopy(net)
    for module in plain.modules():
        if isinstance(module, NormedConv2d):
            module.__class__ = torch.nn.Conv2d
        module.__dict__.pop("forward", None)
    return plain


def test_values_gradients_and_names_are_those_of_both_layers() -> None:
    torch.manual_seed(0)
    for depth, count in ((18, 20), (50, 53)):
        net = ResNet(depth, norm="frozen_batch", width=16).double()
        assert sum(isinstance(module, NormedConv2d) for module in net.modules()) == count  # every convolution
        for module in net.modules():
            for name, buffer in module.named_buffers(recurse=False):
                buffer.uniform_(0.2, 0.4) if name in ("weight", "running_var") else buffer.normal_()
        plain = one_after_the_other(net)
        assert net.state_dict().keys() == plain.state_dict().keys()
        images = torch.rand(1, 3, 32, 64, dtype=torch.float64)
        ours, wanted = net(images).maps[-1], plain(images).maps[-1]
        torch.testing.assert_close(ours, wanted)
        (ours.square().sum() + net(images).maps[1].sum()).backward()
        (wanted.square().sum() + plain(images).maps[1].sum()).backward()
        for mine, other in zip(net.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)


def test_a_copy_takes_its_own_statistics() -> None:
    net = ResNet(18, norm="frozen_batch", width=16)
    copied = copy.deepcopy(net)
    copied.bn1.running_mean.add_(1)  # type: ignore[union-attr,operator]
    images = torch.rand(1, 3, 32, 32)
    assert not torch.equal(copied(images).maps[0], net(images).maps[0])

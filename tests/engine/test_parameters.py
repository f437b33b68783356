"""Every trained parameter is in exactly one group, by the rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.engine.parameters import parameter_groups
from toolkit.errors import ConfigError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, 3)


def names(net: nn.Module, groups: list[dict[str, object]]) -> dict[str, set[str]]:
    of = {id(p): name for name, p in net.named_parameters()}
    return {str(g["name"]): {of[id(p)] for p in g["params"]} for g in groups}  # type: ignore[attr-defined]


def test_one_group_without_rules() -> None:
    net = Net()
    assert names(net, parameter_groups(net, 0.1)) == {"model": {name for name, _ in net.named_parameters()}}


def test_four_groups_with_both_rules() -> None:
    net = Net()
    groups = parameter_groups(net, 0.1, backbone_lr_factor=0.1, decay_norm_and_bias=False)
    assert names(net, groups) == {
        "backbone": {"backbone.0.weight"},
        "backbone, not decayed": {"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"},
        "model": {"head.weight"},
        "model, not decayed": {"head.bias"},
    }
    by_name = {str(group["name"]): group for group in groups}
    assert by_name["backbone"]["lr"] == 0.1 * 0.1
    assert by_name["model, not decayed"]["weight_decay"] == 0.0


def test_factor_zero_freezes() -> None:
    net = Net()
    assert names(net, parameter_groups(net, 0.1, backbone_lr_factor=0)) == {"model": {"head.weight", "head.bias"}}
    before = net.backbone[0].weight.clone()
    net.head(net.backbone(torch.randn(2, 1, 5, 5)).mean((2, 3))).sum().backward()
    assert net.backbone[0].weight.grad is None
    assert torch.equal(before, net.backbone[0].weight)


def test_biases_of_convolutions_and_linear_layers_go_faster() -> None:
    net = Net()
    groups = parameter_groups(net, 0.1, bias_lr_factor=2.0, decay_norm_and_bias=False)
    assert names(net, groups) == {
        "model": {"backbone.0.weight", "head.weight"},
        "model, biases, not decayed": {"backbone.0.bias", "head.bias"},
        "model, not decayed": {"backbone.1.weight", "backbone.1.bias"},
    }
    assert [group["lr"] for group in groups] == [0.1, 0.2, 0.1]


def test_frozen_parts_are_named_by_whole_parts_of_a_name() -> None:
    net = Net()
    found = names(net, parameter_groups(net, 0.1, frozen=["backbone.0", "head.bias"]))
    assert found == {"model": {"backbone.1.weight", "backbone.1.bias", "head.weight"}}
    with pytest.raises(ConfigError, match="begins with 'back'; did you mean 'backbone'"):
        parameter_groups(net, 0.1, frozen=["back"])

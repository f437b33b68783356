"""Rates, depths and late parts against hand-built groups and loops of PyTorch's own optimizers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from toolkit.backbones.resnet import ResNet
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.engine.batch_norm import freeze_batch_norms
from toolkit.engine.optim import AdamW, Sgd
from toolkit.engine.parameters import LateParts, group_lines, layer_depths, parameter_groups
from toolkit.errors import ConfigError


class Net(nn.Module):
    """Three layers of a backbone, a neck and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.stem = nn.Conv2d(1, 2, 1)
        self.backbone.norm = nn.BatchNorm2d(2)
        self.backbone.stages = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))])
        self.neck = nn.ModuleDict({"project": nn.Conv2d(2, 2, 1), "out": nn.Conv2d(2, 2, 1)})
        self.head = nn.Conv2d(2, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.backbone.norm(self.backbone.stem(x))
        for stage in self.backbone.stages:
            x = stage(x).relu()
        return self.head(self.neck["out"](self.neck["project"](x)))


def rates(net: nn.Module, groups: list[dict[str, object]]) -> dict[str, float]:
    return {name: group["lr"] for group in groups for name in group["parameters"]}  # type: ignore[attr-defined,misc]


def test_the_longest_beginning_gives_the_factor() -> None:
    net = Net()
    groups = parameter_groups(net, 1.0, lr_factors={"backbone": 0.1, "backbone.stages.1": 0.5, "neck.project": 2.0})
    for name, rate in rates(net, groups).items():
        wanted = 0.5 if name.startswith("backbone.stages.1.") else 0.1 if name.startswith("backbone.") else 1.0
        assert rate == (2.0 if name.startswith("neck.project.") else wanted), name
    assert sorted(name for group in groups for name in group["parameters"]) == sorted(
        n for n, _ in net.named_parameters()
    )


def test_factor_zero_freezes_and_two_factors_of_the_backbone_are_refused() -> None:
    net = Net()
    groups = parameter_groups(net, 1.0, lr_factors={"neck": 0.0})
    assert not any(p.requires_grad for p in net.neck.parameters())
    assert not any(name.startswith("neck") for name in rates(net, groups))
    with pytest.raises(ConfigError, match=r"gives the backbone 0\.2, and train\.backbone_lr_factor 0\.1"):
        parameter_groups(Net(), 1.0, lr_factors={"backbone": 0.2}, backbone_lr_factor=0.1)
    assert rates(net, parameter_groups(Net(), 1.0, lr_factors={"head": 3.0}, backbone_lr_factor=0.1)) == {
        name: 0.1 if name.startswith("backbone") else 3.0 if name.startswith("head") else 1.0
        for name, _ in net.named_parameters()
    }


def test_rate_and_decay_by_pattern_are_caffes_multipliers() -> None:
    """Biases of convolutions at twice the rate and without decay; a longer name decides before a pattern."""
    net = Net()
    groups = parameter_groups(
        net,
        0.1,
        lr_factors={"*.stages.*.bias": 2.0, "head": 3.0},
        decay_factors={"*.bias": 0.0, "backbone.norm.bias": 0.5},
        weight_decay=0.01,
    )
    decays = {name: group.get("weight_decay", 0.01) for group in groups for name in group["parameters"]}
    found = rates(net, groups)
    for name, _ in net.named_parameters():
        assert decays[name] == (0.005 if name == "backbone.norm.bias" else 0.0 if name.endswith(".bias") else 0.01), (
            name
        )
        in_stages = ".stages." in name and name.endswith(".bias")
        assert found[name] == pytest.approx(0.3 if name.startswith("head") else 0.2 if in_stages else 0.1), name
    with pytest.raises(ConfigError, match=r"train\.decay_factors: no parameter's name fits the pattern '\*\.biass'"):
        parameter_groups(Net(), 1.0, decay_factors={"*.biass": 0.0})


@pytest.mark.parametrize(
    "asked", [{"lr_factors": {"backbne": 1.0}}, {"frozen": ["backbone.stage"]}, {"lr_factors": {"neck.projct": 1.0}}]
)
def test_unknown_beginnings_have_near_names(asked: dict[str, object]) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.(lr_factors|frozen): no parameter's name begins with .*did you mean"
    ):
        parameter_groups(Net(), 1.0, **asked)  # type: ignore[arg-type]


def test_depth_counts_from_the_top_and_norms_belong_to_the_layer_before() -> None:
    net = Net()
    depths = layer_depths(net)
    for name, depth in depths.items():
        wanted = 3 if name.startswith(("backbone.stem", "backbone.norm")) else 2 if ".stages.0." in name else 1
        assert depth == (wanted if name.startswith("backbone") else 0), name
    for name, rate in rates(net, parameter_groups(net, 2.0, layer_decay=0.5, lr_factors={"head": 3.0})).items():
        assert rate == 2.0 * 0.5 ** depths[name] * (3.0 if name.startswith("head") else 1.0)


def test_depths_of_real_backbones() -> None:
    holder = nn.Module()
    holder.backbone = UNetEncoder(width=4, depth=3)
    assert sorted(set(layer_depths(holder).values())) == [1, 2, 3]
    holder.backbone = ResNet(depth=18, weights=None)
    depths = layer_depths(holder)
    # torchvision's ResNet-18: a stem and eight residual blocks.
    assert depths["backbone.conv1.weight"] == depths["backbone.bn1.weight"] == 9
    assert depths["backbone.layer1.0.conv1.weight"] == 8
    assert depths["backbone.layer4.1.bn2.bias"] == 1


def test_group_lines_say_what_is_trained_how() -> None:
    net = Net()
    optimizer = AdamW(0.1, weight_decay=0.05).build(
        parameter_groups(net, 0.1, lr_factors={"backbone": 0.1}, decay_norm_and_bias=False)
    )
    lines = group_lines(optimizer.param_groups)
    assert lines[0] == "backbone: 3 tensors, 10 numbers, lr 0.01, weight decay 0.05"
    assert any("not decayed" in line and "weight decay 0" in line for line in lines)


def hand_built(net: Net, rule: str) -> torch.optim.Optimizer:
    """The groups of the next test written out by hand."""
    groups = [
        {"params": [net.backbone.stem.weight], "lr": 0.01 * 0.5**3},
        {"params": [net.backbone.stem.bias, *net.backbone.norm.parameters()], "lr": 0.01 * 0.5**3, "weight_decay": 0.0},
        {"params": [net.backbone.stages[0].weight], "lr": 0.01 * 0.5**2},
        {"params": [net.backbone.stages[0].bias], "lr": 0.01 * 0.5**2, "weight_decay": 0.0},
        {"params": [net.backbone.stages[1][0].weight], "lr": 0.01 * 0.5},
        {
            "params": [net.backbone.stages[1][0].bias, *net.backbone.stages[1][1].parameters()],
            "lr": 0.01 * 0.5,
            "weight_decay": 0.0,
        },
        {"params": [net.neck["project"].weight], "lr": 0.1 * 2},
        {"params": [net.neck["project"].bias], "lr": 0.1 * 2, "weight_decay": 0.0},
        {"params": [net.neck["out"].weight, net.head.weight], "lr": 0.1},
        {"params": [net.neck["out"].bias, net.head.bias], "lr": 0.1, "weight_decay": 0.0},
    ]
    if rule == "sgd":
        return torch.optim.SGD(groups, 0.1, momentum=0.9, weight_decay=0.02)
    return torch.optim.AdamW(groups, 0.1, weight_decay=0.02)


def trained(net: Net, optimizer: torch.optim.Optimizer, before: Callable[[int], None] = lambda step: None) -> Net:
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        optimizer.zero_grad(set_to_none=True)
        net(torch.randn(2, 1, 4, 4, generator=generator)).square().mean().backward()
        before(step)
        optimizer.step()
    return net


def fresh() -> Net:
    torch.manual_seed(3)
    return Net()


def assert_equal_weights(one: nn.Module, two: nn.Module) -> None:
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_groups_train_as_groups_written_by_hand(rule: str) -> None:
    # Running statistics: behind batch statistics a gradient is rounding alone, which Adam would blow up.
    ours, theirs = fresh().eval(), fresh().eval()
    groups = parameter_groups(
        ours, 0.1, lr_factors={"backbone": 0.1, "neck.project": 2.0}, layer_decay=0.5, decay_norm_and_bias=False
    )
    built = (Sgd(0.1, 0.9, 0.02) if rule == "sgd" else AdamW(0.1, 0.02)).build(groups)
    assert_equal_weights(trained(ours, built), trained(theirs, hand_built(theirs, rule)))


@pytest.mark.parametrize("rule", [Sgd(0.1, 0.9, 0.02), AdamW(0.1, 0.02)])
def test_a_late_part_does_not_move_and_then_trains_as_a_new_optimizer_would(rule: Sgd | AdamW) -> None:
    """Fused steps, momentum and weight decay: to the bit the start weights until the step, afterwards fresh moments."""
    net, start = fresh(), fresh()
    optimizer = rule.build(parameter_groups(net, 0.1))
    late = LateParts(net, {"backbone": 4, "backbone.norm": 2})
    moved: dict[str, int] = {}

    def before(step: int) -> None:
        for (name, now), (_, then) in zip(net.named_parameters(), start.named_parameters(), strict=True):
            if not torch.equal(now, then):
                moved.setdefault(name, step)
        late.drop_gradients(step)

    trained(net, optimizer, before)
    for name, _ in net.named_parameters():  # update s is seen before update s + 1
        first = 2 if name.startswith("backbone.norm") else 4 if name.startswith("backbone") else 0
        assert moved[name] == first + 1, name
    counts = {name: optimizer.state[p].get("step") for name, p in net.named_parameters()}
    if isinstance(rule, AdamW):
        assert counts["head.weight"] == 6
        assert counts["backbone.stem.weight"] == 2


def test_late_parts_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"train\.freeze_until: no trained parameter's name begins with 'backbon'"):
        LateParts(Net(), {"backbon": 3})
    with pytest.raises(ConfigError, match="nothing would change before step 3"):
        LateParts(Net(), {"backbone": 5, "neck": 3, "head": 9})
    net = Net()
    parameter_groups(net, 0.1, frozen=["neck"])
    with pytest.raises(ConfigError, match="'neck'"):
        LateParts(net, {"neck": 3})


def test_frozen_batch_norms_stay_whatever_mode_is_asked_for() -> None:
    net = fresh()
    net.backbone.norm.running_mean.fill_(0.5)
    assert freeze_batch_norms(net, ["backbone.norm"]) == 1
    net.train()
    assert [net.backbone.norm.training, net.backbone.stages[1][1].training, net.training] == [False, True, True]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained(net, Sgd(0.1, 0.9, 0.1).build(parameter_groups(net, 0.1)))
    after = net.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("backbone.norm.")}
    # It normalises by the running statistics: two batches that differ elsewhere give an image the same answer.
    one, two = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    norm = net.backbone.norm
    assert torch.equal(norm(torch.cat([one, two]))[:1], norm(one))
    with pytest.raises(ConfigError, match="no batch normalisation's name begins with 'head'"):
        freeze_batch_norms(net, ["head"])

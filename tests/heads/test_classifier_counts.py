"""Parameters and multiply-adds of the classic classifiers, against the published counts, without any memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mac_counter import learnable, multiply_adds
from torch import nn

import toolkit.backbones
import toolkit.heads  # noqa: F401  registers
from toolkit.contracts import BACKBONES, HEADS

FC = {"hidden": [4096, 4096]}
ALEX, VGG = {"grid": 6, **FC}, {"grid": 7, **FC}
LENET = {"pool": "none", "grid": 5, "hidden": [120, 84]}
PAPER = {"true_5x5": True, "batch_norm": False}

Row = tuple[str, dict[str, Any], dict[str, Any], int, int, int, int]
ROWS: list[Row] = [
    # backbone, its arguments, the head's, classes, image size, parameters, multiply-adds
    ("lenet5", {}, LENET, 10, 28, 61_706, 416_520),
    ("lenet5", {"padding": 0}, LENET, 10, 32, 61_706, 416_520),
    ("alexnet", {}, ALEX, 1000, 224, 61_100_840, 714_188_480),
    ("alexnet", {"variant": "2012"}, ALEX, 1000, 227, 60_965_224, 724_406_816),
    ("alexnet", {"variant": "2012", "groups": 1}, ALEX, 1000, 227, 62_378_344, 1_135_256_096),
    ("googlenet", {}, {}, 1000, 224, 6_624_904, 1_498_376_192),
    ("googlenet", {"auxiliary": True}, {"auxiliary": "norm"}, 1000, 224, 13_004_888, 1_498_376_192),
    ("googlenet", PAPER, {}, 1000, 224, 6_998_552, 1_582_671_872),
    ("googlenet", {**PAPER, "auxiliary": True}, {"auxiliary": "bias"}, 1000, 224, 13_378_280, 1_582_671_872),
    ("densenet", {"depth": 121}, {}, 1000, 224, 7_978_856, 2_834_161_664),
    ("densenet", {"depth": 161}, {}, 1000, 224, 28_681_000, 7_727_907_072),
    ("densenet", {"depth": 169}, {}, 1000, 224, 14_149_480, 3_359_843_328),
    ("densenet", {"depth": 201}, {}, 1000, 224, 20_013_928, 4_291_365_888),
    ("resnet", {"depth": 18}, {}, 1000, 224, 11_689_512, 1_814_073_344),
    ("resnet", {"depth": 34}, {}, 1000, 224, 21_797_672, 3_663_761_408),
    ("resnet", {"depth": 50}, {}, 1000, 224, 25_557_032, 4_089_184_256),
    ("resnet", {"depth": 101}, {}, 1000, 224, 44_549_160, 7_801_405_440),
    ("resnet", {"depth": 152}, {}, 1000, 224, 60_192_808, 11_513_626_624),
    ("vgg", {"depth": 16}, VGG, 1000, 224, 138_357_544, 15_470_264_320),
    ("vgg", {"depth": 16, "batch_norm": True}, VGG, 1000, 224, 138_365_992, 15_470_264_320),
]


SLOW = [{"depth": depth} for depth in (34, 101, 152, 161, 169, 201)]
"""The same code at other depths: run with the slow tests."""


def _marked(row: Row) -> Any:
    return pytest.param(row, id=f"{row[0]}-{row[1]}", marks=[pytest.mark.slow] if row[1] in SLOW else [])


@pytest.mark.parametrize("row", [_marked(row) for row in ROWS])
def test_parameters_and_multiply_adds_are_the_published_ones(row: Row) -> None:
    name, backbone_arguments, head_arguments, classes, size, parameters, expected = row
    if name not in BACKBONES.names():
        pytest.skip(f"backbone '{name}' is not there")
    with torch.device("meta"):
        backbone = BACKBONES.find(name)(**backbone_arguments)
        head = HEADS.find("image")(backbone.spec, classes, **head_arguments)  # type: ignore[call-arg]
    model = nn.ModuleList([backbone, head]).eval()
    assert learnable(model) == parameters
    images = torch.empty(1, backbone.in_channels, size, size, device="meta")
    assert multiply_adds(model, lambda: head(backbone(images))) == expected


def test_lenet_of_1998_has_60_000_trainable_numbers_before_its_fixed_output() -> None:
    with torch.device("meta"):
        backbone = BACKBONES.find("lenet5")(padding=0, pooling="trainable", connections="table")  # type: ignore[call-arg]
        head = HEADS.find("image")(backbone.spec, 10, **LENET)  # type: ignore[call-arg]
    trainable = learnable(backbone) + learnable(head)
    # The paper ends in Euclidean units with fixed codes; ours is a layer of 10 x (84 + 1).
    assert trainable - 850 == 60_000

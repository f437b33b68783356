"""Nets without numbers have the shapes of those with them, and cost no compiler."""

from __future__ import annotations

import pytest
import torch
from fresh_process import run_fresh
from torch import nn

import toolkit
from toolkit.layers.shapes_only import shapes_only


def test_a_net_without_numbers_has_the_shapes_of_one_with_them() -> None:
    real = toolkit.segnet_basic(num_classes=3)
    with shapes_only():
        outline = toolkit.segnet_basic(num_classes=3)
    assert {name: value.shape for name, value in outline.state_dict().items()} == {
        name: value.shape for name, value in real.state_dict().items()
    }
    assert all(value.is_meta for value in outline.state_dict().values())
    assert outline(torch.zeros(1, 3, 32, 32, device="meta")).shape == real(torch.zeros(1, 3, 32, 32)).shape


@pytest.mark.parametrize(
    "fill", [nn.init.normal_, nn.init.kaiming_normal_, nn.init.trunc_normal_, torch.Tensor.uniform_]
)
def test_a_tensor_with_numbers_is_filled_within_too(fill: object) -> None:
    """A pretrained part may be made on a device of its own."""
    with shapes_only():
        values = torch.zeros(4, 4, device="cpu")
        fill(values)  # type: ignore[operator]
    assert values.abs().sum() > 0


PASS = """
import sys
import toolkit.jobs.check
import toolkit
from toolkit.layers.shapes_only import shapes_only
from toolkit.preflight.model.meta_pass import PartNames, run_meta_pass
with shapes_only():
    model = toolkit.segnet_basic(num_classes=3)
run_meta_pass(model, PartNames("backbone", "neck", "head"), (32, 32), 2)
print("torch._dynamo" in sys.modules)
"""


def test_a_pass_of_shapes_does_not_import_the_compiler() -> None:
    """That takes longer than the rest of a check."""
    assert run_fresh(PASS).strip() == "False"

"""The former class still makes the losses that have names of their own now."""

from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.losses.lovasz import Lovasz
from toolkit.losses.smp import SmpLoss


def test_it_makes_the_loss_of_that_name():
    loss = SmpLoss("lovasz", per_image=True)
    assert isinstance(loss, Lovasz)
    assert loss.per_image


def test_no_other():
    with pytest.raises(ConfigError):
        SmpLoss("cross_entropy")

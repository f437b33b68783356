from __future__ import annotations

import pytest
import torch

from toolkit.errors import ConfigError
from toolkit.losses.smp import SmpLoss

losses = pytest.importorskip("segmentation_models_pytorch.losses")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"name": "dice", "smooth": 1.0}, lambda: losses.DiceLoss("multiclass", smooth=1.0, ignore_index=255)),
        (
            {"name": "jaccard", "log_loss": True},
            lambda: losses.JaccardLoss("multiclass", log_loss=True, ignore_index=255),
        ),
        ({"name": "focal", "gamma": 3.0, "alpha": 0.25}, lambda: losses.FocalLoss("multiclass", 0.25, 3.0, 255)),
        (
            {"name": "tversky", "alpha": 0.3, "beta": 0.7},
            lambda: losses.TverskyLoss("multiclass", alpha=0.3, beta=0.7, ignore_index=255),
        ),
        ({"name": "lovasz", "per_image": True}, lambda: losses.LovaszLoss("multiclass", True, 255)),
    ],
)
def test_options_reach_the_package(ours, theirs):
    logits, labels = torch.randn(2, 4, 6, 6), torch.randint(4, (2, 6, 6))
    labels[0, :2] = 255
    torch.testing.assert_close(SmpLoss(**ours)(logits, labels), theirs()(logits, labels))


def test_an_option_the_loss_does_not_have_is_refused():
    with pytest.raises(ConfigError, match=r"'lovasz' has no option gamma; it takes: per_image"):
        SmpLoss("lovasz", gamma=2.0)
    with pytest.raises(ConfigError, match="no such loss"):
        SmpLoss("focall")

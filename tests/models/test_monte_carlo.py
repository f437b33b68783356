from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.errors import PartsError
from toolkit.heads.pixel import PixelHead
from toolkit.models.monte_carlo import monte_carlo_predict, sample_moments, sampled_dropout
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.samples import Batch


def bayesian(dropout_after=(1, 2), dropout=0.5) -> VisionModel:
    backbone = SegNetBasicEncoder(2, 8, 3, dropout_after=list(dropout_after), dropout=dropout)
    neck = IndexUnpool(backbone.spec, [1, 1], activation="none", dropout_after=list(dropout_after), dropout=dropout)
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"])


def batch_of(size=(12, 14), original=(12, 14), number=2) -> Batch:
    images = torch.randint(0, 256, (number, 3, *size), dtype=torch.uint8)
    return Batch(
        images, torch.tensor([size] * number), torch.tensor([original] * number), tuple(map(str, range(number)))
    )


def test_mean_and_variance_are_those_of_the_softmaxes():
    model, batch = bayesian(), batch_of()
    images = model.prepared(batch)
    torch.manual_seed(3)
    with sampled_dropout(model):
        mean, variance = sample_moments(model, images, 5)
    torch.manual_seed(3)
    with sampled_dropout(model), torch.no_grad():
        every = torch.stack([model(images).softmax(1) for _ in range(5)])
    assert torch.allclose(mean, every.mean(0), atol=1e-6)
    assert torch.allclose(variance, every.var(0, unbiased=False), atol=1e-6)
    assert variance.max() > 1e-3


def test_label_maps_come_from_mean_and_variance():
    model, batch = bayesian(), batch_of()
    torch.manual_seed(3)
    with sampled_dropout(model):
        mean, variance = sample_moments(model, model.prepared(batch), 4)
    torch.manual_seed(3)
    maps = monte_carlo_predict(model, batch, 4)
    for i, result in enumerate(maps):
        assert torch.equal(result.labels, mean[i].argmax(0).to(torch.uint8))
        assert torch.allclose(result.scores, mean[i].amax(0))
        assert torch.allclose(result.uncertainty, variance[i].mean(0))


def test_results_lie_in_original_pixels():
    for result in monte_carlo_predict(bayesian(), batch_of(original=(30, 21)), 2):
        assert result.labels.shape == result.scores.shape == result.uncertainty.shape == (30, 21)


def test_without_noise_it_is_the_ordinary_prediction():
    # Dropout of so small a probability that nothing is dropped.
    model, batch = bayesian(dropout=1e-9).eval(), batch_of()
    for sampled, plain in zip(monte_carlo_predict(model, batch, 3), model.predict(batch), strict=True):
        assert sampled.uncertainty.max() < 1e-10
        assert torch.equal(sampled.labels, plain.labels)


def test_batch_norm_keeps_its_statistics_and_modes_come_back():
    model = bayesian().train()
    model.backbone.stages[0].eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    monte_carlo_predict(model, batch_of(), 2)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with sampled_dropout(model):
        assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
        assert all(m.training for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0)


def test_a_model_without_dropout_is_refused():
    with pytest.raises(PartsError, match="dropout_after"):
        monte_carlo_predict(bayesian(dropout_after=()), batch_of(), 2)

"""The heads for whole images: losses against PyTorch's, padding, loading, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import CheckpointError, DataError, ImageSizeError, PartsError
from toolkit.heads.image import ImageHead
from toolkit.heads.image_values import ImageValuesHead
from toolkit.samples import Batch, Sample, collate

SPEC = PyramidSpec((4, 6), (8, 16))
TWINS = PyramidSpec((4, 5, 6), (16, 16, 16))


def pyramid(spec: PyramidSpec, size: tuple[int, int], number: int = 3) -> FeaturePyramid:
    maps = [
        torch.randn(number, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(spec.channels, spec.strides, strict=True)
    ]
    return FeaturePyramid(tuple(maps), spec, size)


def batch(sizes: list[tuple[int, int]], values: Any = None, labels: tuple[int, ...] = (2, 0, 1)) -> Batch:
    samples = [
        Sample(
            np.zeros((*size, 3), np.uint8),
            f"{i}.png",
            i,
            size,
            image_label=labels[i],
            image_values=None if values is None else np.asarray(values[i], np.float32),
        )
        for i, size in enumerate(sizes)
    ]
    return collate(samples)


ALIKE = [(64, 96)] * 3


def test_the_loss_is_pytorchs_cross_entropy_with_weights_and_smoothing() -> None:
    head = ImageHead(SPEC, 3, label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5])
    source = pyramid(SPEC, (64, 96))
    wanted = F.cross_entropy(head(source), torch.tensor([2, 0, 1]), torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1)
    torch.testing.assert_close(head.loss(source, batch(ALIKE)), {"classification": wanted})


def test_predictions_are_probabilities_of_the_pooled_last_map() -> None:
    head = ImageHead(SPEC, 3).eval()
    source = pyramid(SPEC, (64, 96))
    (linear,) = head.layers.linears
    wanted = linear(source.maps[1].mean((2, 3))).softmax(1)
    for prediction, row in zip(head.predict(source, batch(ALIKE)), wanted, strict=True):
        torch.testing.assert_close(prediction.scores, row.detach())


@pytest.mark.parametrize("pool", ["average", "max"])
def test_padding_of_a_batch_is_not_pooled(pool: Any) -> None:
    head = ImageHead(SPEC, 3, pool=pool, grid=2).eval()
    source = pyramid(SPEC, (64, 96), number=2)
    own = tuple(m[1:, :, : 48 // s, : 80 // s] for m, s in zip(source.maps, SPEC.strides, strict=True))
    small = FeaturePyramid(own, SPEC, (48, 80))
    padded = head.predict(source, batch([(64, 96), (48, 80)]))
    (alone,) = head.predict(small, batch([(48, 80)]))
    torch.testing.assert_close(padded[1].scores, alone.scores)


def test_layers_stand_in_the_order_asked_for() -> None:
    head = ImageHead(SPEC, 3, grid=2, hidden=[8, 7], dropout=[0.5, 0.25, 0.0], activation="tanh")
    assert [tuple(linear.weight.shape) for linear in head.layers.linears] == [(8, 24), (7, 8), (3, 7)]
    assert [dropout.p for dropout in head.layers.dropouts] == [0.5, 0.25, 0.0]
    x = pyramid(SPEC, (32, 32))
    first, second, third = head.eval().layers.linears
    wanted = third(second(first(x.maps[1].flatten(1)).tanh()).tanh())
    torch.testing.assert_close(head(x), wanted)


def test_auxiliary_classifiers_count_three_tenths_and_change_no_output() -> None:
    torch.manual_seed(4)
    head = ImageHead(TWINS, 3, auxiliary="bias").eval()
    source = pyramid(TWINS, (64, 96))
    assert head.auxiliary is not None
    assert head.auxiliary.indices == (0, 1)
    losses = head.loss(source, batch(ALIKE))
    for number, logits in enumerate(head.auxiliary(source), start=1):
        wanted = 0.3 * F.cross_entropy(logits, torch.tensor([2, 0, 1]))
        torch.testing.assert_close(losses[f"auxiliary{number}"], wanted)
    assert head(source).shape == (3, 3)


def test_a_classifier_for_other_classes_lends_all_but_its_last_layer(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pth")
    donor = {f"classifier.{i}.weight": torch.randn(o, n) for i, o, n in ((0, 8, 6), (3, 7, 8), (6, 1000, 7))}
    donor |= {name.replace("weight", "bias"): torch.randn(len(value)) for name, value in donor.items()}
    torch.save({"features.0.weight": torch.ones(1), **donor}, path)
    head = ImageHead(SPEC, 3, hidden=[8, 7], weights=path)
    assert torch.equal(head.layers.linears[0].weight, donor["classifier.0.weight"])
    assert torch.equal(head.layers.linears[1].bias, donor["classifier.3.bias"])
    assert head.layers.linears[2].weight.shape == (3, 7)
    with pytest.raises(CheckpointError, match="has 3 fully connected layers, this head 1"):
        ImageHead(SPEC, 3, weights=path)
    with pytest.raises(CheckpointError, match=r"classifier.0 is \(8, 6\), wanted \(9, 6\)"):
        ImageHead(SPEC, 3, hidden=[9, 7], weights=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "at least 2 classes, found 1"),
        ({"class_weights": [1.0]}, "class_weights has 1 numbers for 3 classes"),
        ({"hidden": [4], "dropout": [0.5]}, "dropout has 1 numbers, but there are 2 linear layers"),
        ({"auxiliary": "norm"}, "need two maps of one stride, but the input has 4@8, 6@16"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PartsError, match=message):
        ImageHead(SPEC, **{"num_classes": 3, **arguments})


def test_wrong_data_is_named() -> None:
    head, source = ImageHead(SPEC, 3), pyramid(SPEC, (64, 96))
    with pytest.raises(DataError, match=r"labels are not within 0..2: 1.png \(3\)"):
        head.loss(source, batch(ALIKE, labels=(0, 3, 1)))
    with pytest.raises(DataError, match="needs a class for each image"):
        head.loss(source, batch(ALIKE)._replace(image_labels=None))
    with pytest.raises(ImageSizeError, match="needs a map of 5x5 cells, but the images give 4x6"):
        ImageHead(SPEC, 3, pool="none", grid=5)(source)


VALUES = [[1.0, 2.0], [3.0, float("nan")], [-1.0, 0.5]]


@pytest.mark.parametrize(
    ("loss", "function"), [("mse", F.mse_loss), ("l1", F.l1_loss), ("smooth_l1", F.smooth_l1_loss)]
)
def test_regression_averages_over_the_known_values(loss: Any, function: Any) -> None:
    head, source = ImageValuesHead(SPEC, 2, loss=loss), pyramid(SPEC, (64, 96))
    found = head.loss(source, batch(ALIKE, VALUES))["regression"]
    known = torch.tensor(VALUES).isnan().logical_not()
    torch.testing.assert_close(found, function(head(source)[known], torch.tensor(VALUES)[known]))
    found.backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in head.parameters())
    predicted = torch.stack([p.values for p in head.predict(source, batch(ALIKE))])
    torch.testing.assert_close(predicted, head(source).detach())


def test_regression_without_any_known_value_is_zero_and_with_the_wrong_number_is_refused() -> None:
    head, source = ImageValuesHead(SPEC, 2), pyramid(SPEC, (64, 96))
    assert head.loss(source, batch(ALIKE, np.full((3, 2), np.nan)))["regression"] == 0
    with pytest.raises(DataError, match="needs 2 numbers an image, found 1"):
        head.loss(source, batch(ALIKE, [[1.0]] * 3))

"""Every registered head: losses with empty targets, gradients, predictions in original pixels on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import toolkit.heads  # noqa: F401  registers
from toolkit.contracts import HEADS, FeaturePyramid, Head, PyramidSpec
from toolkit.samples import (
    Batch,
    Boxes,
    Detections,
    ImageScores,
    ImageValues,
    LabelMap,
    Prediction,
    Sample,
    ValueMap,
    collate,
)

CLASSES = 3
SIZE = (96, 128)
"""Of the padded batch; the images in it are smaller."""
SIZES = [(96, 128), (80, 90)]
ORIGINAL_SIZES = [(96, 128), (160, 180)]


class Case(NamedTuple):
    """How to build a head, and the pyramid it is given."""

    arguments: dict[str, Any] = {}  # noqa: RUF012  never changed
    spec: PyramidSpec = PyramidSpec((8, 8, 8, 8, 8), (4, 8, 16, 32, 64))


CASES: dict[str, list[Case]] = {
    "image": [
        Case(),
        Case({"hidden": [16], "dropout": [0.5, 0.0], "grid": 2, "pool": "max"}),
        Case({"auxiliary": "bias"}, PyramidSpec((8, 8, 8), (8, 16, 16))),
    ],
    "image_values": [Case(), Case({"loss": "l1", "hidden": [16], "grid": 3})],
    "pixel_values": [Case(), Case({"positive": True, "stride": 8, "kernel_size": 3})],
    "pixel": [
        Case(),
        Case({"stride": 8, "upsample": "corner", "interpolate": "probabilities"}),
        Case({"label_sampling": "corner", "stride": 8}),
        Case({"kernel_size": 3, "dropout": 0.5}, PyramidSpec((6,), (1,))),
    ],
}
"""Cases by name; a head that is not here is built without arguments, on strides 4 to 64."""

PARAMETERS = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name in HEADS.names()
    for i, case in enumerate(CASES.get(name, [Case()]))
]


def build(name: str, case: Case) -> Head:
    torch.manual_seed(0)
    return HEADS.find(name)(case.spec, CLASSES, **case.arguments)  # type: ignore[call-arg]


def pyramid(spec: PyramidSpec) -> FeaturePyramid:
    generator = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(2, c, -(-SIZE[0] // s), -(-SIZE[1] // s), generator=generator, requires_grad=True)
        for c, s in zip(spec.channels, spec.strides, strict=True)
    ]
    return FeaturePyramid(tuple(maps), spec, SIZE)


def batch(*, empty: bool = False) -> Batch:
    """Two images with every kind of annotation; or with no object and no counted pixel in any."""
    rng = np.random.default_rng(2)
    samples = []
    for i, size in enumerate(SIZES):
        boxes = Boxes.of([[4, 6, 40, 50], [30, 20, 70, 60], [8, 30, 25, 70]], [0, 1, 2])
        values = rng.normal(size=size).astype(np.float32)
        samples.append(
            Sample(
                image=np.zeros((*size, 3), np.uint8),
                name=f"{i}.png",
                position=i,
                original_size=ORIGINAL_SIZES[i],
                label_map=np.full(size, 255, np.uint8) if empty else rng.integers(0, 3, size).astype(np.uint8),
                boxes=boxes.take(np.arange(0)) if empty else boxes,
                image_label=i,
                image_values=rng.normal(size=CLASSES).astype(np.float32),
                value_map=np.full(size, np.nan, np.float32) if empty else values,
            )
        )
    return collate(samples)


def predict(name: str, case: Case) -> list[Prediction]:
    head = build(name, case).eval()
    with torch.no_grad():
        return head.predict(pyramid(case.spec), batch())


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_losses_are_named_finite_scalars_whose_gradient_reaches_head_and_maps(name, case):
    head, features = build(name, case), pyramid(case.spec)
    losses = head.loss(features, batch())
    assert losses
    for term, value in losses.items():
        assert isinstance(term, str)
        assert value.shape == ()
        assert torch.isfinite(value), term
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters() if p.requires_grad)
    assert any(m.grad is not None and m.grad.any() for m in features.maps)


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_empty_targets_give_finite_losses_and_gradients(name, case):
    head = build(name, case)
    losses = head.loss(pyramid(case.spec), batch(empty=True))
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_predictions_are_in_original_pixels(name, case):
    predictions = predict(name, case)
    assert len(predictions) == len(SIZES)
    for prediction, size in zip(predictions, ORIGINAL_SIZES, strict=True):
        if isinstance(prediction, LabelMap):
            assert prediction.labels.dtype == torch.uint8
            assert tuple(prediction.labels.shape) == size
            assert prediction.labels.max() < CLASSES
        elif isinstance(prediction, ValueMap):
            assert tuple(prediction.values.shape) == size
        elif isinstance(prediction, Detections):
            assert prediction.labels.dtype == torch.int64
            assert (prediction.boxes >= 0).all()
            assert (prediction.boxes <= torch.tensor([size[1], size[0]] * 2)).all()
            assert torch.equal(prediction.scores, prediction.scores.sort(descending=True).values)
        else:
            assert isinstance(prediction, ImageScores | ImageValues)
        assert all(field is None or field.device.type == "cpu" for field in prediction)


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_an_image_is_predicted_alike_alone_and_in_a_batch(name, case):
    head, features, data = build(name, case).eval(), pyramid(case.spec), batch()
    alone = FeaturePyramid(tuple(m[1:] for m in features.maps), features.spec, SIZE)
    one = data._replace(
        images=data.images[1:],
        sizes=data.sizes[1:],
        original_sizes=data.original_sizes[1:],
        names=data.names[1:],
    )
    with torch.no_grad():
        found, expected = head.predict(alone, one)[0], head.predict(features, data)[1]
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_predicting_twice_gives_the_same_and_outputs_do_not_depend_on_the_mode(name, case):
    assert all(
        torch.equal(x, y)
        for first, second in zip(predict(name, case), predict(name, case), strict=True)
        for x, y in zip(first, second, strict=True)
        if x is not None
    )
    head = build(name, case)
    with torch.no_grad():
        kinds = [type(head.train(mode)(pyramid(case.spec))) for mode in (True, False)]
    assert kinds[0] is kinds[1]


@pytest.mark.parametrize(("name", "case"), PARAMETERS)
def test_the_state_round_trips(name, case):
    head, other = build(name, case), build(name, case)
    for parameter in other.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    other.load_state_dict(head.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), other.state_dict().values(), strict=True))

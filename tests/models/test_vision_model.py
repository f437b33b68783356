"""The composition: normalisation, sizes, borders, export."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import ANY_SIZE, Backbone, FeaturePyramid, Head, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import DataError, ImageSizeError, PartsError
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch, LabelMap, Prediction


class Echo(Backbone):
    """The normalised images themselves, for images of any rule and border."""

    def __init__(self, stats: PixelStats, sizes: SizeRule = ANY_SIZE, border: int = 0) -> None:
        super().__init__()
        self.pixel_stats = stats
        self.border = border
        self.spec = PyramidSpec((len(stats.mean),), (1,), borders=(border,), sizes=sizes)

    def forward(self, images: Tensor) -> FeaturePyramid:
        assert all(self.spec.sizes.allows(n) for n in images.shape[-2:])
        b = self.border
        cropped = images[..., b : images.shape[-2] - b, b : images.shape[-1] - b]
        return FeaturePyramid((cropped,), self.spec, (images.shape[-2], images.shape[-1]))


class OneByOne(Head):
    """The least head: a 1x1 convolution (the identity for Echo), and label maps cropped to the image."""

    def __init__(self, spec: PyramidSpec, num_classes: int, identity: bool = False) -> None:
        super().__init__()
        self.border = spec.borders[0]
        self.classifier = nn.Identity() if identity else nn.Conv2d(spec.channels[0], num_classes, 1)
        self.seen: list[tuple[FeaturePyramid, Batch]] = []

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        return self.classifier(pyramid.maps[0])

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        self.seen.append((pyramid, batch))
        return {"loss": self(pyramid).square().mean()}

    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        self.seen.append((pyramid, batch))
        logits = self(pyramid)
        return [
            LabelMap(each[:, :h, :w].argmax(0).to(torch.uint8), each[0, :h, :w])
            for each, (h, w) in zip(logits, batch.sizes.tolist(), strict=True)
        ]


STATS = PixelStats((0.5, 0.25, 0.125), (0.5, 2.0, 4.0))
BLANK = PixelStats((0.0,) * 3, (1.0,) * 3)


def echo(
    rule: SizeRule = ANY_SIZE, border: int = 0, illegal_sizes: str = "pad", stats: PixelStats = BLANK
) -> VisionModel:
    backbone = Echo(stats, rule, border)
    head = OneByOne(backbone.spec, 3, identity=True)
    return VisionModel(backbone, None, head, ("a", "b", "c"), (), illegal_sizes)  # type: ignore[arg-type]


def batch_of(*images: Tensor) -> Batch:
    """uint8 images (3, h, w), padded with zeros as `collate` does."""
    size = (max(i.shape[1] for i in images), max(i.shape[2] for i in images))
    padded = torch.zeros(len(images), 3, *size, dtype=torch.uint8)
    for target, image in zip(padded, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    sizes = torch.tensor([i.shape[1:] for i in images])
    labels = torch.ones(len(images), *size, dtype=torch.uint8)
    return Batch(padded, sizes, sizes, tuple(f"{i}.png" for i in range(len(images))), label_maps=labels)


def picture(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def test_bytes_and_floats_are_normalised_alike() -> None:
    model = echo(stats=STATS)
    images = picture(5, 4)[None]
    expected = (images / 255 - torch.tensor(STATS.mean).view(3, 1, 1)) / torch.tensor(STATS.std).view(3, 1, 1)
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert torch.allclose(model(images / 255), expected, atol=1e-6)


def test_bgr_turns_the_channels_round_first() -> None:
    model = echo(stats=STATS._replace(bgr=True))
    images = picture(5, 4)[None]
    assert torch.equal(model(images), echo(stats=STATS)(images.flip(1)))


def test_statistics_are_no_weights() -> None:
    assert echo(stats=STATS).state_dict() == {}


def test_another_number_of_channels_is_refused() -> None:
    for call in (echo().forward, echo().normalise):
        with pytest.raises(DataError, match=r"takes \(N, 3, H, W\) images, found \(1, 1, 4, 4\)"):
            call(torch.zeros(1, 1, 4, 4))


def test_a_palette_of_another_length_is_refused() -> None:
    backbone = Echo(BLANK)
    with pytest.raises(PartsError, match="1 colours for 2 classes"):
        VisionModel(backbone, None, OneByOne(backbone.spec, 2), ("a", "b"), ((0, 0, 0),))


def test_illegal_sizes_are_refused_when_told_so() -> None:
    model = echo(SizeRule(8, 8), illegal_sizes="refuse")
    batch = batch_of(picture(16, 21))
    for call in (lambda: model(batch.images), lambda: model.loss(batch), lambda: model.predict(batch)):
        with pytest.raises(ImageSizeError, match="width 16 or 24"):
            call()
    assert model(batch.images[..., :16]).shape[-1] == 16


def test_loss_pads_at_the_bottom_and_right_and_nothing_counts_there() -> None:
    model = echo(SizeRule(8, 8))
    batch = batch_of(picture(16, 21))
    batch = batch._replace(weight_maps=torch.ones(1, 16, 21))
    model.loss(batch)
    pyramid, seen = model.head.seen[-1]
    assert pyramid.image_size == (16, 24)
    shown = pyramid.maps[0].mul(255).round().to(torch.uint8)
    assert torch.equal(shown[..., :21], batch.images)
    assert torch.equal(shown[..., 21:], batch.images[..., [19, 18, 17]])
    assert seen.label_maps.shape == (1, 16, 24)
    assert (seen.label_maps[..., 21:] == 255).all()
    assert (seen.weight_maps[..., 21:] == 0).all()
    assert torch.equal(seen.sizes, batch.sizes)


@pytest.mark.parametrize("border", [0, 3])
@pytest.mark.parametrize("rule", [SizeRule(), SizeRule(12, 4, 2)])
def test_a_prediction_covers_the_image_from_its_first_pixel(border: int, rule: SizeRule) -> None:
    model = echo(rule, border)
    images = [picture(9, 14), picture(11, 7), picture(1, 1)]
    for chosen in (images, images[:1], images[2:]):
        batch = batch_of(*chosen)
        for image, prediction in zip(chosen, model.predict(batch), strict=True):
            assert isinstance(prediction, LabelMap)
            assert prediction.scores is not None
            assert torch.equal(prediction.scores.mul(255).round().to(torch.uint8), image[0])
        pyramid, seen = model.head.seen[-1]
        assert all(rule.allows(n) for n in pyramid.image_size)
        assert seen is batch


@pytest.mark.parametrize(("rule", "border"), [(ANY_SIZE, 0), (SizeRule(8, 8), 0), (SizeRule(12, 4, 2), 3)])
@pytest.mark.parametrize("work", ["loss", "predict"])
def test_padding_is_zero_after_normalisation_whatever_filled_it(rule: SizeRule, border: int, work: str) -> None:
    model = VisionModel(Echo(STATS, rule, border), None, OneByOne(PyramidSpec((3,), (1,)), 3), ("a", "b", "c"))
    model.head.border = border
    batch = batch_of(picture(16, 24), picture(9, 13))
    getattr(model, work)(batch)
    maps = model.head.seen[-1][0].maps[0]
    height, width = (9, 13) if work == "loss" else model.prepared_sizes(batch)[1].tolist()
    assert not maps[1, :, height - border : 16 - border].any()
    assert not maps[1, :, :, width - border : 24 - border].any()
    noise = batch.images.clone()
    noise[1, :, 9:], noise[1, :, :, 13:] = 201, 33
    getattr(model, work)(batch._replace(images=noise))
    assert torch.equal(model.head.seen[-1][0].maps[0], maps)


def test_a_head_may_ask_for_zeros_up_to_a_multiple() -> None:
    """The image's size stays what it was: the rest is no image."""
    model = VisionModel(Echo(STATS), None, OneByOne(PyramidSpec((3,), (1,)), 3), ("a", "b", "c"))
    model.head.pad_multiple = 32
    images = picture(20, 33)[None]
    pyramid = model.pyramid(images)
    assert tuple(pyramid.maps[0].shape[2:]) == (32, 64)
    assert pyramid.image_size == (20, 33)
    assert not pyramid.maps[0][..., 20:, :].any()
    assert not pyramid.maps[0][..., 33:].any()
    torch.testing.assert_close(pyramid.maps[0][..., :20, :33], model.normalise(images))


def test_the_border_is_a_mirror_without_its_edge() -> None:
    model = echo(border=2)
    batch = batch_of(picture(5, 6))
    model.predict(batch)
    pyramid = model.head.seen[-1][0]
    assert pyramid.image_size == (9, 10)
    assert torch.equal(pyramid.maps[0].mul(255).round().to(torch.uint8), batch.images)
    prepared = model.prepared(batch)
    assert torch.equal(prepared[..., 2, 2:8], batch.images[..., 0, :])
    assert torch.equal(prepared[..., 1, 2:8], batch.images[..., 1, :])
    assert torch.equal(prepared[..., 0, 2:8], batch.images[..., 2, :])
    assert torch.equal(prepared[..., 2:7, 9], batch.images[..., :, 3])
    assert torch.equal(prepared[..., 2:7, 8], batch.images[..., :, 4])


def test_a_head_of_the_whole_image_gets_no_mirror() -> None:
    model = echo(border=2)
    model.head.border = 0  # as `Head` leaves it
    batch = batch_of(picture(5, 6))
    assert model.prepared(batch) is batch.images


def unet(illegal_sizes: str = "pad") -> VisionModel:
    backbone = UNetEncoder(in_channels=3, width=2, depth=3, dropout=0.0)
    neck = SkipNeck(backbone.spec, padding="valid", fit="crop")
    head = OneByOne(neck.spec, 3)
    return VisionModel(backbone, neck, head, ("a", "b", "c"), (), illegal_sizes)  # type: ignore[arg-type]


def test_an_images_prediction_does_not_depend_on_its_batch() -> None:
    model = unet().eval()
    small, large = picture(30, 25), picture(47, 60)
    together = model.predict(batch_of(small, large))
    for image, expected in zip((small, large), together, strict=True):
        (alone,) = model.predict(batch_of(image))
        assert isinstance(alone, LabelMap)
        assert isinstance(expected, LabelMap)
        assert alone.scores is not None
        assert expected.scores is not None
        assert torch.allclose(alone.scores, expected.scores, atol=1e-5)


def test_methods_do_not_touch_the_training_flag_and_prediction_makes_no_graph() -> None:
    model = unet()
    for flag in (True, False):
        model.train(flag)
        (prediction,) = model.predict(batch_of(picture(20, 20)))
        assert isinstance(prediction, LabelMap)
        assert prediction.scores is not None
        assert not prediction.scores.requires_grad
        assert {module.training for module in model.modules()} == {flag}
        loss = model.loss(batch_of(picture(20, 20)))
        assert loss["loss"].requires_grad


def test_the_facts_of_the_parts_are_the_models() -> None:
    model = unet()
    assert model.spec == model.neck.spec
    assert model.border == model.spec.borders[0] == 20
    assert (model.in_channels, model.num_classes) == (3, 3)
    example = model.example_input((64, 50))
    assert all(model.spec.sizes.allows(n) for n in example.shape[-2:])
    assert model(example).shape[1] == 3


def test_exports() -> None:
    model = unet().eval()
    images = model.example_input()
    program = torch.export.export(model, (images,))
    assert torch.allclose(program.module()(images), model(images), atol=1e-6)


@pytest.mark.slow
def test_compiles_without_a_break() -> None:
    model = unet().eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for size in ((64, 64), (72, 80)):
        images = torch.rand(1, 3, *size)
        assert torch.allclose(compiled(images), model(images), atol=1e-5)

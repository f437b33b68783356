"""A picture in tiles is the whole picture: unpadded and padded nets, halves of cells, mirror images, memory."""

from __future__ import annotations

import re
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.backbones.resnet import ResNet
from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import Backbone, FeaturePyramid, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, ImageSizeError, PartsError
from toolkit.heads.image import ImageHead
from toolkit.heads.pixel import PixelHead
from toolkit.inference.folder import predict
from toolkit.inference.tiling import memory
from toolkit.inference.tiling import tiled as tiled_module
from toolkit.inference.tiling.geometry import cells_of, measure_geometry
from toolkit.inference.tiling.tiled import HeldPixels, TiledPrediction, predict_tiled
from toolkit.layers.row_bands import in_row_bands
from toolkit.models.vision_model import VisionModel
from toolkit.necks.context import Context
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.necks.skip import SkipNeck
from toolkit.progress import Progress
from toolkit.samples import Batch, Sample, collate


def finished(backbone, neck, classes=2, illegal_sizes="pad", **head) -> VisionModel:
    """A model in eval mode whose layers do something visible: random biases and batch statistics."""
    names = [str(i) for i in range(classes)]
    spec = backbone.spec if neck is None else neck.spec
    model = VisionModel(backbone, neck, PixelHead(spec, classes, **head), names, illegal_sizes=illegal_sizes)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.1)
    return model.eval()


def paper_unet(width=2) -> VisionModel:
    backbone = UNetEncoder(1, width)
    return finished(backbone, SkipNeck(backbone.spec, padding="valid", fit="crop"))


def padded_unet(**arguments) -> VisionModel:
    backbone = UNetEncoder(1, 4, depth=4, padding="same", norm="batch")
    return finished(backbone, SkipNeck(backbone.spec, norm="batch"), **arguments)


def batch_of(size, channels=1, original=None, number=1) -> Batch:
    images = torch.randint(0, 256, (number, channels, *size), dtype=torch.uint8)
    originals = torch.tensor([original or size] * number)
    return Batch(images, torch.tensor([size] * number), originals, tuple(map(str, range(number))))


@torch.inference_mode()
def stitched(tiled: TiledPrediction, batch: Batch) -> tuple[Tensor, int]:
    """Logits and the number of rows of tiles."""
    return tiled.outputs(batch), len(tiled.plan(HeldPixels.of(batch)).rows)


@torch.inference_mode()
def whole(model: VisionModel, batch: Batch) -> Tensor:
    return model.head(model.pyramid(model.prepared(batch)))[0]


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 1e-2  # the comparison sees something
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "tile", "rows"),
    [
        ((130, 197), 300, 2),
        pytest.param((41, 300), 204, 3, marks=pytest.mark.slow),
        pytest.param((300, 97), 380, 2, marks=pytest.mark.slow),
    ],
)
def test_the_unet_of_2015(size, tile, rows):
    model, batch = paper_unet(), batch_of(size)
    tiled = TiledPrediction(model, tile)
    logits, found_rows = stitched(tiled, batch)
    assert tiled.geometry == (16, 12, 188, 1, 92, 0, True)
    assert_same(logits, whole(model, batch))
    assert found_rows == rows
    assert torch.equal(tiled(batch)[0].labels, model.predict(batch)[0].labels)


def test_tiles_of_the_unet_that_are_not_aligned_would_differ():
    # Why 384 and not 388: the same pixels, seen from a start that is no multiple of 16, give other logits.
    model, images = paper_unet(), torch.rand(1, 1, 236, 236)
    with torch.inference_mode():
        full = model(images)
        aligned, shifted = model(images[..., 16:220]), model(images[..., 20:224])
    assert_same(aligned, full[..., 16:36])
    assert (shifted - full[..., 20:40]).abs().max() > 1e-2


@pytest.mark.parametrize(("size", "tile"), [((333, 250), 160), ((160, 128), 110), ((100, 401), 150)])
def test_a_padded_unet(size, tile):
    model, batch = padded_unet(), batch_of(size)
    tiled = TiledPrediction(model, tile)
    logits, rows = stitched(tiled, batch)
    assert_same(logits, whole(model, batch))
    assert (rows > 1) == (size[0] > tile)
    # Unpadded, this net has a border of 44; a cell in the middle of a coarse one sees up to 2 pixels farther.
    assert tiled.geometry.halo == 46
    tiled._geometry = tiled.geometry._replace(halo=0)
    assert not torch.allclose(stitched(tiled, batch)[0], logits, atol=1e-4)


def test_resnet_with_skip_connections_and_half_cells():
    backbone = ResNet(18)
    neck = SkipNeck(backbone.spec, norm="batch", upsample="bilinear", channels=[32, 16, 16, 16])
    model = finished(backbone, neck, 3)
    batch = batch_of((775, 90), 3)
    tiled = TiledPrediction(model, 700)
    logits, rows = stitched(tiled, batch)
    assert rows > 1
    assert logits.shape[1:] == (388, 45)
    assert tiled.geometry.stride == 2
    assert_same(logits, whole(model, batch))


def test_segnets_unpooling():
    backbone = SegNetBasicEncoder(4, 8, 3)
    model = finished(backbone, IndexUnpool(backbone.spec, [1, 1, 1, 1], kernel_size=3, activation="none"), 3)
    batch = batch_of((331, 75), 3)
    logits, rows = stitched(TiledPrediction(model, 224), batch)
    assert rows > 1
    assert_same(logits, whole(model, batch))


class Front(Backbone):
    """Unpadded convolutions, stride 4: a small dilated front end."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)]
        second = [nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2)]
        self.net = nn.Sequential(*first, *second, nn.Conv2d(8, 6, 3, dilation=2))
        # 1 + 2 * 1 + 4 * 2 pixels at each edge.
        self.spec = PyramidSpec((6,), (4,), borders=(11,), sizes=SizeRule(26, 4, 2))

    def forward(self, images: Tensor) -> FeaturePyramid:
        return FeaturePyramid((self.net(images),), self.spec, (images.shape[-2], images.shape[-1]))


@pytest.mark.parametrize("original", [None, (91, 203)])
def test_unpadded_front_with_padded_context_at_a_stride(original):
    backbone = Front()
    model = finished(backbone, Context(backbone.spec, 6, project=False, init="default"), 3, upsample="corner")
    batch = batch_of((150, 402), 3, original)
    tiled = TiledPrediction(model, 362)
    logits, _ = stitched(tiled, batch)
    assert tiled.geometry[3:] == (4, 11, 33, True)
    assert_same(logits, whole(model, batch))
    assert torch.equal(tiled(batch)[0].labels, model.predict(batch)[0].labels)


def flipped(model: VisionModel, images: Tensor) -> Tensor:
    every = [model.head(model.pyramid(images.flip(f) if f else images)).flip(f or ()) for f in ((), -1, -2, (-1, -2))]
    return torch.stack(every).mean(0)[0]


@pytest.mark.parametrize(("make", "size", "tile"), [(paper_unet, (120, 150), 252), (padded_unet, (203, 97), 168)])
def test_four_mirror_images(make, size, tile):
    model, batch = make(), batch_of(size)
    tiled, at_once = TiledPrediction(model, tile, 4), TiledPrediction(model, 4096, 4)
    found, rows = stitched(tiled, batch)
    expected, one = stitched(at_once, batch)
    assert rows > 1 == one
    assert_same(found, expected)
    with torch.inference_mode():
        rows, columns = at_once._lines(size)
        mirrored = flipped(model, batch.images[..., rows, :][..., columns])
    assert_same(expected, mirrored)
    plain, _ = stitched(TiledPrediction(model, 4096), batch)
    assert (expected[:, :90, :90] - plain[:, :90, :90]).abs().max() > 1e-3  # and not the plain ones


def test_pictures_that_fit_are_not_cut_and_auto_keeps_to_its_memory():
    model, batch = padded_unet(), batch_of((300, 200))
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-2:]))
    expected = model.predict(batch)[0].labels
    for tile in (300, "auto"):
        assert torch.equal(predict_tiled(model, batch, tile)[0].labels, expected)
    assert (300, 200) in seen
    tiled = TiledPrediction(model)
    tiled.memory = 3 * 300 * 200 + tiled._forecast.bytes((180, 180))  # the picture twice, its labels, and a tile
    tiled._plans.clear()
    tiled(batch)  # measures
    seen.clear()
    assert torch.equal(tiled(batch)[0].labels, expected)
    assert len(seen) > 3
    assert max(h * w for h, w in seen) <= 180**2


def test_each_image_of_a_batch_from_its_own_pixels_in_original_size():
    model = padded_unet()
    rng = np.random.default_rng(0)
    sizes, originals = [(200, 140), (97, 310)], [(100, 70), (97, 310)]
    samples = [
        Sample(rng.integers(0, 256, (*size, 1), np.uint8), str(i), i, originals[i]) for i, size in enumerate(sizes)
    ]
    model.head.with_scores = True
    for i, found in enumerate(predict_tiled(model, collate(samples), 150)):
        alone = model.predict(collate([samples[i]]))[0]
        assert tuple(found.labels.shape) == originals[i]
        assert torch.equal(found.labels, alone.labels)
        torch.testing.assert_close(found.scores, alone.scores, atol=1e-5, rtol=0)


class Everywhere(Backbone):
    """Its result depends on the mean of the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.spec = PyramidSpec((4,), (1,))

    def forward(self, images: Tensor) -> FeaturePyramid:
        x = self.conv(images)
        return FeaturePyramid((x + x.mean((2, 3), keepdim=True),), self.spec, (images.shape[-2], images.shape[-1]))


class Placed(Everywhere):
    """Its result depends on the place in the picture, modulo 3."""

    def forward(self, images: Tensor) -> FeaturePyramid:
        x = self.conv(images) * (torch.arange(images.shape[-1]) % 3)
        return FeaturePyramid((x,), self.spec, (images.shape[-2], images.shape[-1]))


@pytest.mark.parametrize("backbone", [Everywhere, Placed])
def test_nets_that_cannot_be_cut_exactly_say_so(backbone, caplog):
    model = finished(backbone(), None)
    tiled = TiledPrediction(model, 400)
    assert tiled(batch_of((500, 450), 3))[0].labels.shape == (500, 450)
    assert tiled.geometry[5:] == (128, False)
    assert "only come close" in caplog.text


def test_measuring_leaves_the_model_as_it_was():
    model = padded_unet().train()
    model.neck.eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    geometry = measure_geometry(model, 1)
    assert cells_of(model, (99, 1000), geometry) == (99, 1000)
    TiledPrediction(model)._forecast  # noqa: B018  looks at two passes
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_refusals(tmp_path):
    (tmp_path / "a.png").touch()
    backbone = ResNet(18)
    scores = VisionModel(backbone, None, ImageHead(backbone.spec, 2), ["a", "b"])
    with pytest.raises(PartsError, match="pixels or boxes can be tiled; this one has the head 'image'"):
        TiledPrediction(scores)
    with pytest.raises(PartsError, match="that answer with pixels or boxes"):
        predict(scores, tmp_path, tile=512)
    with pytest.raises(ConfigError, match="needs 204 at least"):
        predict_tiled(paper_unet(), batch_of((200, 200)), 203)
    narrow = UNetEncoder(1, 2, padding="valid", depth=2)
    model = finished(narrow, None, illegal_sizes="refuse", stride=1)
    assert model.predict(batch_of((31, 30)))[0].labels.shape == (31, 30)  # borders are mirrored in any case
    exact = padded_unet(illegal_sizes="refuse")
    exact.neck.spec = PyramidSpec((4,), (1,), sizes=exact.spec.sizes._replace(multiple=8))
    with pytest.raises(ImageSizeError):
        predict_tiled(exact, batch_of((30, 31)))


def test_a_folder_in_tiles(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, size in (("a", (160, 190)), ("b", (70, 50))):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / f"{name}.png")
    model = padded_unet()
    plain = list(predict(model, tmp_path))
    tiled = list(predict(model, tmp_path, tile=140, batch_size=2))
    assert [result.name for result in tiled] == ["a.png", "b.png"]
    for one, other in zip(plain, tiled, strict=True):
        assert torch.equal(one.prediction.labels, other.prediction.labels)
    with pytest.raises(ConfigError, match="needs 104 at least"):  # before the first picture
        next(predict(model, tmp_path, tile=64))


class Living(TorchDispatchMode):
    """The most bytes of tensors alive at once that were made while it was active."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage) -> None:
        key = storage._cdata
        if key not in self.known:
            self.known.add(key)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def most_bytes(work, batch: Batch) -> int:
    with torch.inference_mode(), Living() as living:
        work(batch)
    return living.most


def test_memory_does_not_grow_with_the_picture():
    model = padded_unet()
    tiled = TiledPrediction(model, 160)
    tiled(batch_of((300, 200)))  # measures
    short, long = (most_bytes(tiled, batch_of((height, 200))) for height in (400, 1200))
    whole_short, whole_long = (most_bytes(model.predict, batch_of((height, 200))) for height in (400, 1200))
    assert long - short <= 800 * 200 * 3  # labels, the picture and its copy
    assert whole_long > 2.5 * whole_short
    assert long < whole_long / 5


@pytest.mark.parametrize("make", [padded_unet, paper_unet])
def test_the_estimate_of_memory_is_near_and_rather_too_large(make, monkeypatch):
    model, batch = make(), batch_of((320, 320))
    monkeypatch.setattr(tiled_module, "in_row_bands", lambda: in_row_bands(0))
    tiled = TiledPrediction(model, 4096)
    estimate = tiled._forecast.bytes(tiled._entering((320, 320))) - memory._RESERVE * memory._OF_BANDS
    assert 0.95 < estimate / most_bytes(tiled, batch) < 2.5


def test_what_auto_does_is_said_once_for_a_size(caplog, capsys):
    caplog.set_level("INFO")
    model = padded_unet()
    tiled = TiledPrediction(model, memory=3 * 300 * 200 + TiledPrediction(model)._forecast.bytes((180, 180)))
    with Progress("predict", 2):
        for _ in range(2):
            tiled(batch_of((300, 200)))
    assert capsys.readouterr().err.count("note: 300x200 in ") == 1
    (said,) = caplog.messages
    assert re.fullmatch(r"300x200 in \dx\d tiles of \d+x\d+, \d+ % computed twice, about 0.1 GB", said)
    tiled.memory = 1000
    tiled(batch_of((310, 200)))
    assert "the smallest tiles of this model take about 0.1 GB" in caplog.text

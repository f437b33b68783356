"""Yu and Koltun's dilated networks as whole systems: counts, sizes, and where labels and predictions lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mac_counter import learnable, multiply_adds
from torch import nn

from toolkit.backbones.vgg import Vgg
from toolkit.heads.pixel import PixelHead
from toolkit.models.vision_model import VisionModel
from toolkit.necks.context import Context
from toolkit.samples import IGNORE_INDEX, Batch


def front_end() -> Vgg:
    # Caffe's poolings round up: at KITTI's width of 1640 pixels the third meets an odd map.
    return Vgg(16, drop_pools=[4, 5], padding=False, convolutional_fc=True, ceil_mode=True)


def parts(classes, layers=8, width="basic", padding="layer", upsample="corner") -> nn.ModuleList:
    backbone = front_end()
    neck = Context(backbone.spec, classes, layers=layers, width=width, padding=padding)
    return nn.ModuleList([backbone, neck, PixelHead(neck.spec, classes, upsample=upsample, init="noisy_identity")])


NETS = [
    # classes, the context's arguments, image size, output size, learnable, multiply-adds
    (21, {"width": "large", "padding": "input"}, (900, 900), (66, 66), 141_149_720, 826_395_410_952),
    (21, {"width": "large"}, (900, 900), (66, 66), 141_149_720, 821_187_257_400),
    (11, {}, (900, 1100), (66, 91), 134_313_443, 1_053_445_617_792),
    (11, {"layers": 7}, (852, 1640), (60, 159), 134_312_343, 1_622_029_798_332),
    (19, {"layers": 10, "upsample": "deconvolution"}, (1396, 1396), (1024, 1024), 134_368_179, 2_647_410_518_784),
]


@pytest.mark.parametrize(("classes", "arguments", "size", "output", "numbers", "macs"), NETS)
def test_whole_nets_are_the_released_ones(classes, arguments, size, output, numbers, macs):
    with torch.device("meta"):
        net = parts(classes, **arguments)
        images = torch.empty(1, 3, *size)
    backbone, neck, head = net
    logits = []
    assert multiply_adds(net, lambda: logits.append(head(neck(backbone(images))))) == macs
    assert logits[0].shape == (1, classes, *output)
    assert learnable(net) == numbers
    frozen = sum(p.numel() for p in net.parameters()) - numbers
    assert frozen == (4_864 if "upsample" in arguments else 0)


@pytest.mark.parametrize(("classes", "numbers"), [(21, 134_346_581), (11, 134_305_611), (19, 134_338_387)])
def test_front_ends_alone_are_the_released_ones(classes, numbers):
    with torch.device("meta"):
        backbone = front_end()
        head = PixelHead(backbone.spec, classes, stride=8, init="small")
    assert learnable(backbone) + learnable(head) == numbers
    assert (head.stride, head.border) == (8, 186)


def small(**head) -> VisionModel:
    """The same construction in small: a border of 59 pixels, cells of 8."""
    backbone = Vgg(11, drop_pools=[4, 5], padding=False)
    neck = Context(backbone.spec, 4, layers=7, init="default")
    return VisionModel(backbone, neck, PixelHead(neck.spec, 4, **head), ["a", "b", "c", "d"]).eval()


CORNER = {"label_sampling": "corner", "upsample": "corner", "interpolate": "probabilities"}


def test_the_loss_reads_the_labels_at_the_corners_of_the_cells():
    model = small(**CORNER)
    border, (height, width) = model.border, (118 + 24, 118 + 40)
    assert border == 59
    images = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    labels = torch.full((1, height, width), IGNORE_INDEX, dtype=torch.uint8)
    batch = Batch(images, torch.tensor([[height, width]]), torch.tensor([[height, width]]), ("a",), labels)
    assert float(model.loss(batch)["cross_entropy"].detach()) == 0  # nothing counts
    cells = torch.randint(0, 4, (3, 5))
    labels[0, border : border + 24 : 8, border : border + 40 : 8] = cells.to(torch.uint8)
    with torch.no_grad():
        wanted = F.cross_entropy(model(images), cells[None])
        found = model.loss(batch)["cross_entropy"]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [(24, 40), (37, 61)])
def test_predictions_cover_the_image_on_the_grid_of_corners(size):
    model = small(**CORNER)
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    batch = Batch(images, torch.tensor([size]), torch.tensor([size]), ("a",))
    (result,) = model.predict(batch)
    assert result.labels.shape == size
    # By hand: the picture mirrored by 59 pixels and up to a legal size; cell (i, j) answers for pixel (8i, 8j).
    cells = [-(-n // 8) for n in size]
    after = [59 + 8 * n - own for n, own in zip(cells, size, strict=True)]
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (59, after[0]), (59, after[1])), mode="reflect")
    with torch.no_grad():
        probabilities = model.head(model.pyramid(torch.from_numpy(padded))).softmax(1)
    assert list(probabilities.shape[2:]) == cells
    assert torch.equal(result.labels[::8, ::8], probabilities[0].argmax(0).to(torch.uint8))


def test_deconvolution_equals_the_half_pixel_grid_away_from_the_edges():
    soft, fixed = small(), small(upsample="deconvolution")
    fixed.load_state_dict(soft.state_dict(), strict=False)
    size = (118 + 40, 118 + 48)
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        wanted = F.interpolate(soft(images), scale_factor=8, mode="bilinear", align_corners=False)
        found = fixed(images)
    assert found.shape == wanted.shape == (1, 4, 40, 48)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], wanted[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-5)
    # The corner pixel gets (1 - 3.5/8)^2 of the corner cell: what lies outside counts as 0.
    corner = soft(images).detach()[..., 0, 0] * (9 / 16) ** 2
    torch.testing.assert_close(found[..., 0, 0], corner, rtol=1e-4, atol=1e-5)


def test_a_fresh_context_answers_as_its_front_end():
    # Identity initialisation: before any training the context changes nothing but negative logits.
    backbone = Vgg(11, drop_pools=[4, 5], padding=False).eval()
    neck = Context(backbone.spec, 4)
    head = PixelHead(neck.spec, 4, init="identity")
    with torch.no_grad():
        pyramid = backbone(torch.rand(1, 3, 142, 142))
        front = neck.project(pyramid.maps[-1])
        assert torch.equal(head(neck(pyramid)), F.relu(front))

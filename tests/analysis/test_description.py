"""A model's anatomy: fields and costs along the nets, memory as a real run has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shipped_configs import CONFIGS, shipped
from torch import nn

import toolkit
from toolkit.analysis.anatomy import Anatomy
from toolkit.analysis.describe import describe
from toolkit.analysis.memory import kept_for_backward, most_alive, without_numbers
from toolkit.analysis.trace import Trace
from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.backbones.vgg import Vgg
from toolkit.config.load import load_config
from toolkit.errors import ImageSizeError
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.build import with_train_settings
from toolkit.jobs.describe import describe_config
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.necks.skip import SkipNeck


def anatomy_of(name: str, size: tuple[int, int] | None = None) -> Anatomy:
    return shipped(name, size)[1]


def test_detectors_stages_cost_what_the_files_say():
    anatomy = anatomy_of("faster_rcnn_vgg16_voc", (600, 1000))
    rows = {row.name: row for row in anatomy.layers}
    rpn = sum(row.macs for name, row in rows.items() if name.startswith("head.rpn"))
    second = sum(row.macs for name, row in rows.items() if name.startswith("head.roi"))
    assert (anatomy.macs - rpn - second, rpn, second) == (183_869_263_872, 5_714_343_936, 35_990_323_200)
    assert rows["head.roi.fc6"].count == 300
    assert rows["head.roi.fc6"].receptive_field == (600, 1000)
    assert rows["backbone.stages.4.2.conv"].receptive_field == (196, 196)
    assert rows["backbone.stages.4.2.conv"].output == (512, 38, 63)
    assert rows["head.rpn.conv"].receptive_field == (228, 228)
    assert (anatomy.trainable, anatomy.parameters - anatomy.trainable) == (136_818_079, 260_160)
    assert anatomy_of("faster_rcnn_vgg16_voc", (600, 800)).macs == 187_513_344_000


def test_receptive_fields_along_the_nets():
    basic = {row.name: row for row in anatomy_of("segnet_basic_camvid", (360, 480)).layers}
    pools = [row for row in basic.values() if row.kind == "max pool"]
    assert [row.receptive_field for row in pools] == [(n, n) for n in (8, 22, 50, 106)]
    assert pools[-1].jump == (16, 16)
    segnet = {row.name: row for row in anatomy_of("segnet_camvid", (360, 480)).layers}
    assert segnet["backbone.max_pool5"].receptive_field == (212, 212)
    assert segnet["backbone.max_pool5"].jump == (32, 32)
    context = anatomy_of("dilated_context_voc", (900, 900))
    front = next(row for row in context.layers if row.name == "neck.project")
    assert front.receptive_field == (380, 380)
    assert front.jump == (8, 8)
    assert front.centre == (186 + 3.5, 186 + 3.5)  # cell i lies at 8 i + 3.5 once 186 pixels stand around the image
    last = context.layers[-1]
    assert (last.receptive_field[0] - front.receptive_field[0]) // 8 + 1 == 67
    wide = {row.name: row for row in anatomy_of("dilated_context_cityscapes", (1396, 1396)).layers}
    assert max(row.receptive_field for row in wide.values() if row.part == "neck") == (2444, 2444)


def test_half_of_the_cells_of_a_u_net_see_less():
    """188 pixels for cells 0 to 3 of every 16, 204 for the rest."""
    with torch.device("meta"):
        backbone = UNetEncoder(1)
        neck = SkipNeck(backbone.spec, padding="valid", fit="crop")
        model = VisionModel(backbone, neck, PixelHead(neck.spec, 2), ("a", "b")).eval()
        images = torch.empty(1, 1, 188 + 48, 188)
        with Trace(model).of(images) as trace:
            lo, hi = trace.field(model(images)).y.cells()
    assert (hi - lo + 1).tolist() == [188 if cell % 16 < 4 else 204 for cell in range(52)]
    assert lo[0] == 0
    assert hi[3] == 187


def training(model: VisionModel) -> Callable[[torch.Tensor], object]:
    return lambda images: model.head.training_pass(model.pyramid(images))


def small_segnet() -> VisionModel:
    backbone = SegNetBasicEncoder()
    neck = IndexUnpool(backbone.spec, convs=[1, 1, 1, 1], kernel_size=3)
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ("a", "b", "c"))


def small_vgg() -> VisionModel:
    backbone = Vgg(11, batch_norm=True)
    neck = SkipNeck(backbone.spec, norm="batch", upsample="bilinear")
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3, dropout=0.5), ("a", "b", "c"))


@pytest.mark.parametrize(("make", "batch"), [(small_segnet, 1), (small_segnet, 3), (small_vgg, 2)])
def test_kept_bytes_are_those_of_a_real_run(make, batch):
    """The meta device predicts to the byte what the CPU keeps for backward."""
    real = make().train()
    with torch.device("meta"):
        shape_only = make().train()
    images = torch.zeros(batch, 3, 48, 64, dtype=torch.uint8)
    found = kept_for_backward(real, images, training(real))
    predicted = kept_for_backward(shape_only, images.to("meta"), training(shape_only))
    assert found.bytes == predicted.bytes
    assert sum(kept.bytes for kept in predicted.by_layer) <= predicted.bytes
    own = {kept.layer for kept in predicted.by_layer} - {"images", "loss"}
    assert own <= {row.name for row in describe(shape_only, (48, 64)).layers}


def test_kept_bytes_by_hand():
    """A convolution keeps its input, batch norm its input and two numbers a channel, ReLU what the next layer reads."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1))
    images = torch.zeros(2, 3, 10, 10)
    used = kept_for_backward(net, images, net)
    assert used.bytes == 4 * (2 * 3 * 100 + 2 * 8 * 100 + 2 * 8 + 2 * 8 * 100)
    assert {kept.layer: kept.bytes for kept in used.by_layer} == {"images": 2400, "0": 6400, "1": 6400 + 64}
    frozen = net.requires_grad_(False)
    assert kept_for_backward(frozen, images, frozen).bytes == 0


def test_most_alive_by_hand():
    """Two neighbouring maps are alive at once, and a map that is joined later as well."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = (nn.Conv2d(a, b, 1) for a, b in ((1, 4), (4, 8), (8, 4)))

        def forward(self, x):
            first = self.one(x)
            return first + self.three(self.two(first))

    net = Skip()
    used = most_alive(net, torch.zeros(1, 1, 10, 10), net)
    assert used.bytes == 4 * 100 * (1 + 4 + 8 + 4)
    assert used.layer == "three"


def test_segnet_keeps_what_was_measured():
    """2,824 MiB for four images with byte indices; 1,243 when whole units are computed again (design measurements)."""
    memory = anatomy_of("segnet_camvid", (360, 480)).memory
    assert [kept.images for kept in memory.training] == [1, 4]
    assert memory.training[1].bytes / 2**20 == pytest.approx(2824, rel=0.005)
    assert memory.training[0].bytes / 2**20 == pytest.approx(2824 / 4, rel=0.005)
    # Parameters, running statistics, pixel statistics, class weights; and an int64 a batch norm that counts batches.
    assert memory.weights == 4 * (29_449_355 + 15_872 + 6 + 11) + 8 * 25


def test_python():
    """The same from Python, for a model that has weights, which stays as it was."""
    torch.manual_seed(0)
    model = small_segnet().train()
    model.head.eval()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    anatomy = toolkit.describe(model, (45, 61))
    with torch.device("meta"):
        shape_only = small_segnet()
    assert anatomy.layers == describe(shape_only, (45, 61)).layers
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert model.backbone.training
    assert not model.head.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(ImageSizeError, match="0x5"):
        describe(model, (0, 5))


def test_sizes_that_lose_pixels_are_refused():
    """A legal size passes; one that would be mirrored names its neighbours; one that rounds up and loses nothing passes."""
    with torch.device("meta"):
        backbone = UNetEncoder(1)
        neck = SkipNeck(backbone.spec, padding="valid", fit="crop")
        model = VisionModel(backbone, neck, PixelHead(neck.spec, 2), ("a", "b"))
        whole = Vgg(11, drop_pools=[4, 5], padding=False, ceil_mode=True)
        dilated = VisionModel(whole, None, PixelHead(whole.spec, 2, stride=8), ("a", "b"))
    with pytest.raises(ImageSizeError, match=r"16 \* k \+ 12 .*570x188.*height 556 or 572"):
        describe(model, (570, 188))
    assert describe(dilated, (300, 301)).notes
    assert not describe(model, (572, 188)).notes
    with pytest.raises(ImageSizeError, match="at least"):
        describe(dilated, (9, 9))


def test_every_layer_says_what_it_keeps():
    """The rows' column is what an image keeps in all, less what no layer makes: the image and the loss."""
    model = small_segnet()
    anatomy = describe(model, (48, 64))
    copied = without_numbers(model).train()
    used = kept_for_backward(copied, torch.zeros(1, 3, 48, 64, dtype=torch.uint8, device="meta"), training(copied))
    assert {row.name: row.kept for row in anatomy.layers if row.kept} == {
        each.layer: each.bytes for each in used.by_layer if each.layer not in ("images", "loss")
    }
    assert used.bytes == anatomy.memory.training[0].bytes


def test_recomputing_units_is_counted():
    """Fewer bytes are kept, and a note says why; what an image passes through is the same."""
    config = load_config(CONFIGS / "tiny/segnet_camvid.yaml")
    whole, saved = (
        describe_config(with_train_settings(config, recompute=level), (90, 120)) for level in ("none", "units")
    )
    assert saved.memory.training[0].bytes < 0.75 * whole.memory.training[0].bytes
    assert [row.name for row in saved.layers] == [row.name for row in whole.layers]
    assert "train.recompute" in " ".join(set(saved.notes) - set(whole.notes))


def test_sizes_that_the_net_covers_without_mirroring_are_described():
    """The published KITTI net at its own size, though `forward` would mirror it to another."""
    anatomy = anatomy_of("dilated_context_kitti", (852, 1640))
    assert anatomy.input == (3, 852, 1640)
    assert any("forward" in note for note in anatomy.notes)

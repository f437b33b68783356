"""Starting from other weights: classes go by name, what does not fit stays, and the report says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.errors import CheckpointError
from toolkit.heads.image import ImageHead
from toolkit.heads.pixel import PixelHead
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.roi import RoiSettings
from toolkit.models.transfer import transfer
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool

OLD, NEW = ["sky", "road", "car"], ["car", "tree", "sky", "bus"]


def net(head: str, classes: list[str]) -> VisionModel:
    backbone = SegNetBasicEncoder(2, 8, 3)
    if head == "image":
        return VisionModel(backbone, None, ImageHead(backbone.spec, len(classes), hidden=[6]), classes)
    if head == "pixel":
        neck = IndexUnpool(backbone.spec, [1, 1])
        return VisionModel(backbone, neck, PixelHead(neck.spec, len(classes)), classes)
    boxes = RoiSettings(boxes=head, hidden=16)  # type: ignore[arg-type]
    return VisionModel(backbone, None, RcnnHead(backbone.spec, len(classes), roi=boxes), classes)


def last_layers(model: VisionModel) -> list[tuple[nn.Module, int, int]]:
    """(layer, rows before the classes, rows a class)."""
    head = model.head
    if isinstance(head, PixelHead):
        return [(head.classifier, 0, 1)]
    if isinstance(head, ImageHead):
        return [(head.layers.linears[-1], 0, 1)]
    before = 4 if head.roi.settings.boxes == "class_and_background" else 0
    deltas = [(head.roi.deltas, before, 4)] if head.roi.settings.boxes != "agnostic" else []
    return [(head.roi.classes, 1, 1), *deltas]


def row(tensor: Tensor, before: int, each: int, position: int) -> Tensor:
    return tensor[before + each * position : before + each * (position + 1)]


@pytest.mark.parametrize("head", ["pixel", "image", "class_and_background", "class", "agnostic"])
@pytest.mark.parametrize("new", [NEW, ["car", "sky", "road"], ["road", "bus"]])
def test_classes_keep_their_rows_by_name(head, new):
    old, fresh = net(head, OLD), net(head, new)
    start = {name: value.clone() for name, value in fresh.state_dict().items()}
    report = transfer(fresh, old.state_dict(), OLD)
    for (mine, before, each), (theirs, _, _) in zip(last_layers(fresh), last_layers(old), strict=True):
        prefix = next(name for name, module in fresh.named_modules() if module is mine)
        for kind in ("weight", "bias"):
            found, given = getattr(mine, kind), getattr(theirs, kind)
            assert torch.equal(found[:before], given[:before])
            for position, name in enumerate(new):
                source = given if name in OLD else start[f"{prefix}.{kind}"]
                place = OLD.index(name) if name in OLD else position
                assert torch.equal(row(found, before, each, position), row(source, before, each, place))
    assert report.known == tuple(name for name in new if name in OLD)
    assert report.new == tuple(name for name in new if name not in OLD)
    assert len(report.matched) == 2 * len(last_layers(fresh))
    assert not report.mismatched + report.missing + report.unused
    for name in report.loaded:
        assert torch.equal(fresh.state_dict()[name], old.state_dict()[name])
    assert f"{len(start)} of {len(start)} tensors loaded" in report.lines()[0]
    assert ("new: tree" in report.lines()[1]) == ("tree" in new)


def test_without_the_files_classes_only_shapes_decide():
    old, fresh = net("pixel", OLD), net("pixel", NEW)
    start = fresh.head.classifier.weight.detach().clone()
    report = transfer(fresh, old.state_dict())
    assert set(report.mismatched) == {"head.classifier.weight", "head.classifier.bias"}
    assert torch.equal(fresh.head.classifier.weight, start)
    assert "2 of another shape" in "\n".join(report.lines())
    same = net("pixel", ["a", "b", "c"])
    assert not transfer(same, old.state_dict()).mismatched
    assert torch.equal(same.head.classifier.weight, old.head.classifier.weight)


def test_renamed_beginnings_reach_another_place():
    old = net("pixel", OLD)
    state = {
        f"encoder.{name.removeprefix('backbone.')}": t for name, t in old.state_dict().items() if "backbone" in name
    }
    state["encoders.odd"] = torch.zeros(1)
    fresh = net("image", OLD)
    report = transfer(fresh, state, renamed={"encoder": "backbone"})
    assert report.unused == ("encoders.odd",)  # whole parts of a name only
    assert all(name.startswith("head.") for name in report.missing)
    assert torch.equal(fresh.backbone.stages[1].conv.weight, old.backbone.stages[1].conv.weight)
    with pytest.raises(CheckpointError, match="no tensor whose name begins with 'encodr'; did you mean 'encoder"):
        transfer(fresh, state, renamed={"encodr": "backbone"})


def test_weights_of_another_architecture_are_refused():
    fresh = net("pixel", OLD)
    before = fresh.head.classifier.weight.detach().clone()
    with pytest.raises(
        CheckpointError, match=r"file\.pth: shares no tensor with this model: it has features\.0\.weight"
    ):
        transfer(fresh, {"features.0.weight": torch.zeros(3)}, where="file.pth")
    with pytest.raises(CheckpointError, match=r"head\.classifier\.weight is \(1,\) in the file"):
        transfer(fresh, {"head.classifier.weight": torch.zeros(1)})
    assert torch.equal(fresh.head.classifier.weight, before)


@pytest.mark.parametrize(("given", "mine"), [(3, 1), (1, 3)])
def test_the_first_convolution_is_made_to_fit_gray_and_colour(given: int, mine: int) -> None:
    """A picture without colour looks the same to both nets."""

    def net_of(channels: int) -> VisionModel:
        backbone = UNetEncoder(in_channels=channels, width=4, depth=2, dropout=0.0, norm="none")
        return VisionModel(backbone, None, PixelHead(backbone.spec, 3), OLD)

    torch.manual_seed(1)
    old, fresh = net_of(given).eval(), net_of(mine).eval()
    report = transfer(fresh, old.state_dict(), OLD)
    (name,) = report.reshaped
    assert name == "backbone.levels.0.0.conv.weight"
    assert not report.mismatched + report.missing + report.unused
    total = len(fresh.state_dict())
    assert report.lines() == [f"{total} of {total} tensors loaded", f"{name}: {report.reshaped[name]}"]
    gray = torch.rand(1, 1, 12, 14)
    pictures = {1: gray, 3: gray.expand(-1, 3, -1, -1)}
    torch.testing.assert_close(fresh(pictures[mine]), old(pictures[given]), rtol=1e-4, atol=1e-5)


def test_other_shapes_are_left_and_counted() -> None:
    """Only the first convolution's channels are made to fit; a wider net, or four channels, is another shape."""
    old = net("pixel", OLD)
    state = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    first = next(name for name in state if name.startswith("backbone") and state[name].ndim == 4)
    state[first] = torch.zeros(state[first].shape[0], 4, *state[first].shape[2:])
    fresh = net("pixel", OLD)
    report = transfer(fresh, state, OLD)
    assert report.mismatched == (first,)
    assert not report.reshaped

"""The classic nets, a line each: the same objects as the configs of the same names build, with random weights.

    model = toolkit.unet("resnet34", num_classes=11)

Nothing is fetched unless `weights` names something that has to be. Parts are taken from the registries by name, so
that a part of one's own serves as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import toolkit.backbones
import toolkit.heads
import toolkit.losses
import toolkit.necks  # noqa: F401 - they register the parts
from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, HEADS, LOSSES, NECKS, Backbone, Neck, PixelLoss
from toolkit.data.classes.tables import class_table
from toolkit.errors import ConfigError, Problem, did_you_mean
from toolkit.labels import ClassTable, default_palette
from toolkit.models.vision_model import VisionModel

Classes = Sequence[str] | str
"""Names of the classes in the order of their labels, or the name of a preset ("camvid11")."""

_FAMILIES = {
    "resnet": ("18", "34", "50", "101", "152"),
    "vgg": ("11", "13", "16", "19", "11_bn", "13_bn", "16_bn", "19_bn"),
    "densenet": ("121", "161", "169", "201"),
}
_SINGLE = ("alexnet", "googlenet", "lenet5", "unet_encoder", "segnet_basic_encoder")


def unet(
    backbone: str = "unet_encoder",
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    weights: str | None = None,
    in_channels: PositiveInt | None = None,
    loss: PixelLoss | None = None,
) -> VisionModel:
    """U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597), or its decoder on another backbone.

    `unet(num_classes=2)` is the paper's net: gray images, unpadded convolutions, 31,030,658 parameters. On a backbone,
    `unet("resnet34", num_classes=11)`, any size goes, and five steps of two convolutions each (256, 128, 64, 32 and 16
    wide) lead from stride 32 to pixels: 24,437,819 parameters.

    Args:
        backbone: what the decoder stands on: resnet18 to resnet152, vgg11 to vgg19 (vgg16_bn ...), densenet121,
            googlenet, `timm:NAME` or `smp:NAME` of those libraries; `unet_encoder` is the paper's own path.
        num_classes: how many classes a pixel can have, 2 to 255; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        weights: of the backbone, a file or a name it knows (`IMAGENET1K_V1`, downloaded once); None is random.
        in_channels: of the images, 3 for colour or 1 for gray; None is 1 for `unet_encoder`, else 3.
        loss: what compares logits with labels; None is cross-entropy, and with a backbone dice added to it.

    Raises:
        ConfigError: a backbone that does not exist; no word about the classes, or two that differ.
        PartsError: a backbone whose maps this decoder cannot join.
    """
    table = _table(num_classes, classes)
    if backbone == "unet_encoder":
        part = _backbone(backbone, weights, in_channels or 1)
        neck = NECKS.find("skip")(part.spec, padding="valid", fit="crop")
        return _model(part, neck, _pixel_head(neck.spec, table, loss=loss), table)
    part = _backbone(backbone, weights, in_channels or 3)
    neck = NECKS.find("skip")(
        part.spec, to_stride=1, channels=_halving(part.spec.strides), upsample="nearest", norm="batch"
    )
    loss = loss or LOSSES.find("weighted_sum")([LOSSES.find("cross_entropy")(), LOSSES.find("dice")()])
    return _model(part, neck, _pixel_head(neck.spec, table, kernel_size=3, loss=loss), table)


def segnet(
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    weights: str | None = None,
    samples: PositiveInt = 1,
    loss: PixelLoss | None = None,
) -> VisionModel:
    """SegNet (Badrinarayanan, Kendall, Cipolla 2015, arXiv 1511.00561): VGG16 with BN, its mirror, pooling indices.

    29,449,355 parameters with 11 classes, as in `Models/segnet_train.prototxt` of SegNet-Tutorial.

    Args:
        num_classes: how many classes a pixel can have, 2 to 255; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        weights: of the encoder, a file or torchvision's name (`IMAGENET1K_V1`, downloaded once); None is random.
        samples: passes a prediction; above 1 it is Bayesian SegNet (arXiv 1511.02680): dropout behind the three
            deepest stages, the mean of so many answers (the official script draws 4), and their variance.
        loss: what compares logits with labels; None is cross-entropy divided by pixels, as Caffe's. The papers weight
            it by class: `LOSSES.find("cross_entropy")(class_weights=[...], normalise="pixels")`.

    Raises:
        ConfigError: no word about the classes, or two that differ.
        CheckpointError: weights that cannot be had or do not fit.
    """
    table, dropped = _table(num_classes, classes), [3, 4, 5] if samples > 1 else None
    encoder = BACKBONES.find("vgg")(
        depth=16, batch_norm=True, weights=weights, pool_indices=True, ceil_mode=True, bn_shift=0.001,
        dropout_after=dropped,
    )  # fmt: skip
    neck = NECKS.find("index_unpool")(encoder.spec, bn_shift=0.001, dropout_after=dropped)
    head = _pixel_head(neck.spec, table, kernel_size=3, init="he", loss=loss or _caffe_loss())
    return _model(encoder, neck, head, table, samples)


def segnet_basic(
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    samples: PositiveInt = 1,
    loss: PixelLoss | None = None,
) -> VisionModel:
    """SegNet-Basic: four stages of one 7x7 convolution with 64 maps down and up, with pooling indices.

    1,416,587 parameters with 11 classes, as in `Models/segnet_basic_train.prototxt` of SegNet-Tutorial.

    Args:
        num_classes: how many classes a pixel can have, 2 to 255; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        samples: passes a prediction; above 1 dropout stands behind the two deepest stages (Bayesian SegNet-Basic), and
            the answer is the mean of so many (the official script draws 8).
        loss: what compares logits with labels; None is cross-entropy divided by pixels, as Caffe's.

    Raises:
        ConfigError: no word about the classes, or two that differ.
    """
    table, dropped = _table(num_classes, classes), [3, 4] if samples > 1 else None
    encoder = BACKBONES.find("segnet_basic_encoder")(bn_eps=1e-9, dropout_after=dropped)
    neck = NECKS.find("index_unpool")(
        encoder.spec, convs=[1, 1, 1, 1], kernel_size=7, activation="none", bn_eps=1e-9, bn_shift=0.001,
        dropout_after=dropped,
    )  # fmt: skip
    head = _pixel_head(neck.spec, table, init="he", loss=loss or _caffe_loss())
    return _model(encoder, neck, head, table, samples)


def dilated(
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    context: Literal["none", "basic", "large"] = "large",
    layers: Literal[7, 8, 10] = 8,
    weights: str | None = None,
    loss: PixelLoss | None = None,
) -> VisionModel:
    """The dilated nets of Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions" (arXiv 1511.07122).

    VGG16 without its last two poolings, fc6 and fc7 as convolutions, and a context module of dilated 3x3 convolutions:
    134,346,581 parameters without one and 141,149,720 with the large one (21 classes), 134,313,443 and 134,312,343 with
    the basic ones of CamVid (8 layers) and KITTI (7) and 11 classes, 134,368,179 with that of Cityscapes (10) and 19.
    186 pixels at each edge only serve as surroundings; predictions mirror as many around a picture.

    Args:
        num_classes: how many classes a pixel can have, 2 to 255; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        context: the module behind the front end: `none`; `basic`, as many channels as classes throughout; `large`, up
            to 32 times as many, as released for VOC.
        layers: of the module, 8 as in the paper; 7 is released for KITTI, 10 for Cityscapes (basic ones).
        weights: of the front end, a file or torchvision's name (`IMAGENET1K_V1`, downloaded once); None is random.
        loss: what compares logits with labels; None is cross-entropy.

    Raises:
        ConfigError: no word about the classes, or two that differ.
        PartsError: a large module of another number of layers than 8.
    """
    table = _table(num_classes, classes)
    front = BACKBONES.find("vgg")(
        depth=16, weights=weights, drop_pools=[4, 5], padding=False, ceil_mode=True, convolutional_fc=True
    )
    corner: dict[str, Any] = {"label_sampling": "corner", "upsample": "corner", "interpolate": "probabilities"}
    if context == "none":
        return _model(front, None, _pixel_head(front.spec, table, stride=8, init="small", loss=loss, **corner), table)
    padding = "input" if context == "large" else "layer"
    neck = NECKS.find("context")(
        front.spec, channels=len(table.names), layers=layers, width=context, padding=padding, init="released"
    )
    ending = {"upsample": "deconvolution"} if layers == 10 else corner  # as in the net released for Cityscapes
    return _model(front, neck, _pixel_head(neck.spec, table, init="noisy_identity", loss=loss, **ending), table)


def faster_rcnn(
    backbone: str = "resnet50",
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    weights: str | None = None,
    norm: Literal["frozen_batch", "batch"] = "frozen_batch",
) -> VisionModel:
    """Faster R-CNN (Ren et al. 2015, arXiv 1506.01497), with a feature pyramid (Lin et al. 2017, arXiv 1612.03144).

    `faster_rcnn("resnet50", num_classes=80)` has 41,704,036 parameters and torchvision's defaults; `vgg16` is the net of
    2015 on one map of stride 16, 137,078,239 parameters with 20 classes and py-faster-rcnn's defaults. Classes are those
    of objects: there is none for the background.

    Args:
        backbone: resnet18 to resnet152, `timm:NAME` or `smp:NAME` of those libraries with maps at strides 4 to 32; or
            vgg16 for the net of 2015.
        num_classes: how many kinds of objects there are; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        weights: of the backbone, a file or a name it knows (`IMAGENET1K_V1`, downloaded once); None is random. With
            weights the stem and the first stage of a ResNet stay as they are.
        norm: of a ResNet: `frozen_batch` never updates statistics, scale and shift, for batches of a few images and
            weights that have them; `batch` learns them, for a training from random weights.

    Raises:
        ConfigError: a backbone that does not exist; no word about the classes, or two that differ.
        PartsError: a backbone that lacks a map this net reads.
    """
    table = _table(num_classes, classes)
    if backbone == "vgg16":
        part = BACKBONES.find("vgg")(depth=16, ceil_mode=True, weights=weights)
        single = NECKS.find("single")(part.spec, stride=16)
        rcnn: Any = HEADS.find("rcnn")
        return _model(part, single, rcnn.of_2015(single.spec, len(table.names)), table)
    own = {"norm": norm, "frozen_stages": 2 if weights else 0} if backbone.startswith("resnet") else {}
    part = _backbone(backbone, weights, 3, **own)
    neck = NECKS.find("fpn")(part.spec, channels=256, extra="max_pool")
    return _model(part, neck, HEADS.find("rcnn")(neck.spec, len(table.names), unclear="background"), table)


def classifier(
    backbone: str = "resnet50",
    num_classes: PositiveInt | None = None,
    *,
    classes: Classes | None = None,
    weights: str | None = None,
    in_channels: PositiveInt | None = None,
) -> VisionModel:
    """A net that gives a whole image a class, with the classifier of its paper.

    LeNet-5 (61,706 parameters with 10 classes), and with 1000 classes AlexNet 61,100,840, VGG16 138,357,544, GoogLeNet
    13,004,888 (with the two auxiliary classifiers that only train), ResNet-50 25,557,032, DenseNet-121 7,978,856: those
    of torchvision.

    Args:
        backbone: lenet5, alexnet, vgg11 to vgg19 (vgg16_bn ...), googlenet, resnet18 to resnet152, densenet121 to
            densenet201, or `timm:NAME` or `smp:NAME` of those libraries.
        num_classes: how many classes an image can have, at least 2; left out where `classes` names them.
        classes: names of the classes in the order of their labels, or a preset's; else they are called 0, 1, ...
        weights: a file of torchvision's names or a name it knows (`IMAGENET1K_V1`, downloaded once), for backbone and
            classifier; the last layer stays random when it is for another number of classes. None is random.
        in_channels: of the images, 3 for colour or 1 for gray; None is 1 for `lenet5`, else 3.

    Raises:
        ConfigError: a backbone that does not exist; no word about the classes, or two that differ.
        CheckpointError: weights that cannot be had or do not fit.
    """
    table = _table(num_classes, classes)
    own = {"auxiliary": True} if backbone == "googlenet" else {}
    part = _backbone(backbone, weights, in_channels or (1 if backbone == "lenet5" else 3), **own)
    arguments = next((found for start, found in _CLASSIFIERS.items() if backbone.startswith(start)), {})
    head = HEADS.find("image")(part.spec, len(table.names), weights=_of_classifier(backbone, weights), **arguments)
    return _model(part, None, head, table)


_CLASSIFIERS: dict[str, dict[str, Any]] = {
    "lenet5": {"pool": "none", "grid": 5, "hidden": [120, 84]},
    "alexnet": {"grid": 6, "hidden": [4096, 4096], "dropout": [0.5, 0.5, 0.0]},
    "vgg": {"grid": 7, "hidden": [4096, 4096], "dropout": [0.0, 0.5, 0.5]},
    "googlenet": {"dropout": [0.2], "auxiliary": "norm"},
}
"""The head `image` of each family; ResNet and DenseNet have its defaults."""


def _table(num_classes: int | None, classes: Classes | None) -> ClassTable:
    """Names and colours. Raises ConfigError when neither argument says how many classes there are, or both disagree."""
    if classes is None:
        if num_classes is None:
            remedy = 'num_classes=11, or classes=["road", "sky"]'
            raise ConfigError(Problem("num_classes", "nothing says how many classes the model has", remedy))
        return ClassTable(tuple(map(str, range(num_classes))), default_palette(num_classes))
    table = class_table(classes, "classes")
    if num_classes not in (None, len(table.names)):
        message = f"is {num_classes}, but `classes` names {len(table.names)}"
        raise ConfigError(Problem("num_classes", message, "leave num_classes out"))
    return table


def _backbone(name: str, weights: str | None, in_channels: int, **more: Any) -> Backbone:
    """A backbone by the name its papers and libraries have for it ("resnet34", "vgg16_bn", "timm:convnext_tiny")."""
    library, colon, of_library = name.partition(":")
    if colon and library == "timm":
        loaded: dict[str, Any] = {"pretrained": True} if weights in ("DEFAULT", "pretrained") else {"weights": weights}
        return BACKBONES.find("timm")(model=of_library, in_channels=in_channels, **loaded, **more)
    if colon and library == "smp":
        return BACKBONES.find("smp")(encoder=of_library, weights=weights, in_channels=in_channels, **more)
    if colon or name in _SINGLE:
        given = {} if weights is None else {"weights": weights}
        return BACKBONES.find(name)(in_channels=in_channels, **given, **more)
    match = re.fullmatch(r"([a-z]+?)(\d+)(_bn)?", name)
    if match is None or f"{match[2]}{match[3] or ''}" not in _FAMILIES.get(match[1], ()):
        known = [f"{family}{depth}" for family, depths in _FAMILIES.items() for depth in depths]
        raise ConfigError(
            Problem("backbone", f"no backbone is called '{name}'", did_you_mean(name, [*known, *_SINGLE]))
        )
    bn = {"batch_norm": True} if match[3] else {}
    return BACKBONES.find(match[1])(depth=int(match[2]), weights=weights, in_channels=in_channels, **bn, **more)


def _of_classifier(backbone: str, weights: str | None) -> str | None:
    """The weights by the full name that the head `image` wants: `IMAGENET1K_V1` is `ResNet50_Weights.IMAGENET1K_V1`."""
    if weights is None or ":" in backbone or "." in weights or backbone == "lenet5":
        return weights if ":" not in backbone and backbone != "lenet5" else None
    from torchvision.models import get_model_weights

    return f"{get_model_weights(backbone).__name__}.{weights}"


def _halving(strides: Sequence[int]) -> list[int]:
    """Widths of the decoder's steps from the coarsest stride to pixels: 256 and half as wide each time, 16 at least."""
    joined, added = len(set(strides)) - 1, (min(strides) - 1).bit_length()
    return [max(16, 256 >> step) for step in range(joined + added)]


def _caffe_loss() -> PixelLoss:
    loss: PixelLoss = LOSSES.find("cross_entropy")(normalise="pixels")
    return loss


def _pixel_head(spec: Any, table: ClassTable, **arguments: Any) -> Any:
    return HEADS.find("pixel")(spec, len(table.names), **arguments)


def _model(backbone: Backbone, neck: Neck | None, head: Any, table: ClassTable, samples: int = 1) -> VisionModel:
    return VisionModel(backbone, neck, head, table.names, table.palette, samples=samples)

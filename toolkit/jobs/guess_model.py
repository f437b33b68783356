"""Which parts a file of another library's weights fits: known nets are tried as outlines until every tensor has a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import yaml
from torch import Tensor

from toolkit.config.load import parse_config
from toolkit.contracts import BACKBONES
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.jobs.build import build_model
from toolkit.labels import ClassTable, default_palette
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.torchvision_weights import is_faster_rcnn
from toolkit.models.translate import translate
from toolkit.weights.naming import namings_of, recognised
from toolkit.weights.read import part_of

_ENCODERS = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)), *(f"efficientnet-b{size}" for size in range(5)),
    "mobilenet_v2", "mit_b0", "mit_b1", "mit_b2", "resnext50_32x4d", "se_resnext50_32x4d", "timm-efficientnet-b0",
    "vgg16_bn", "densenet121",
)  # fmt: skip
"""Encoders of segmentation-models-pytorch that are tried; for any other a config says it (`--for`)."""

_DECODERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "unet": ({}, {}, {"kernel_size": 3}),
    "unetplusplus": ({}, {}, {"kernel_size": 3}),
    "manet": ({}, {}, {"kernel_size": 3}),
    "linknet": ({}, {}, {}),
    "fpn": ({}, {}, {"upsample": "ends"}),
    "pspnet": ({"depth": 3}, {}, {"kernel_size": 3, "upsample": "ends"}),
    "deeplabv3": ({"output_stride": 8}, {}, {"upsample": "ends"}),
    "deeplabv3plus": ({"output_stride": 16}, {}, {"upsample": "ends"}),
    "pan": ({"output_stride": 16}, {"strides": [4, 8, 16, 16]}, {"kernel_size": 3, "upsample": "ends"}),
    "upernet": ({}, {}, {"upsample": "ends"}),
    "segformer": ({}, {"strides": [2, 4, 8, 16, 32]}, {"upsample": "ends"}),
}
"""What the library's constructors do by default: more of the backbone, the neck and the head."""

_LARGE = {"grid": 6, "hidden": [4096, 4096], "dropout": [0.5, 0.5, 0.0]}
_DATA = {
    "pixel": {"name": "image_masks", "root": "path/to/pictures", "images": "images", "masks": "masks"},
    "rcnn": {"name": "coco", "root": "path/to/pictures", "images": "images", "annotations": "annotations.json"},
    "image": {"name": "image_folder", "root": "path/to/pictures"},
}


class Guess(NamedTuple):
    """A model that a file fits.

    Args:
        model: the section `model` of a config.
        text: a whole config with it, whose data still have to be named.
    """

    model: dict[str, Any]
    text: str


def guess_model(state: Mapping[str, Tensor], classes: Sequence[str], where: str, *, ordered: bool = True) -> Guess:
    """The parts a file fits, all its tensors with a place and all of theirs filled.

    Raises ConfigError when none of the known nets does.

    Args:
        state: tensors by the file's names.
        classes: names of the classes it tells apart; () numbers them.
        where: the file, for the message.
        ordered: whether the order of the tensors says something.
    """
    for model, outputs in _candidates(state):
        names = list(classes) if len(classes) == outputs else [str(number) for number in range(outputs)]
        text = _config(model, names)
        with suppress(UserError), shapes_only():
            config = parse_config(text, where)
            built = build_model(config, pretrained=False, classes=ClassTable(tuple(names), default_palette(outputs)))
            found = translate(built, state, model["backbone"]["name"], where, ordered=ordered)
            own = {name: tensor.shape for name, tensor in built.state_dict().items() if "num_batches" not in name}
            if own == {name: one.shape for name, one in found.tensors.items() if "num_batches" not in name}:
                return Guess(model, text)
    remedy = "say which model it is for: --for CONFIG (toolkit list configs), and --map TABLE where its names are new"
    if not is_faster_rcnn(state) and recognised(state, namings_of("whole_nets")) is not None:
        remedy = (
            "it is a net of segmentation-models-pytorch, of an encoder or options that are not tried: name them in a config "
            "(backbone and neck `smp`, head `pixel`; docs/weights.md says which), and say --for CONFIG"
        )
    raise ConfigError(Problem(where, f"its {len(state)} tensors are those of no net that is known", remedy))


def _config(model: Mapping[str, Any], names: Sequence[str]) -> str:
    head = model["head"]["name"]
    channels = model["backbone"].get("in_channels", 3)
    dataset = _DATA[head] if channels == 3 else {**_DATA[head], "channels": channels}
    data = {"classes": list(names), "train": {"dataset": dataset}}
    if head == "rcnn":  # torchvision's detectors scale every picture so themselves
        scaled = [{"name": "resize_shorter", "shorter": 800, "longer": 1333}]
        data |= {split: {"dataset": _DATA[head], "transforms": scaled} for split in ("train", "val")}
    evaluator = {"pixel": "semantic", "rcnn": "coco", "image": "classification"}[head]
    return yaml.safe_dump(
        {
            "model": model,
            "data": data,
            "train": {"steps": 1000, "optimizer": {"name": "adamw", "lr": 0.0001}},
            "evaluate": {"evaluators": [evaluator]},
        },
        sort_keys=False,
    )


def _candidates(state: Mapping[str, Tensor]) -> Iterator[tuple[dict[str, Any], int]]:
    """(model, number of classes) of nets that have some names in common with a file."""
    if is_faster_rcnn(state):
        yield from _detectors(len(state["roi_heads.box_predictor.cls_score.weight"]) - 1)
    elif recognised(state, namings_of("whole_nets")) is not None:
        yield from _segmenters(state, max(2, len(state["segmentation_head.0.weight"])))
    elif any(tensor.ndim == 4 for tensor in state.values()):
        last = [tensor for name, tensor in state.items() if name.endswith("weight") and tensor.ndim == 2]
        for model, outputs in _classifiers(len(last[-1]) if last else 0):
            yield {**model, "backbone": {**model["backbone"], **_gray(state)}}, outputs


def _detectors(outputs: int) -> Iterator[tuple[dict[str, Any], int]]:
    for norm in ("frozen_batch", "batch"):
        for depth in (50, 18, 34, 101, 152):
            yield (
                {
                    "backbone": {"name": "resnet", "depth": depth, "norm": norm},
                    "neck": {"name": "fpn"},
                    "head": {"name": "rcnn", "rpn": {"anchors": {"style": "torchvision"}}},
                },
                outputs,
            )
        anchors = {"style": "torchvision", "unit": "pixels", "scales": [32, 64, 128, 256, 512]}
        yield (
            {
                "backbone": {"name": "mobilenet_v3", "norm": norm, "bn_eps": 1e-5},
                "neck": {"name": "fpn", "strides": [32, 32]},
                "head": {"name": "rcnn", "rpn": {"anchors": anchors}},
            },
            outputs,
        )


def _gray(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What a backbone says where a file's first kernel is not for three channels."""
    first = next(tensor for tensor in state.values() if tensor.ndim == 4)
    return {} if first.shape[1] == 3 else {"in_channels": first.shape[1]}


def _encoders(state: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, int]]]:
    """Encoders of segmentation-models-pytorch that a file has, and what they say of channels where those are not three."""
    body = {name: tensor.shape for name, tensor in part_of(state, "encoder.").items()}
    for encoder in _ENCODERS:
        with shapes_only():
            net = BACKBONES.find("smp")(encoder=encoder)
        own = {name.removeprefix("net."): tensor.shape for name, tensor in net.state_dict().items()}
        if not body or not body.keys() <= own.keys():
            continue
        others = [shape for name, shape in body.items() if shape != own[name]]
        if not others:
            yield encoder, {}
        elif len(others) == 1 and len(others[0]) == 4:
            yield encoder, {"in_channels": others[0][1]}


def _segmenters(state: Mapping[str, Tensor], outputs: int) -> Iterator[tuple[dict[str, Any], int]]:
    for encoder, channels in _encoders(state):
        for decoder, (body, neck, head) in _DECODERS.items():
            yield (
                {
                    "backbone": {"name": "smp", "encoder": encoder, **channels, **body},
                    "neck": {"name": "smp", "decoder": decoder, **neck},
                    "head": {"name": "pixel", **head},
                },
                outputs,
            )


def _classifiers(outputs: int) -> Iterator[tuple[dict[str, Any], int]]:
    for depth in (18, 34, 50, 101, 152):
        yield {"backbone": {"name": "resnet", "depth": depth}, "head": {"name": "image"}}, outputs
    for depth in (11, 13, 16, 19):
        for norm in (False, True):
            head = {"name": "image", **_LARGE, "grid": 7, "dropout": [0.0, 0.5, 0.5]}
            yield {"backbone": {"name": "vgg", "depth": depth, "batch_norm": norm}, "head": head}, outputs
    yield {"backbone": {"name": "alexnet"}, "head": {"name": "image", **_LARGE}}, outputs
    yield {"backbone": {"name": "googlenet"}, "head": {"name": "image", "dropout": [0.2]}}, outputs
    for depth in (121, 161, 169, 201):
        yield {"backbone": {"name": "densenet", "depth": depth}, "head": {"name": "image"}}, outputs

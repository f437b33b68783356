"""What a config says of classes and channels against what the data and a checkpoint say."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.config.sections import Config, PartSpec
from toolkit.config.source import dotted
from toolkit.errors import Problem
from toolkit.jobs.build import nested_parts
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.ops.class_weights import PRESETS, is_computed
from toolkit.preflight.findings import Finding, Report
from toolkit.samples import Sample

FEW = 0.5
"""Share of a model's tensors that a file to start from should have. VGG16's has 0.75 of Faster R-CNN's."""


def check_class_weights(report: Report, config: Config, classes: Sequence[str]) -> None:
    """Notes every list or preset of class weights that has not one number a class.

    Args:
        report: takes what is found, as errors.
        config: the config whose losses are looked at.
        classes: names of the labels 0..K-1.
    """
    for part in nested_parts(config.model.head):
        weights = part.arguments.get("class_weights")
        if weights is None or is_computed(weights):
            continue
        numbers = PRESETS.get(weights, ()) if isinstance(weights, str) else weights
        if len(numbers) != len(classes) and not (isinstance(weights, str) and weights not in PRESETS):
            where = f"{dotted(part.path)}.class_weights"
            message = f"has {len(numbers)} numbers, but there are {len(classes)} classes: {_some(classes)}"
            problem = Problem(where, message, "give one number a class, or median_frequency")
            report.add(Finding("class_weights", problem), 2)


def check_neck(report: Report, model: VisionModel) -> None:
    """Notes what of the neck does not suit the classes."""
    for problem in model.neck.check_classes(model.classes) if model.neck is not None else []:
        report.warn("neck_classes", problem.at(f"model.neck.{problem.where}"))


def check_channels(report: Report, config: Config, model: VisionModel, sample: Sample, split: str = "train") -> None:
    """Notes images of another number of channels than the model takes.

    Args:
        report: takes what is found, as errors.
        config: the config, for the keys that a message names.
        model: the model, which says how many channels it takes.
        sample: a sample of the split, as read.
        split: which split the sample is of: "train", "val" or "test".
    """
    found = sample.image.shape[2]
    if found == model.in_channels:
        return
    words = {1: "gray (1 channel)", 3: "RGB (3 channels)"}
    message = (
        f"the model takes images of {words.get(model.in_channels, f'{model.in_channels} channels')}, "
        f"{split} has {words.get(found, f'{found} channels')}, e.g. {sample.name}"
    )
    remedies = []
    if _takes(config.model.backbone, "in_channels"):
        remedies.append(f"set model.backbone.in_channels: {found}")
    section = getattr(config.data, split)
    if section is not None and _takes(section.dataset, "channels"):
        remedies.append(f"set data.{split}.dataset.channels: {model.in_channels}")
    remedy = " or ".join(remedies) or f"choose a backbone that takes {found} channels"
    report.add(Finding("channels", Problem("model.backbone", message, remedy)), 2)


def _takes(part: PartSpec, argument: str) -> bool:
    return argument in part.signature["properties"]


def check_pretrained_channels(report: Report, backbone: PartSpec, in_channels: int) -> None:
    """Says how named weights (of RGB images) are used in a backbone of another number of channels.

    Args:
        report: takes what is found, as facts.
        backbone: the backbone as the config describes it.
        in_channels: number of channels of the images.
    """
    named = [name for name in ("weights", "pretrained") if backbone.arguments.get(name)]
    if named and in_channels not in (1, 3):
        rule = f"the first layer's three are repeated in turn for {in_channels}, times 3/{in_channels}"
        report.note("start", f"published weights are of 3 channels: {rule}")


def check_start(report: Report, config: Config, taken: Transfer, classes: Sequence[str]) -> None:
    """Says what `model.init_from` gave, and warns of classes that it does not know.

    Args:
        report: takes what is found, as facts and warnings.
        config: the config, for the name of the file.
        taken: which tensors and classes came from the file.
        classes: names of the labels 0..K-1 of the new model.
    """
    for line in taken.lines():
        report.note("start", line)
    report.statistics["init_from"] = {
        "loaded": len(taken.loaded), "matched": len(taken.matched), "mismatched": list(taken.mismatched),
        "missing": list(taken.missing), "unused": list(taken.unused),
    }  # fmt: skip
    fitting = len(taken.loaded) + len(taken.matched)
    asked = fitting + len(taken.mismatched) + len(taken.missing)
    if fitting < FEW * asked:
        message = f"only {fitting} of the {asked} tensors of this model are in {config.model.init_from}"
        remedy = "is it of another model? model.init_rename changes the beginnings of names"
        report.warn("init_few", Problem("model.init_from", message, remedy))
    if taken.new:
        known = f"it knows {_some(taken.known)}" if taken.known else "it knows none of them"
        message = (
            f"{config.model.init_from} was trained on other classes: {_some(taken.new)} of the {len(classes)} here are "
            f"new to it and start from random numbers; {known}"
        )
        report.warn(
            "init_classes", Problem("model.init_from", message, "right if the classes are new; check their names")
        )


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

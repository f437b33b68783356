"""A model against the data without numbers: sizes, channels and anchors, and a pass on the meta device."""

from __future__ import annotations

from typing import Any, NamedTuple

from toolkit.config.sections import Config
from toolkit.jobs.agreement import (
    check_channels,
    check_neck,
    check_pretrained_channels,
)
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import aspect_groups_of
from toolkit.jobs.build_part import build_part
from toolkit.jobs.look_at_data import Seen
from toolkit.labels import ClassTable
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report
from toolkit.preflight.model.anchors import check_anchors
from toolkit.preflight.model.geometry_trace import boxes_seen, first_traces, traces_of_some, usual_size
from toolkit.preflight.model.meta_pass import MetaPass, PartNames, run_meta_pass
from toolkit.preflight.model.sizes import check_sizes, compare_with_validation, model_sizes
from toolkit.samples import Sample


class Tried(NamedTuple):
    """What the parts have shown without numbers.

    Args:
        meta: of the pass on the meta device; None when the parts do not fit.
        size: (height, width) that most training images have.
        validation: sizes of some validation images, the largest among them.
    """

    meta: MetaPass | None
    size: tuple[int, int]
    validation: tuple[tuple[int, int], ...]


def try_model(config: Config, seen: Seen, report: Report) -> VisionModel | None:
    """The model without weights, built on the meta device; None when its parts do not fit, or no classes are known.

    Args:
        config: names the parts and their arguments.
        seen: the classes that the data says, for the head.
        report: takes what does not fit as errors, the model's size as a fact.
    """
    model = report.attempt("parts", meta_model, config, seen.table)
    if model is not None:
        count = sum(parameter.numel() for parameter in model.parameters())
        report.note("model", f"{count:,} parameters; the head reads {model.spec.describe()}")
    return model


def meta_model(config: Config, table: ClassTable | None) -> VisionModel | None:
    """The model without weights or memory. Without classes only backbone and neck are built, and nothing is returned.

    Raises PartsError for parts that do not fit, ConfigError for arguments they refuse.
    """
    with shapes_only():
        if table is not None:
            return build_model(config, pretrained=False, classes=table)
        backbone = build_part(config.model.backbone, pretrained=False)
        if config.model.neck is not None:
            build_part(config.model.neck, pretrained=False, spec=backbone.spec)
    return None


def part_names(config: Config) -> PartNames:
    """`backbone 'resnet'` ..., with their places in the config."""
    section = config.model
    neck = f"model.neck '{section.neck.name}'" if section.neck is not None else ""
    return PartNames(f"model.backbone '{section.backbone.name}'", neck, f"model.head '{section.head.name}'")


def try_parts(config: Config, seen: Seen, report: Report, model: VisionModel, *, suggest: bool = True) -> Tried:
    """A model against the data: channels, image sizes, anchors; its parts on one another at the size they will get.

    Args:
        config: whose parts the model is made of.
        seen: what is known of the data; splits that could not be built are passed over.
        report: takes what does not fit as errors, what may surprise as warnings.
        model: the net on the meta device, without numbers.
        suggest: whether better anchors are searched for; takes a second or two.
    """
    train, transforms = seen.datasets.get("train"), seen.transforms.get("train")
    like = report.attempt("sample", lambda: train[0]) if train is not None and len(train) else None
    size = usual_size(transforms or [], model.in_channels)
    check_neck(report, model)
    check_pretrained_channels(report, config.model.backbone, model.in_channels)
    if train is not None and like is not None:
        check_channels(report, config, model, like)
        if transforms is not None:
            size = _sizes(config, seen, report, like, model) or size
            layout = model.head.anchor_layout()
            if layout is not None and like.boxes is not None:
                boxes = boxes_seen(train, transforms, config.seed)
                check_anchors(report, boxes, layout, model.classes, suggest=suggest)
    validation = _validation_sizes(seen, report)
    if validation and like is not None:
        pads = model.illegal_sizes == "pad"
        compare_with_validation(report, size, validation, model.spec.sizes, pads=pads)
    meta = report.attempt("parts", run_meta_pass, model, part_names(config), size, own_batch(config))
    return Tried(meta, size, tuple(validation))


def _sizes(config: Config, seen: Seen, report: Report, like: Sample, model: VisionModel) -> tuple[int, int] | None:
    """Image sizes against the model; the size that most training images have."""
    train, batch_size = seen.datasets["train"], whole_batch(config)
    groups = report.attempt("group_by_aspect", aspect_groups_of, config, train)
    traces = first_traces(report, train, seen.transforms["train"], config.seed, like, batch_size, groups)
    if not traces:
        return None
    size = traces[0][0].after
    check_sizes(report, traces, model_sizes(model, size), batch_size)
    return size


def _validation_sizes(seen: Seen, report: Report) -> list[tuple[int, int]]:
    """Sizes of some validation images as an evaluation sees them, the largest among them."""
    val, steps = seen.datasets.get("val"), seen.transforms.get("val")
    if val is None or steps is None or not len(val):
        return []
    like = report.attempt("sample", lambda: val[0])
    return [] if like is None else [trace.after for trace in traces_of_some(report, val, steps, like)]


def _processes(config: Config) -> int:
    """How many share a batch."""
    return config.train.devices * config.train.nodes


def own_batch(config: Config) -> int:
    """Images of one process's batch."""
    return max(1, whole_batch(config) // _processes(config))


def whole_batch(config: Config) -> int:
    """Images of a batch, of all processes together."""
    size: Any = config.data.batch_size
    return size if isinstance(size, int) else 2 * _processes(config)  # "auto": found when training begins

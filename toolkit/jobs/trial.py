"""The parts of a config on the meta device: built, tried on one another, and asked what sizes they take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from toolkit.config.sections import Config
from toolkit.contracts import Dataset, DenseHead, Transform
from toolkit.data.loading.batches import StepBatches
from toolkit.data.seeds import sample_seed
from toolkit.errors import UserError
from toolkit.jobs.build import build_model, build_part
from toolkit.labels import ClassTable
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.data.files import stored_sizes
from toolkit.preflight.findings import Report
from toolkit.preflight.model.geometry_trace import GeometryTrace, Size, blank_sample, trace_geometry, trace_images
from toolkit.preflight.model.meta_pass import PartNames
from toolkit.preflight.model.sizes import ModelSizes, dense_field
from toolkit.samples import Sample

LOOKED_AT = 24
"""Images of the first batches whose way through the transforms is tried."""
_USUAL: Size = (480, 640)
"""Size of a picture when there are none to ask."""


def meta_model(config: Config, table: ClassTable | None) -> VisionModel | None:
    """The model without weights or memory. Without classes only backbone and neck are built, and nothing is returned.

    Raises PartsError for parts that do not fit, ConfigError for arguments they refuse.
    """
    with torch.device("meta"):
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


def model_sizes(model: VisionModel, size: Size) -> ModelSizes:
    """What a model on the meta device says of image sizes. size: that most of them have."""
    strides = (*model.backbone.spec.strides, *model.spec.strides)
    dense = isinstance(model.head, DenseHead)
    field = dense_field(model, size) if dense else None
    return ModelSizes(model.spec.sizes, max(strides), model.illegal_sizes == "pad", dense, field)


def first_traces(
    report: Report,
    config: Config,
    dataset: Dataset,
    transforms: Sequence[Transform],
    like: Sample,
    batch_size: int,
    groups: np.ndarray | None = None,
) -> list[list[GeometryTrace]]:
    """The ways of the first batches' images through the transforms; then those of the smallest and largest images.

    A transform that cannot take one of them is noted as an error.
    """
    sizes = stored_sizes(dataset) or {like.position: like.original_size}
    count = max(1, LOOKED_AT // batch_size)
    order = StepBatches(len(dataset), min(batch_size, LOOKED_AT), config.seed, 0, count, groups=groups)
    batches = [
        report.attempt("transforms", trace_images, dataset, transforms, config.seed, keys, sizes, like)
        for keys in order
    ]
    found = [batch for batch in batches if batch]
    if not found and all(batch is not None for batch in batches):  # none of those was looked at
        keys = [(0, position) for position in list(sizes)[:LOOKED_AT]]
        rest = report.attempt("transforms", trace_images, dataset, transforms, config.seed, keys, sizes, like)
        found = [rest] if rest else []
    extremes = {pick(sizes, key=lambda p: (sizes[p][side], p)) for pick in (min, max) for side in (0, 1)}
    for position in sorted(extremes):
        sample = blank_sample(dataset, position, sizes[position], like)
        way = report.attempt("transforms", trace_geometry, sample, transforms, sample_seed(config.seed, 0, position))
        if way is not None and len(set(sizes.values())) > 1:
            found.append([way[0]])
    return found


def usual_size(transforms: Sequence[Transform], channels: int) -> Size:
    """What the transforms make of an ordinary picture, for a config whose data cannot be read."""
    height, width = _USUAL
    sample = Sample(np.zeros((height, width, channels), np.uint8), "", 0, _USUAL, np.zeros(_USUAL, np.uint8))
    try:
        return trace_geometry(sample, transforms, 0)[0].after
    except UserError:
        return _USUAL

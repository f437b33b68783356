"""The effective receptive fields of a config's model, with the theoretical square of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from toolkit.analysis.anatomy import Anatomy, LayerRow
from toolkit.analysis.effective_field import EffectiveField, Outputs, effective_fields
from toolkit.config.build import build_model
from toolkit.config.restore import initialise
from toolkit.config.sections import Config
from toolkit.heads.image import ImageHead
from toolkit.heads.image_values import ImageValuesHead
from toolkit.heads.pixel import PixelHead
from toolkit.heads.pixel_values import PixelValuesHead
from toolkit.models.vision_model import VisionModel
from toolkit.report.anatomy_page import ShownField
from toolkit.report.field_picture import Theory

_PATIENCE = 40_000_000_000
"""MACs that are spent on forward passes: lighter nets are averaged over more inputs."""
_FEWEST, _MOST = 2, 16
_HEAVY = 300_000_000
"""MACs above which a page shows no effective field unless it is asked for."""


def shown_fields(config: Config, anatomy: Anatomy, weights: str | Path | None = None) -> list[ShownField]:
    """The centre cell of what the model answers with: of a dense head's logits, of the map that an image's head pools,
    or of every map a detector reads.

    weights: a run folder or a file to fill the model from; without, `model.init_from`, else random numbers from the
    config's seed (nothing is downloaded). Raises CheckpointError when nothing in the file fits.
    """
    if weights is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, init_from=str(weights)))
    torch.manual_seed(config.seed)
    model = build_model(config, pretrained=False)
    taken = initialise(model, config)
    about = "random weights" if taken is None else f"{Path(config.model.init_from or '').name}: {taken.lines()[0]}"
    samples = min(_MOST, max(_FEWEST, _PATIENCE // max(anatomy.macs, 1)))
    found = effective_fields(
        model, outputs_of(model), model.in_channels, anatomy.input[1:], samples=samples, seed=config.seed
    )
    return [ShownField(field, theory_of(anatomy, field), about) for field in found]


def light_enough(anatomy: Anatomy) -> bool:
    """Whether the fields of a model take a second or two."""
    return anatomy.macs <= _HEAVY


def outputs_of(model: VisionModel) -> Outputs:
    """Normalised images -> the maps whose fields are worth a picture, by name."""

    def outputs(images: Tensor) -> dict[str, Tensor]:
        pyramid = model.backbone(images)
        pyramid = pyramid if model.neck is None else model.neck(pyramid)
        if isinstance(model.head, PixelHead | PixelValuesHead):
            return {"output": model.head(pyramid)}
        pairs = zip(pyramid.spec.strides, pyramid.maps, strict=True)
        maps = {_map_name(place, stride): found for place, (stride, found) in enumerate(pairs)}
        if isinstance(model.head, ImageHead | ImageValuesHead):
            return dict(list(maps.items())[-1:])
        return maps

    return outputs


def _map_name(position: int, stride: int) -> str:
    return f"map {position + 1}, stride {stride}"


def theory_of(anatomy: Anatomy, field: EffectiveField) -> Theory | None:
    """The pixels that could move the measured cell: from the layer that makes it."""
    row = _row_of(anatomy, field)
    if row is None or row.receptive_field is None or row.jump is None or row.centre is None:
        return None
    edges = []
    for axis in (0, 1):
        center = row.centre[axis] + field.cell[axis] * row.jump[axis] + 0.5
        half = row.receptive_field[axis] / 2
        edges.append((center - half, center + half))
    (top, bottom), (left, right) = edges
    return Theory(top, left, bottom, right)


def _row_of(anatomy: Anatomy, field: EffectiveField) -> LayerRow | None:
    rows = {row.name: row for row in anatomy.layers}
    if field.name == "output":
        heads = [row for row in anatomy.layers if row.part == "head" and row.runs and row.jump is not None]
        return heads[-1] if heads else None
    parts = [part for part in anatomy.parts if part.maps]
    for position, found in enumerate(parts[-1].maps if parts else ()):
        if _map_name(position, found.stride) == field.name:
            return rows.get(found.layer)
    return None

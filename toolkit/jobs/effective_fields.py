"""The effective receptive fields of a config's model, with the theoretical square of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from toolkit.analysis.anatomy import Anatomy
from toolkit.analysis.effective_field import EffectiveField, Outputs, effective_fields
from toolkit.analysis.fields import Field
from toolkit.analysis.spans import Span
from toolkit.analysis.trace import Trace
from toolkit.config.sections import Config
from toolkit.jobs.build import build_model
from toolkit.jobs.restore import initialise
from toolkit.labels import ClassTable, default_palette
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.vision_model import VisionModel
from toolkit.report.anatomy.field_picture import Theory
from toolkit.report.anatomy.page import ShownField

_PATIENCE = 40_000_000_000
"""MACs that are spent on forward passes: lighter nets are averaged over more inputs."""
_FEWEST, _MOST = 2, 16
_LIGHT, _FEW_LAYERS = 2_500_000_000, 150
"""MACs and layers up to which a page shows the effective field without being asked, from a few inputs."""
UNASKED = 4


def shown_fields(
    config: Config, anatomy: Anatomy, weights: str | Path | None = None, samples: int | None = None
) -> list[ShownField]:
    """The centre cell of what the model answers with: of a dense head's logits, of the map that an image's head pools,
    or of every map a detector reads.

    Raises CheckpointError when nothing in the file fits.

    Args:
        config: the config of the model.
        anatomy: what was measured of the model.
        weights: a run folder or a file to fill the model from; without, `model.init_from`, else random numbers from the
            config's seed (nothing is downloaded).
        samples: number of random inputs; None takes as many as are soon done, 2 to 16.
    """
    if weights is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, init_from=str(weights)))
    torch.manual_seed(config.seed)
    model = _built(config, anatomy)
    taken = initialise(model, config)
    about = "random weights" if taken is None else f"{Path(config.model.init_from or '').name}: {taken.lines()[0]}"
    samples = samples or min(_MOST, max(_FEWEST, _PATIENCE // max(anatomy.macs, 1)))
    found = effective_fields(
        model, outputs_of(model), model.in_channels, anatomy.input[1:], samples=samples, seed=config.seed
    )
    theories = _theories(config, anatomy, found)
    return [ShownField(field, theory, about) for field, theory in zip(found, theories, strict=True)]


def light_enough(config: Config, anatomy: Anatomy) -> bool:
    """Whether the fields of a model with random weights take a second or two."""
    small = anatomy.macs <= _LIGHT and len(anatomy.layers) <= _FEW_LAYERS
    return small and config.model.init_from is None


def outputs_of(model: VisionModel) -> Outputs:
    """Normalised images -> the maps whose fields are worth a picture, by name."""

    def outputs(images: Tensor) -> dict[str, Tensor]:
        pyramid = model.backbone(images)
        pyramid = pyramid if model.neck is None else model.neck(pyramid)
        return model.head.shown_maps(pyramid)

    return outputs


def _theories(config: Config, anatomy: Anatomy, fields: Sequence[EffectiveField]) -> list[Theory | None]:
    """The pixels that could move each measured cell, exactly: from a pass over shapes alone."""
    with shapes_only():
        model = _built(config, anatomy).eval()
        images = torch.zeros((1, *anatomy.input))
        trace = Trace(model)
        with trace.of(images):
            maps = outputs_of(model)(images)
    seen = {name: trace.field(found) for name, found in maps.items()}
    return [_square(seen.get(field.name), field.cell) for field in fields]


def _square(seen: Field | None, cell: tuple[int, int]) -> Theory | None:
    if seen is None:
        return None
    (top, bottom), (left, right) = (_interval(span, place) for span, place in zip((seen.y, seen.x), cell, strict=True))
    return Theory(top, left, bottom + 1, right + 1)


def _interval(span: Span, cell: int) -> tuple[int, int]:
    """First and last pixel, both included."""
    lo, hi = span.cells()
    place = cell if span.dim is not None else 0
    return int(lo[place]), int(hi[place])


def _built(config: Config, anatomy: Anatomy) -> VisionModel:
    table = ClassTable(anatomy.classes, default_palette(len(anatomy.classes)))
    return build_model(config, pretrained=False, classes=table)

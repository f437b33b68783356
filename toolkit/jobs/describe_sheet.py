"""What `describe` writes: the page of a model's anatomy, and the picture of its effective receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.analysis.anatomy import Anatomy
from toolkit.config.sections import Config
from toolkit.data.images.read import read_image
from toolkit.jobs.check_sheet import data_folders
from toolkit.jobs.effective_fields import UNASKED, light_enough, shown_fields
from toolkit.report.anatomy.field_picture import caption, refuse_kind, write_field_sheet
from toolkit.report.anatomy.page import ShownField, anatomy_page
from toolkit.report.page import refuse_place, write_page


def write_description(
    config: Config,
    anatomy: Anatomy,
    page: str | Path | None = None,
    erf: str | Path | None = None,
    image: str | Path | None = None,
    weights: str | Path | None = None,
) -> list[ShownField]:
    """Writes an HTML page and a picture, as asked; returns the fields that were measured.

    page: of the anatomy; it shows the effective fields when `erf`, `image` or `weights` asks for them, and of small
    models always. erf: a PNG or JPEG of the fields, drawn over `image` or a gray card. weights: a run folder or weights
    file; without, the fields are those of random weights, or of `model.init_from`.
    Raises UserError when a file cannot be written or read.
    """
    kept = data_folders(config, {})
    for path in (page, erf):
        if path is not None:
            refuse_place(path, kept)
    if erf is not None:
        refuse_kind(erf)
    below = None if image is None else read_image(image, 1 if anatomy.input[0] == 1 else 3)
    asked = erf is not None or image is not None or weights is not None
    fields: Sequence[ShownField] = ()
    if asked:
        fields = shown_fields(config, anatomy, weights)
    elif page is not None and light_enough(config, anatomy):
        fields = shown_fields(config, anatomy, samples=UNASKED)
    if erf is not None:
        write_field_sheet([shown.field for shown in fields], [shown.theory for shown in fields], erf, below)
    if page is not None:
        write_page(page, anatomy_page(anatomy, fields, below), kept)
    return list(fields)


def field_lines(fields: Sequence[ShownField]) -> list[str]:
    """The fields in words, a line each."""
    return [f"{shown.field.name}: {caption(shown.field, shown.theory)} ({shown.about})" for shown in fields]


def field_numbers(fields: Sequence[ShownField]) -> list[dict[str, object]]:
    """The fields as plain values: name, cell, side and radius of 95 % of the mass, side of the theory, samples."""
    return [
        {
            "name": shown.field.name,
            "cell": list(shown.field.cell),
            "side_95": round(shown.field.side(), 1),
            "radius_95": round(shown.field.radius(), 1),
            "radius_50": round(shown.field.radius(0.5), 1),
            "theory": None if shown.theory is None else _sides(shown.theory),
            "samples": shown.field.samples,
            "weights": shown.about,
        }
        for shown in fields
    ]


def _sides(theory: Sequence[float]) -> list[float]:
    top, left, bottom, right = theory
    return np.round([bottom - top, right - left], 2).tolist()

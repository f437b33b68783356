"""The anatomy of a config's model, built without numbers; its page, and the picture of its effective fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.anatomy import Anatomy, Pair
from toolkit.analysis.describe import describable_size, describe
from toolkit.config.sections import Config, PartSpec
from toolkit.data.images.read import image_size, read_image
from toolkit.drawing import as_rgb
from toolkit.engine.parameters import parameter_groups
from toolkit.errors import ConfigError, ImageSizeError, Problem, UserError
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import build_dataset, classes_of
from toolkit.jobs.data_folders import data_folders
from toolkit.jobs.effective_fields import UNASKED, light_enough, shown_fields
from toolkit.labels import ClassTable
from toolkit.layers.recomputed import recompute
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.vision_model import VisionModel
from toolkit.progress import waiting
from toolkit.report.anatomy.field_picture import caption, refuse_kind, write_field_sheet
from toolkit.report.anatomy.page import ShownField, anatomy_page
from toolkit.report.page import refuse_place, write_page

USUAL_SIZES: tuple[Pair, ...] = ((224, 224), (32, 32), (28, 28))
"""Tried in this order where nothing says a size: those of ImageNet's, CIFAR's and MNIST's classifiers."""
_LARGEST = 65_536


def describe_config(config: Config, size: Pair | None = None) -> Anatomy:
    """The anatomy of a config's model; no weights are made or fetched, and no image is decoded.

    size: (height, width); None takes what the training transforms make of an image where they say it, else the size of
    the first training image when the data is here, else the first of `USUAL_SIZES`, or the legal size next to it, that
    the model can take. Raises ConfigError for parts that do not fit, an illegal size, and classes that nobody names.
    """
    with waiting("describe: loading PyTorch's shape rules"):
        model = _built(config)
        if size is not None:
            return _at(config, model, size)
        known = size_after_transforms(config) or _first_image_size(config)
        if known is None:
            return _guessed(config, model)
        taken = describable_size(model, known)
        anatomy = _at(config, model, taken)
    if taken == known:
        return anatomy
    note = (
        f"training images are {known[0]}x{known[1]}, which the model does not take: described at the next size it does, "
        f"{taken[0]}x{taken[1]}"
    )
    return dataclasses.replace(anatomy, notes=(*anatomy.notes, note))


def _built(config: Config) -> VisionModel:
    """The model as its training has it: frozen where that does not learn, recomputed where that saves memory."""
    settings = config.train
    with shapes_only():
        model = build_model(config, pretrained=False, classes=_classes(config))
    parameter_groups(
        model, 1.0, backbone_lr_factor=settings.backbone_lr_factor, lr_factors=settings.lr_factors,
        frozen=settings.frozen,
    )  # fmt: skip
    recompute(model, settings.recompute)
    return model


def _at(config: Config, model: VisionModel, size: Pair) -> Anatomy:
    section = config.model
    kinds = [part.name if part is not None else "" for part in (section.backbone, section.neck, section.head)]
    batch_size = config.data.batch_size if isinstance(config.data.batch_size, int) else 1
    try:
        return describe(model, size, batch_size=batch_size, name=config.name or "", kinds=kinds)
    except ImageSizeError as error:
        message = error.problems[0].message
        advice = error.problems[0].suggestion.partition(", or set")[0].replace("crop or resize to", "try")
        raise ConfigError(Problem("--size", message, advice)) from None
    except UserError as error:
        raise ConfigError(problem.at(problem.where or "--size") for problem in error.problems) from None


def _guessed(config: Config, model: VisionModel) -> Anatomy:
    """At the first usual size that the model takes, with a note that it is a guess."""
    refused: ConfigError | None = None
    for usual in USUAL_SIZES:
        size = describable_size(model, usual)
        try:
            anatomy = _at(config, model, size)
        except ConfigError as error:
            refused = refused or error
            continue
        note = f"nothing here says how large images are: {size[0]}x{size[1]} is a guess, --size HxW says better"
        return dataclasses.replace(anatomy, notes=(*anatomy.notes, note))
    raise refused or ConfigError("no size")


def read_size(text: str) -> Pair:
    """(height, width) of "360x480", "360,480", "360×480" or "480" (a square). Raises ConfigError for anything else."""
    parts = text.lower().replace("×", "x").replace(",", "x").replace(" ", "").split("x")
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) != len(parts) or len(numbers) > 2 or not all(0 < number <= _LARGEST for number in numbers):
        message = f"wanted HEIGHTxWIDTH in pixels, 1 to {_LARGEST}, found '{text}'"
        raise ConfigError(Problem("--size", message, "360x480, or 480 for a square"))
    return numbers[0], numbers[-1]


def size_after_transforms(config: Config) -> Pair | None:
    """What the training transforms make of an image, as far as their arguments say it; None where they do not."""
    size: Pair | None = None
    for part in config.data.train.transforms:
        size = _size_after(part, size)
    return size


def _first_image_size(config: Config) -> Pair | None:
    """(height, width) of the first training image from its header, where the data is here."""
    try:
        files = build_dataset(config, "train").files(0)
        return image_size(files[0]) if files else None
    except (UserError, IndexError):
        return None


def _size_after(part: PartSpec, before: Pair | None) -> Pair | None:
    given: dict[str, Any] = part.arguments
    pair = given.get("height"), given.get("width")
    if isinstance(given.get("size"), (list, tuple)) and len(given["size"]) == 2:
        pair = tuple(given["size"])
    if isinstance(given.get("shorter"), int):  # of a landscape picture, the commoner kind
        shorter, longer = given["shorter"], given.get("longer") or given["shorter"] * 4 // 3
        pair = shorter, min(longer, shorter * 4 // 3)
    if all(isinstance(number, int) and number > 0 for number in pair):
        return int(pair[0]), int(pair[1])  # type: ignore[arg-type]
    return before


def _classes(config: Config) -> ClassTable:
    try:
        return classes_of(config)
    except UserError as error:
        advice = "the last layer's width is the number of classes: name them, 'data.classes=[road, sky]'"
        raise ConfigError([Problem("data.classes", "stand neither in the config nor in data that is here", advice),
                           *error.problems]) from None  # fmt: skip


def write_description(
    config: Config,
    anatomy: Anatomy,
    page: str | Path | None = None,
    erf: str | Path | None = None,
    image: str | Path | None = None,
    weights: str | Path | None = None,
) -> list[ShownField]:
    """Writes an HTML page and a picture, as asked; returns the fields that were measured.

    Raises UserError when a file cannot be written or read.

    Args:
        config: the config of the model.
        anatomy: what was measured of the model.
        page: HTML file of the anatomy, or None; it shows the effective fields when `erf`, `image` or `weights` asks for
            them, and of small models always.
        erf: PNG or JPEG file of the fields, or None, drawn over `image` or a gray card.
        image: picture file that the fields are drawn over, or None.
        weights: run folder or weights file; without one, the fields are those of random weights, or of
            `model.init_from`.
    """
    kept = data_folders(config, {})
    for path in (page, erf):
        if path is not None:
            refuse_place(path, kept)
    if erf is not None:
        refuse_kind(erf)
    below = None if image is None else read_image(image, anatomy.input[0], config.data.value_range)
    below = as_rgb(below) if below is not None and below.shape[2] not in (1, 3) else below
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

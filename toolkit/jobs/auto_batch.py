"""`data.batch_size: auto` becomes a number, once, before anything depends on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import SeededDataset
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.engine.batch_size import largest_batch
from toolkit.errors import UserError
from toolkit.jobs.assemble import Start
from toolkit.jobs.build import build_optimizer_rule, build_transforms
from toolkit.samples import Sample

LOOKED_AT = 32
"""Training samples whose sizes, after the transforms, stand for all."""


def with_batch_size(fabric: Any, built: Start, saved: Config | None = None) -> tuple[Start, list[str]]:
    """The same with a number for "auto", and lines that say how it came about.

    saved: the config of the run that is continued: its number stays. Raises UserError when not even one image fits.
    """
    config = built.config
    if config.data.batch_size != "auto":
        return built, []
    if saved is not None:
        return built._replace(config=_with(config, saved.data.batch_images)), []
    dataset = built.datasets["train"]
    rule = build_optimizer_rule(config)
    samples = largest_samples(config, dataset)
    fit = largest_batch(fabric, built.model, rule, config.train, samples, len(dataset))
    note = f"the learning rate stays {rule.lr:g} whatever the batch; --find-lr tries others"
    return built._replace(config=_with(config, fit.images)), [f"batch      {fit.describe()}", f"note       {note}"]


def largest_samples(config: Config, dataset: Dataset) -> list[Sample]:
    """The largest of some training samples spread over the data set, as the transforms leave them: by area, height, width."""
    seeded = SeededDataset(dataset, Pipeline(build_transforms(config, "train")), config.seed)
    samples = []
    for index in np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset))).round().astype(int).tolist():
        item = seeded[(0, index)]
        if isinstance(item, UserError):
            raise item
        samples.append(item[0])
    shapes = [sample.image.shape for sample in samples]
    keys = (lambda n: shapes[n][0] * shapes[n][1], lambda n: shapes[n][0], lambda n: shapes[n][1])
    return [samples[number] for number in dict.fromkeys(max(range(len(samples)), key=key) for key in keys)]


def _with(config: Config, number: int) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=number))

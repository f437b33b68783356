"""`train.epochs` as steps: everything inside counts in optimizer steps."""

from __future__ import annotations

import dataclasses
import math

from toolkit.config.sections import Config


def with_steps(config: Config, images: int) -> Config:
    """The config with the steps that its epochs mean; one without `train.epochs` as it is.

    The epochs stay while the size of a batch is still to be found, and with them the question.

    Args:
        config: the whole config, checked but not built.
        images: training images, of which a step takes data.batch_size times train.accumulate.
    """
    train, batch = config.train, config.data.batch_size
    if train.epochs is None:
        return config
    steps = max(1, math.ceil(train.epochs * images / (config.data.batch_images * train.accumulate) - 1e-9))
    known = None if isinstance(batch, int) else train.epochs
    return dataclasses.replace(config, train=dataclasses.replace(train, steps=steps, epochs=known))


def epochs_said(asked: Config, config: Config) -> list[str]:
    """What is said of epochs: the steps they are. asked: the config as it was given; config: with its steps."""
    if asked.train.epochs is None:
        return []
    return [f"epochs     {asked.train.epochs:g} are {config.train.steps} steps (train.steps in the run's config)"]

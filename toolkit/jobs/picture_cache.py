"""The cache of decoded pictures that a config asks for: how large it will be, where it lies, what of it fits."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from toolkit.analysis.device_memory import device_memory, host_memory
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loading.device_set import DeviceSet, device_bytes, warp_alone
from toolkit.data.loading.picture_reader import Shelf
from toolkit.data.loading.pixel_cache import PixelCache, Place, cache_name, places_for
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import ConfigError, Problem
from toolkit.files import cache_folder
from toolkit.jobs.build_data import build_transforms
from toolkit.report.quantities import bytes_of

SHARE_OF_MEMORY = 0.7
"""Of the memory that is free before a training, which needs some itself."""

SPARED = 1 << 30
"""Bytes of a disk that a cache leaves free."""


def places_of(config: Config, datasets: Mapping[str, Dataset]) -> list[Place]:
    """What the cache of a training sets aside, train before val. Raises ConfigError for what cannot be kept.

    config: says the transforms. datasets: by the name of their split.
    """
    if config.data.cache == "memory" and config.data.workers and multiprocessing.get_start_method() != "fork":
        message = "loader workers of this system do not share the memory of the training process"
        raise ConfigError(Problem("data.cache", message, "set data.cache: disk, or data.workers: 0"))
    halved = [Pipeline(build_transforms(config, split)).asks_for_halvings for split in datasets]
    places = places_for(list(datasets.values()), halved)
    if not places:
        message = (
            "the data set reads its pictures in a way of its own (pages of a stack, say), of which nothing can be kept"
        )
        raise ConfigError(Problem("data.cache", message, "set data.cache: none"))
    return places


class Kept(NamedTuple):
    """Where the pictures of a training are kept, if anywhere.

    Args:
        shelf: of decoded files, for the loaders; None keeps none.
        on_device: the training set on the device, in the place of a loader; None leaves it to the loader.
        lines: what is said of it before the training.
    """

    shelf: Shelf | None = None
    on_device: DeviceSet | None = None
    lines: tuple[str, ...] = ()


NOTHING_KEPT = Kept()


def open_cache(config: Config, datasets: Mapping[str, Dataset], device: torch.device, processes: int = 1) -> Kept:
    """What the config asks for: still empty, as a former training left it, or (on a device) filled.

    Args:
        config: the whole config, checked but not built.
        datasets: data sets by the name of their split.
        device: where the model is trained.
        processes: number of training processes on this machine, each of which keeps in memory what it reads itself.
    """
    kind = config.data.cache
    if kind == "none":
        return NOTHING_KEPT
    if kind == "device":
        return _on_device(config, datasets["train"], device)
    places = places_of(config, datasets)
    if kind == "memory":
        memory = host_memory()
        wanted = sum(place.room for place in places)
        limit = int(SHARE_OF_MEMORY * memory.free / processes) if memory is not None else wanted
        return _opened(places, limit, None)
    folder = cache_folder()
    if folder is None:
        raise ConfigError(Problem("data.cache", "the system names no cache folder", "set XDG_CACHE_HOME"))
    return _opened(places, 0, folder / "pixels" / cache_name(places))


def _on_device(config: Config, dataset: Dataset, device: torch.device) -> Kept:
    warp = warp_alone(build_transforms(config, "train"))
    wanted, memory = device_bytes(dataset, warp), device_memory(device)
    if memory is not None and wanted > SHARE_OF_MEMORY * memory.free:
        message = (
            f"the training set takes about {bytes_of(wanted)} on {device}, of which {bytes_of(memory.free)} are free"
        )
        raise ConfigError(Problem("data.cache", message, "set data.cache: memory"))
    told = f"cache      about {bytes_of(wanted)} for {len(dataset)} samples, on {device}, where they are augmented too"
    return Kept(on_device=DeviceSet(dataset, warp, device, config.seed), lines=(told,))


def cache_size(config: Config, datasets: Mapping[str, Dataset]) -> str:
    """What a training would set aside, in words. Raises ConfigError for what cannot be kept.

    config: says the transforms. datasets: by the name of their split.
    """
    if config.data.cache == "device":
        wanted = device_bytes(datasets["train"], warp_alone(build_transforms(config, "train")))
        return f"about {bytes_of(wanted)} for {len(datasets['train'])} samples, on the device"
    places = places_of(config, {split: dataset for split, dataset in datasets.items() if split != "test"})
    return f"{bytes_of(sum(place.room for place in places))} for {len(places)} decoded files, in {config.data.cache}"


def _opened(places: list[Place], limit: int, file: Path | None) -> Kept:
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            there = file.stat().st_blocks * 512 if file.exists() else 0
            limit = max(0, shutil.disk_usage(file.parent).free + there - SPARED)
        cache = PixelCache(places, limit, file)
    except OSError as error:
        return Kept(lines=(f"cache      none: {error.strerror or error}; pictures are decoded each time",))
    return Kept(cache, lines=(f"cache      {said(cache, 'memory' if file is None else str(file))}",))


def said(cache: PixelCache, where: str) -> str:
    """Its size, how much of it is filled, and what does not fit."""
    text = f"{bytes_of(cache.bytes)} for {len(cache.places)} decoded files, in {where}"
    text += f"; {cache.filled} are there" if cache.filled else ", filled as they are first read"
    if cache.kept < len(cache.places):
        text += f"; {cache.kept} of them fit, the others are decoded each time"
    return text

"""The configs that are shipped, and what describing them gives, once a process however many tests ask."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from toolkit.analysis.anatomy import Anatomy
from toolkit.config.load import load_config
from toolkit.config.sections import Config
from toolkit.jobs.describe import describe_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = [path.relative_to(CONFIGS).with_suffix("").as_posix() for path in sorted(CONFIGS.rglob("*.yaml"))]


@cache
def shipped(name: str, size: tuple[int, int] | None = None) -> tuple[Config, Anatomy]:
    """A config and its anatomy at (height, width), None for the size its images have."""
    config = load_config(CONFIGS / f"{name}.yaml")
    return config, describe_config(config, size)

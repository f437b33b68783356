"""The configs that are shipped, and what describing them gives, once a process however many tests ask."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import yaml

from toolkit.analysis.anatomy import Anatomy
from toolkit.config.load import load_config
from toolkit.config.sections import Config
from toolkit.jobs.describe import describe_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = [path.relative_to(CONFIGS).with_suffix("").as_posix() for path in sorted(CONFIGS.rglob("*.yaml"))]

ALIKE = frozenset(
    name
    for name in NAMES
    if name.startswith(("classify/", "dilated_")) and name.endswith(("_bccd", "_cityscapes", "_kitti"))
)
"""Those that differ from another one in data and recipe, and in the number of classes."""

_DATA = tempfile.TemporaryDirectory(prefix="shapes-")
"""Where configs draw their data that make it themselves, until this process ends."""


@cache
def shipped(name: str, size: tuple[int, int] | None = None) -> tuple[Config, Anatomy]:
    """A config and its anatomy at (height, width), None for the size its images have."""
    config = load_config(CONFIGS / f"{name}.yaml", few_shapes(name))
    return config, describe_config(config, size)


def few_shapes(name: str) -> list[str]:
    """Overrides under which a config that makes its data draws two images a split, in a folder of its own."""
    data = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))["data"]
    splits = [
        split
        for split in ("train", "val", "test")
        if (data.get(split) or {}).get("dataset", {}).get("name") == "shapes"
    ]
    counts = [f"data.{split}.dataset.{key}=2" for split in splits for key in ("count_train", "count_val")]
    return [*counts, f"data.root={_DATA.name}/{name}"] if splits else []

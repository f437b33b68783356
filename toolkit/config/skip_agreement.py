"""Every process of a training leaves out the same samples, and a resumed run those of its beginning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.config.build import build_dataset
from toolkit.config.sections import Config
from toolkit.config.usable_samples import SkipTable, read_skip_table, skip_table


def agreed_table(
    fabric: Any, config: Config, path: Path | None, splits: Sequence[str] = ("train", "val")
) -> SkipTable | None:
    """What all processes leave out: found, or read from `path`, by the first and told to the others.

    path: `skipped.json` of a run that is continued. None, when nothing may be left out (`data.on_bad: stop`), and when
    a single process begins: it finds out while it makes its data sets.
    """
    if config.data.on_bad == "stop" or (path is None and fabric.world_size == 1):
        return None
    table = None
    if fabric.is_global_zero:
        table = read_skip_table(path) if path is not None else None
        if table is None:
            table = skip_table({split: build_dataset(config, split) for split in splits if getattr(config.data, split)})
    return dict(fabric.broadcast(table))

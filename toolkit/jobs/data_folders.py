"""The folders of the user's data, in which nothing is ever written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.errors import ConfigError, Problem

_SPLITS = ("train", "val", "test")


def data_folders(config: Config, datasets: Mapping[str, Dataset]) -> list[Path]:
    """Every folder that the data sets of a config read, whether or not they could be built."""
    found = {str(dataset.root) for dataset in datasets.values()} | {config.data.root or ""}
    for split in _SPLITS:
        section = getattr(config.data, split)
        arguments = section.dataset.arguments.values() if section is not None else ()
        found |= {value for value in arguments if isinstance(value, str) and Path(value).is_dir()}
    return [Path(folder) for folder in sorted(found - {"", "."})]


def refuse_run_in_data(path: Path, config: Config, datasets: Mapping[str, Dataset]) -> None:
    """Raises ConfigError for a run folder that is, or would lie in, a folder that the data sets of a config read.

    Args:
        path: the run folder, existing or not.
        config: the config, for the folders it names.
        datasets: data sets by split, for the folders they read.
    """
    for folder in data_folders(config, datasets):
        if path.resolve().is_relative_to(folder.resolve()):
            message = f"{path.absolute()} lies in the data folder {folder.absolute()}, where nothing is written"
            raise ConfigError(Problem("--run", message, "name a folder elsewhere"))

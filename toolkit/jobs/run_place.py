"""Where a new run may lie: anywhere but in the user's data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.errors import ConfigError, Problem
from toolkit.jobs.check_sheet import data_folders


def refuse_run_in_data(path: Path, config: Config, datasets: Mapping[str, Dataset]) -> None:
    """Raises ConfigError for a run folder that is, or would lie in, a folder that the data sets of a config read."""
    for folder in data_folders(config, datasets):
        if path.resolve().is_relative_to(folder.resolve()):
            message = f"{path.absolute()} lies in the data folder {folder.absolute()}, where nothing is written"
            raise ConfigError(Problem("--run", message, "name a folder elsewhere"))

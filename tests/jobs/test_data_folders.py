"""No run is written into the user's data."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import tiny_config

from toolkit.errors import ConfigError
from toolkit.jobs.diagnostics import find_lr
from toolkit.jobs.train import run_training


@pytest.mark.parametrize("work", [run_training, find_lr])
def test_a_run_folder_in_the_data_is_refused(work: object, tmp_path: Path) -> None:
    data = tmp_path / "d"
    for place in (data, data / "runs" / "first", tmp_path / "other" / ".." / "d" / "run"):
        with pytest.raises(ConfigError, match=r"--run: .* lies in the data folder .*/d, where nothing is written"):
            work(tiny_config(data), place, quiet=True)  # type: ignore[operator]
    assert not (data / "runs").exists()
    assert not (data / "run").exists()


def test_beside_the_data_is_well(tmp_path: Path) -> None:
    assert run_training(tiny_config(tmp_path / "d", "train.steps=1"), tmp_path / "d2", quiet=True)["step"] == 1

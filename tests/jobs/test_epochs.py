"""`train.epochs`: taken, told in steps, written down as steps, and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mistake_data import masks, masks_config

from toolkit.config.load import load_config, parse_config
from toolkit.config.plain import to_plain, to_yaml
from toolkit.errors import ConfigError
from toolkit.jobs.epochs import with_steps


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("epochs")
    path = masks_config(folder / "tiny.yaml", masks(folder / "d"))
    path.write_text(path.read_text().replace("  steps: 6", "  epochs: 2"))
    return path


def asked(config: Path, *overrides: str) -> Any:
    return load_config(config, overrides)


@pytest.mark.parametrize(
    ("overrides", "images", "steps"),
    [
        ((), 8, 8),  # batches of 2
        ((), 7, 7),
        (("train.epochs=0.5",), 8, 2),
        (("train.epochs=1", "data.batch_size=3"), 8, 3),  # the last batch ends in the next epoch
        (("train.epochs=3", "train.accumulate=4"), 8, 3),
        (("train.epochs=0.001",), 8, 1),
    ],
)
def test_the_steps_that_epochs_are(config: Path, overrides: tuple[str, ...], images: int, steps: int) -> None:
    resolved = with_steps(asked(config, *overrides), images)
    assert (resolved.train.steps, resolved.train.epochs) == (steps, None)
    assert parse_config(to_yaml(resolved), "c.yaml").train.steps == steps


def test_while_the_batch_is_unknown_the_epochs_stay(config: Path) -> None:
    again = with_steps(asked(config, "data.batch_size=auto"), 8)
    assert again.train.epochs == 2


def test_a_config_in_epochs_is_written_as_it_was_given(config: Path) -> None:
    loaded = asked(config)
    assert "steps" not in to_plain(loaded)["train"]
    assert to_plain(parse_config(to_yaml(loaded), "tiny.yaml")) == to_plain(loaded)


def test_the_command_line_says_how_long(config: Path) -> None:
    assert asked(config, "train.steps=5").train.steps == 5
    assert asked(config, "train.steps=5").train.epochs is None
    with pytest.raises(ConfigError, match="both say how long"):
        asked(config, "train.steps=5", "train.epochs=3")
    text = config.read_text()
    with pytest.raises(ConfigError, match="both say how long"):
        parse_config(text.replace("  epochs: 2", "  epochs: 2\n  steps: 5"), "c.yaml")
    with pytest.raises(ConfigError, match="needs 'steps' or 'epochs'"):
        parse_config(text.replace("  epochs: 2\n", ""), "c.yaml")
    with pytest.raises(ConfigError, match="wanted a number greater than 0"):
        asked(config, "train.epochs=0")


def test_a_training_in_epochs(config: Path, tmp_path: Path, toolkit: Any) -> None:
    images = 6  # in batches of 2
    checked = toolkit("check", config)
    assert f"2 are {images} steps" in checked.out
    run = tmp_path / "run"
    first = toolkit("train", config, "train.epochs=1", "--run", run, "--json")
    assert first.code == 0, first.err
    assert first.json["step"] == images // 2
    assert "1 are 3 steps" in first.err
    written = yaml.safe_load((run / "config.yaml").read_text())["train"]
    assert (written["steps"], written["epochs"]) == (images // 2, None)
    more = toolkit("train", config, "--run", run, "--resume", "--json")  # longer, by the file's two epochs
    assert more.code == 0, more.err
    assert more.json["step"] == images

"""Code that a checkpoint names is not imported unless somebody says so; that of one's own config always is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mistake_data import masks, masks_config

from toolkit.config.load import parse_config
from toolkit.errors import ConfigError
from toolkit.jobs.restore import load_model

MODULE = """
from pathlib import Path
from toolkit.losses.overlap import Dice

with (Path(__file__).parent / "imported").open("a") as file:
    file.write("x")


class Mine(Dice):
    pass
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module, a config that names it, a picture, and a run that was trained with it."""
    folder = tmp_path_factory.mktemp("trust")
    (folder / "trusted_or_not.py").write_text(MODULE)
    config = masks_config(folder / "c.yaml", masks(folder / "d"))
    config.write_text(
        config.read_text().replace("head: {name: pixel}", "head: {name: pixel, loss: 'trusted_or_not:Mine'}")
    )
    return folder


@pytest.fixture
def run(place: Path, toolkit: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run, with the module importable but not imported."""
    monkeypatch.syspath_prepend(place)
    run = place / "run"
    if not run.exists():
        done = toolkit("train", place / "c.yaml", "train.steps=2", "--run", run)
        assert done.code == 0, done.err
    forget(place)
    return run


def forget(place: Path) -> None:
    sys.modules.pop("trusted_or_not", None)
    (place / "imported").unlink(missing_ok=True)


def test_a_checkpoint_s_code_is_not_imported(run: Path, place: Path, toolkit: Any) -> None:
    picture = next((place / "d/images/val").iterdir())
    for line in (
        ("evaluate", run),
        ("evaluate", run, "data.workers=0"),
        ("predict", run, picture, "--out", place / "o"),
    ):
        found = toolkit(*line)
        assert found.code == 2
        assert "model.head.loss: loss 'trusted_or_not:Mine' is code of somebody's own" in found.err
        assert "--trust-code" in found.err
    with pytest.raises(ConfigError, match="trust_code=True"):
        load_model(run)
    assert not (place / "imported").exists()


def test_it_is_with_the_flag(run: Path, place: Path, toolkit: Any) -> None:
    picture = next((place / "d/images/val").iterdir())
    assert toolkit("evaluate", run, "--trust-code").code == 0
    assert toolkit("predict", run, picture, "--out", place / "out", "--trust-code").code == 0
    assert load_model(run, trust_code=True).classes
    assert (place / "imported").exists()


def test_one_s_own_config_continues(run: Path, place: Path, toolkit: Any) -> None:
    more = toolkit("train", place / "c.yaml", "train.steps=3", "--run", run, "--resume", "--json")
    assert more.code == 0, more.err
    assert more.json["step"] == 3


def test_a_stranger_s_state_does_not(run: Path, place: Path, toolkit: Any) -> None:
    other = place / "other.yaml"
    other.write_text((place / "c.yaml").read_text().replace("'trusted_or_not:Mine'", "dice"))
    found = toolkit("train", other, "train.steps=9", "--run", run, "--resume")
    assert found.code == 2
    assert "trusted_or_not:Mine" in found.err
    assert "--trust-code" in found.err
    assert not (place / "imported").exists()


def test_a_name_on_the_command_line_is_the_user_s(run: Path, place: Path) -> None:
    text = (place / "c.yaml").read_text().replace("'trusted_or_not:Mine'", "{name: 'trusted_or_not:Mine'}")
    with pytest.raises(ConfigError):  # an argument is set, the name stays the file's
        parse_config(text, "c.yaml", ["model.head.loss.smooth=1.0"])
    with pytest.raises(ConfigError):
        parse_config(
            text.replace("{name: 'trusted_or_not:Mine'}", "'trusted_or_not:Mine'"),
            "c.yaml",
            ["model.head.loss.smooth=1.0"],
        )
    assert not (place / "imported").exists()
    for override in ("model.head.loss=trusted_or_not:Mine", "model.head={name: pixel, loss: 'trusted_or_not:Mine'}"):
        config = parse_config(text.replace("trusted_or_not:Mine", "dice"), "c.yaml", [override])
        assert config.model.head.arguments["loss"].name == "trusted_or_not:Mine"

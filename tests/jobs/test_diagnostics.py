"""Dry run, one batch overfitted, learning-rate finder: they say what they found and keep nothing they should not."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from run_laws import assert_same_tensors
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config, write_tiny

from toolkit.cli.main import run as command_line
from toolkit.config.plain import to_yaml
from toolkit.engine.log import RunLog
from toolkit.engine.lr_finder import find_learning_rate, geometric, is_broken, smooth, suggest
from toolkit.engine.process import make_fabric
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import UserError
from toolkit.jobs.assemble import assemble, build_job
from toolkit.jobs.diagnostics import dry_run, find_lr, overfit_batch
from toolkit.report.charts import rate_lines


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an empty place for temporary files."""
    (tmp_path / "work").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def is_empty(place: Path) -> bool:
    temporary = [path for path in (place / "temporary").iterdir() if not path.name.startswith("torchinductor")]
    return not temporary and not list((place / "work").iterdir())


def test_a_dry_run_does_one_of_everything_and_leaves_nothing(data: Path, elsewhere: Path) -> None:
    options = ("train.ema_decay=0.9", "train.recompute_bn=2", "train.accumulate=2", "train.patience=3")
    result = dry_run(tiny_config(data, *options), quiet=True)
    assert result["ok"]
    assert result["predicted"] == "images/val/0000.jpg"
    assert 0 < result["loss"] < 10
    assert "mIoU" in result["metrics"]
    assert is_empty(elsewhere)


def test_a_dry_run_of_a_detector(elsewhere: Path) -> None:
    assert "AP" in dry_run(tiny_detection_config(elsewhere / "boxes"), quiet=True)["metrics"]
    assert is_empty(elsewhere)


def test_a_dry_run_that_fails_leaves_nothing_and_names_no_file_that_is_gone(data: Path, elsewhere: Path) -> None:
    broken = ("train.optimizer={name: sgd, lr: 1e38}", "model.backbone.norm=none", "model.neck.norm=none")
    with pytest.raises(UserError, match=r"not finite at step \d+") as caught:
        overfit_batch(tiny_config(data, *broken), quiet=True)
    assert "saved as" not in str(caught.value)
    assert is_empty(elsewhere)


def test_overfitting_a_batch_falls_and_is_the_same_batch(data: Path, elsewhere: Path) -> None:
    result = overfit_batch(tiny_config(data), quiet=True, steps=80)
    assert result["ok"]
    assert len(result["losses"]) == 80
    assert result["last"] < 0.5 * result["first"]  # it is a sixth
    again = overfit_batch(tiny_config(data), quiet=True, steps=10)
    assert again["losses"] == result["losses"][:10]
    assert is_empty(elsewhere)


def test_a_loss_that_does_not_fall_is_said_with_exit_code_1(
    data: Path, elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = write_tiny(elsewhere, data)
    command = ["train", str(config), "--overfit-batch", "train.optimizer.lr=1e-9", "--json"]
    assert command_line(command) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["ok"] is False
    assert "it does not fall: look at the labels" in err
    assert is_empty(elsewhere)


def test_the_finder_writes_curve_and_picture_into_a_fresh_folder(
    data: Path, elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = find_lr(tiny_config(data))
    run = elsewhere / "work" / "runs" / "tiny-find-lr"
    assert Path(result["run"]).absolute() == run
    assert {path.name for path in run.iterdir()} == {"learning_rates.json", "learning_rates.svg"}
    written = json.loads((run / "learning_rates.json").read_text())
    assert [point["lr"] for point in written["curve"]] == result["rates"]
    assert written["suggestion"] == result["suggestion"]
    assert 1e-3 < result["suggestion"] < 1  # AdamW on a net of 7,000 parameters
    drawn = ElementTree.parse(run / "learning_rates.svg").getroot()
    curves = [found.get("points") for found in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points.split()) for points in curves] == [len(written["curve"])] * 2
    err = capfd.readouterr().err
    assert "<- suggestion" in err
    assert "train.optimizer.lr=" in err
    assert find_lr(tiny_config(data), quiet=True, steps=20)["run"] == str(Path("runs") / "tiny-find-lr-2")


def test_the_finder_leaves_the_weights_alone(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data, "train.steps=20")
    fabric, built = make_fabric(config.train), assemble(config)
    before = copy.deepcopy(built.model.state_dict())
    log = RunLog(None, None)
    job = build_job(config, fabric, built.model, built.datasets, RunFolder(tmp_path), log, to_yaml(config))
    find_learning_rate(fabric, job, config.train, steps=20)
    assert_same_tensors(dict(built.model.state_dict()), dict(before), "weights")


def test_rates_are_geometric_and_smoothing_keeps_what_is_straight() -> None:
    rates = geometric(1e-4, 1.0, 5)
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert smooth([2.5] * 20) == pytest.approx([2.5] * 20)
    line = [0.1 * place for place in range(40)]
    assert smooth(line)[10:30] == pytest.approx(line[10:30])  # no lag: a mean of both sides


def test_the_suggestion_is_where_it_falls_fastest_and_well_below_the_minimum() -> None:
    rates = geometric(1e-6, 1.0, 61)  # ten a decade
    torch.manual_seed(0)
    losses = [2.0 - 1.5 / (1 + 10.0 ** (2 * (35 - place) / 10)) + 1e-3 * float(torch.randn(())) for place in range(61)]
    losses = losses[:50] + [loss + 0.3 * place for place, loss in enumerate(losses[50:])]
    assert suggest(rates, smooth(losses)) == pytest.approx(rates[35], rel=0.7)  # the steepest place of that curve
    assert suggest(rates, [2.0] * 61) is None
    assert suggest(rates, [2.0 + 0.1 * place for place in range(61)]) is None


def test_the_test_ends_where_the_loss_breaks() -> None:
    assert is_broken([1.0, float("nan")])
    assert is_broken([1.0, 1.0, 1.0, 1.0, 20.0])
    assert not is_broken([1.0, 1.2, 0.9, 1.5, 2.0])


def test_the_curve_as_text() -> None:
    lines = rate_lines(geometric(1e-6, 1.0, 61), [2.0] * 30 + [1.0] * 31, 1e-2)
    assert [line for line in lines if "suggestion" in line] == [lines[1 + 40 // 3]]
    lengths = [line.count("#") for line in lines[1:]]
    assert abs(2 * lengths[-1] - lengths[0]) <= 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dry-run", "--find-lr"], "--dry-run and --find-lr do not go together"),
        (["--overfit-batch", "--resume"], "--overfit-batch and --resume do not go together"),
        (["--dry-run", "--run", "x"], "--run does not go with --dry-run"),
    ],
)
def test_flags_that_contradict_one_another(
    data: Path, elsewhere: Path, flags: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["train", str(write_tiny(elsewhere, data)), *flags]) == 2
    assert message in capfd.readouterr().err


def test_replay_on_the_command_line(data: Path, elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config: Any = str(write_tiny(elsewhere, data))
    broken = ["train.optimizer={name: sgd, lr: 1e38}", "model.backbone.norm=none", "model.neck.norm=none"]
    assert command_line(["train", config, *broken, "--run", "bad"]) == 1
    assert command_line(["train", config, "--replay", "bad/nonfinite_batch.state", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["terms"] == {"cross_entropy": "nan"}
    assert "first      output that is not finite: backbone.levels.0.0.conv (Conv2d)" in err

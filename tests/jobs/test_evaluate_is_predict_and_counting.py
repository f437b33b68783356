"""`evaluate` is `predict` and counting: files that predict writes with some options have the numbers of evaluate with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tiny_detection import TINY_DETECTION, tiny_detection_config
from tiny_run import tiny_config, write_tiny

from toolkit.cli.evaluate import command
from toolkit.errors import ConfigError
from toolkit.jobs.evaluate import AnswerWishes, RecordWishes, run_evaluation
from toolkit.jobs.evaluate_files import evaluate_files
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.train import run_training
from toolkit.results.record import Record


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    run_training(tiny_config(folder / "data", "train.steps=8", "model.backbone.depth=2"), folder / "run", quiet=True)
    write_tiny(folder, folder / "data")
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    run_training(tiny_detection_config(folder / "data", "train.steps=30"), folder / "run", quiet=True)
    (folder / "tiny.yaml").write_text(TINY_DETECTION.replace("data:\n", f"data:\n  root: {folder / 'data'}\n", 1))
    return folder


def both(folder: Path, out: Path, formats: list[str], **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What evaluate says, and what it says of the files of predict."""
    run = folder / "run"
    asked = AnswerWishes(**{**options, "tile": options.get("tile")})
    model = run_evaluation(run, quiet=True, wishes=RecordWishes(out=out / "record"), answers=asked)
    pictures = next((folder / "data").rglob("val"))
    run_prediction(run, [pictures], out / "files", formats, thresholds=False, **options)
    answers = out / "files" if formats == ["mask"] else out / "files/detections.json"
    if formats == ["mask"]:
        (out / "files/classes.csv").rename(out / "classes.csv")
    return model, evaluate_files(answers, folder / "tiny.yaml", out=out / "counted")


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"tta": "flips"}, marks=pytest.mark.slow),
        {"tta": "flips+scales", "tile": 28},
        {"tile": "auto", "memory": 1000},
        {"samples": 3},
    ],
    ids=str,
)
def test_label_maps(options: dict[str, Any], dense: Path, tmp_path: Path) -> None:
    model, files = both(dense, tmp_path, ["mask"], **options)
    assert files["metrics"] == model["metrics"]
    about = Record.read(tmp_path / "record").about
    names = {"tta": "--tta", "tile": "--tile", "samples": "--samples-mc", "memory": "--memory"}
    assert about["options"] == {names[name]: value for name, value in options.items()}
    assert all(str(value) in about["command"] for value in options.values())


@pytest.mark.parametrize(
    "options", [pytest.param({}, marks=pytest.mark.slow), {"tta": "flips"}, {"score": 0.3}], ids=str
)
def test_boxes(options: dict[str, Any], boxes: Path, tmp_path: Path) -> None:
    model, files = both(boxes, tmp_path, ["coco"], **options)
    for name, value in model["metrics"].items():
        assert files["metrics"][name] == (None if value is None else pytest.approx(value, abs=1e-6)), name


def test_a_score_leaves_boxes_out(boxes: Path, tmp_path: Path) -> None:
    none, everything = (
        run_evaluation(
            boxes / "run", quiet=True, wishes=RecordWishes(out=tmp_path / f"{score}"), answers=AnswerWishes(score=score)
        )
        for score in (1.0, 0.0)
    )
    assert none["metrics"]["AR100"] == 0
    assert everything["metrics"]["AR100"] > 0


def test_the_record_of_other_options_is_another_record(dense: Path, tmp_path: Path) -> None:
    place = RecordWishes(out=tmp_path)
    run_evaluation(dense / "run", quiet=True, wishes=place, answers=AnswerWishes(tta="flips"))
    with pytest.raises(ConfigError, match=r"record of other options \(--tta=flips, not none\)"):
        run_evaluation(dense / "run", quiet=True, wishes=place)
    run_evaluation(dense / "run", quiet=True, wishes=place, answers=AnswerWishes(tta="flips"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": 0.5}, "--score: cuts detections, and this model predicts none"),
        ({"tta": "flips", "samples": 2}, "cannot be had together with model.samples"),
    ],
)
def test_options_that_do_not_suit_the_model(options: dict[str, Any], said: str, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        run_evaluation(dense / "run", quiet=True, wishes=RecordWishes(out=tmp_path), answers=AnswerWishes(**options))


def test_on_the_command_line(dense: Path, boxes: Path, tmp_path: Path) -> None:
    words = [
        str(dense / "run"),
        "--out",
        str(tmp_path / "a"),
        "--tta",
        "flips",
        "--tile",
        "off",
        "--samples-mc",
        "1",
        "--memory",
        "2GB",
        "--engine",
        "torch",
        "--json",
    ]
    shown = CliRunner().invoke(command, words)
    assert shown.exit_code == 0, shown.exception
    expected = run_evaluation(
        dense / "run", quiet=True, wishes=RecordWishes(tmp_path / "b"), answers=AnswerWishes("flips")
    )
    assert json.loads(shown.stdout)["metrics"] == expected["metrics"]
    shown = CliRunner().invoke(command, [str(dense / "run"), "--tile", "none"])
    assert shown.exit_code == 2
    assert "wanted auto, off or a number of pixels, found 'none'" in shown.output
    shown = CliRunner().invoke(command, [str(dense / "run"), "--memory", "much"])
    assert "wanted a size such as 800MB or 2GB, found 'much'" in shown.output
    shown = CliRunner().invoke(command, [str(boxes / "run"), "--samples-mc", "2"])
    assert "--samples-mc: Monte-Carlo prediction needs" in str(shown.exception)
    shown = CliRunner().invoke(command, ["--predictions", "x", "--annotations", "y", "--tta", "flips"])
    assert "how a model answers; with --predictions the answers are files already" in str(shown.exception)

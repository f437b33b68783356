"""Results of `predict` that are lost, replaced, cut or left out: each is there, or said."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.cli.predict import _notes
from toolkit.config.sections import Config
from toolkit.errors import ConfigError, UserError
from toolkit.inference.folder import predict
from toolkit.inference.writers.names import output_stems
from toolkit.inference.writers.outputs import WRITERS, stems_of
from toolkit.inference.writers.tables import text_cell
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections

FOR_ALL = ("journal.jsonl", "classes.csv", "index.html")
RNG = np.random.default_rng(0)


def restored(model: VisionModel) -> Restored:
    return Restored(model.eval(), cast(Config, None), Path("model"), {})


def pictures(folder: Path, *names: str | bytes, size: tuple[int, int] = (24, 32)) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        content = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        with (folder / os.fsdecode(name)).open("wb") as file:
            Image.fromarray(content).save(file, "PNG")
    return folder


@pytest.fixture(scope="module")
def dense() -> Restored:
    torch.manual_seed(0)
    return restored(toolkit.segnet_basic(3, samples=2))


@pytest.fixture
def detector() -> Restored:
    torch.manual_seed(0)
    model = toolkit.faster_rcnn("resnet18", 2, norm="batch")
    model.head.limit_detections(score=0.0)
    return restored(model)


def test_a_result_named_like_another_kind_of_result(dense: Restored, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", "x.png")
    pictures(folder, "a_uncertainty.png", "x_overlay.png", size=(16, 20))
    found = run_prediction(dense, [folder], tmp_path / "out", ["mask", "uncertainty", "overlay"])
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name not in FOR_ALL]
    assert found["written"] == len(files) + 2 == 14
    assert sorted(Image.open(path).size for path in files if path.suffix == ".png") == [(20, 16)] * 4 + [(32, 24)] * 4
    again = run_prediction(dense, [folder], tmp_path / "out", ["mask"])
    assert again["written"] == 5
    assert {entry["file"] for entry in found["renamed"]} == {"a_uncertainty.png", "x_overlay.png"}
    assert any("a_uncertainty.png are called a_uncertainty_png" in note for note in _notes(found))


@pytest.mark.parametrize(
    "name", ["a_overlay.jpg", "a_uncertainty.png", "a_values.png", "detections.png", "predictions.jpg"]
)
def test_no_stem_gives_the_file_of_another_in_any_run(name: str) -> None:
    """One picture now, the other later: the folder of results is the same."""
    one, other = stems_of(["a.jpg"])[0], stems_of([name])[0]
    suffixes = [writer.suffix for writer in WRITERS.values()]
    for_all = {file for writer in WRITERS.values() for file in writer.files}
    assert not ({one + ending for ending in suffixes} | for_all) & {other + ending for ending in suffixes}


def test_a_long_name_costs_nothing_else(dense: Restored, tmp_path: Path) -> None:
    longest = "n" * 251 + ".png"
    twin = "n" * 250 + "m.png"
    folder = pictures(tmp_path / "in", "a.png", longest, twin, "z.png")
    found = run_prediction(dense, [folder], tmp_path / "out", ["mask", "overlay", "uncertainty"])
    assert found["failed"] == []
    assert found["written"] == 14 == len(list((tmp_path / "out").iterdir())) - 1  # the journal
    assert [entry["file"] for entry in found["renamed"]] == [twin, longest]


def test_names_fit_whatever_letters_they_have() -> None:
    for letter in ("n", "é", "漢", "\udce9"):
        (stem,) = output_stems([letter * (250 // len(os.fsencode(letter))) + ".png"], [".png", "_uncertainty.png"])
        assert len(os.fsencode(stem + "_uncertainty.png")) <= 255


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_name_that_is_not_utf8(detector: Restored, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", b"caf\xe9.png", "z.png", size=(64, 64))
    run_prediction(detector, [folder], tmp_path / "out", ["csv", "coco", "yolo"])
    with (tmp_path / "out/detections.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {"a", "caf\\udce9", "z"}
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    assert {entry["file"] for entry in entries} == {"a", "caf\\udce9", "z"}
    assert (tmp_path / "out" / "caf\udce9.txt").is_file()


def test_a_file_that_cannot_be_written_costs_its_picture_only(dense: Restored, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    found = run_prediction(dense, [folder], tmp_path / "out", ["mask", "overlay"])
    assert [Path(failure["file"]).name for failure in found["failed"]] == ["b.png"]
    assert "cannot be written" in found["failed"][0]["reason"]
    assert (tmp_path / "out/c.png").is_file()
    assert (tmp_path / "out/b_overlay.jpg").is_file()


def test_ctrl_c_keeps_what_was_found(detector: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "in", "a.png", "b.png", "c.png", size=(64, 64))
    real = detector.model.head.predict

    def interrupted(*arguments: Any) -> Any:
        found = real(*arguments)
        if (tmp_path / "second").exists():
            signal.raise_signal(signal.SIGINT)
        (tmp_path / "second").touch()
        return found

    monkeypatch.setattr(detector.model.head, "predict", interrupted)
    found = run_prediction(detector, [folder], tmp_path / "out", ["csv", "coco"])
    assert found["stopped"]
    assert found["done"] == 2
    with (tmp_path / "out/detections.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {"a", "b"}
    assert len({entry["file"] for entry in json.loads((tmp_path / "out/detections.json").read_text())}) == 2


def test_a_second_ctrl_c_keeps_it_too(detector: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "in", "a.png", "b.png", size=(64, 64))
    real = detector.model.head.predict

    def broken(*arguments: Any) -> Any:
        if (tmp_path / "second").exists():
            raise KeyboardInterrupt
        (tmp_path / "second").touch()
        return real(*arguments)

    monkeypatch.setattr(detector.model.head, "predict", broken)
    with pytest.raises(KeyboardInterrupt):
        run_prediction(detector, [folder], tmp_path / "out", ["csv"])
    with (tmp_path / "out/detections.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {"a"}


def test_a_full_disk_ends_the_job(dense: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "in", "a.png", "b.png")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="free space"):
        run_prediction(dense, [folder], tmp_path / "out", ["mask"])


def test_a_classifier_writes_its_answers(tmp_path: Path) -> None:
    model = toolkit.classifier("lenet5", classes=["=sum(A1)", "plain"])
    folder = pictures(tmp_path / "in", "a.png", "-b.png", size=(28, 28))
    found = run_prediction(restored(model), [folder], tmp_path / "out")
    assert found["written"] == 1
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "class", "score", "'=sum(A1)", "plain"]
    assert [row[0] for row in rows] == ["'-b", "a"]
    expected = model.predict(folder / "a.png")[0].numpy()
    np.testing.assert_allclose(np.array(rows[1][3:], float), expected, atol=1e-6)
    assert float(rows[1][2]) == pytest.approx(expected.max(), abs=1e-6)
    run_prediction(restored(model), [folder], tmp_path / "json", ["json", "overlay"])
    first = json.loads((tmp_path / "json/predictions.json").read_text())[1]
    assert first["scores"][first["class"]] == pytest.approx(expected.max())
    assert (tmp_path / "json/a_overlay.jpg").is_file()


def of_head(name: str, classes: list[str]) -> VisionModel:
    backbone = toolkit.BACKBONES.find("resnet")(depth=18)
    return VisionModel(backbone, None, toolkit.HEADS.find(name)(backbone.spec, len(classes)), classes)


def test_a_regressor_and_a_depth_net_write_their_answers(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", size=(40, 48))
    regressor, depth = of_head("image_values", ["age", "weight"]), of_head("pixel_values", ["depth"])
    assert run_prediction(restored(regressor), [folder], tmp_path / "one")["written"] == 1
    with (tmp_path / "one/predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [float(row["age"]), float(row["weight"])] == pytest.approx(
        regressor.predict(folder)[0].numpy().tolist(), rel=1e-6
    )
    assert run_prediction(restored(depth), [folder], tmp_path / "two")["written"] == 3
    values = np.load(tmp_path / "two/a_values.npy")
    assert values.dtype == np.float32
    assert np.array_equal(values, depth.predict(folder)[0].numpy())


def test_a_format_that_does_not_suit_is_refused_before_the_first_picture(tmp_path: Path, dense: Restored) -> None:
    folder = pictures(tmp_path / "in", "a.png")
    with pytest.raises(
        ConfigError, match=r"'coco' does not take .*formats that do: mask, overlay, video, probabilities"
    ):
        run_prediction(dense, [folder], tmp_path / "out", ["coco"])
    with pytest.raises(ConfigError, match="--score and --max-detections: cut detections, and this model predicts none"):
        run_prediction(dense, [folder], tmp_path / "out", score=0.5, max_detections=7)
    assert not (tmp_path / "out").exists()


def test_a_limit_that_cuts_is_said_and_can_be_raised(detector: Restored, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", size=(96, 96))
    detector.model.head.limit_detections(count=3)
    found = run_prediction(detector, [folder], tmp_path / "out", ["csv"])
    assert (found["limited"], found["limit"]) == (["a.png"], 3)
    assert any(
        "limit of 3 detections" in note and "a.png; --max-detections raises it" in note for note in _notes(found)
    )
    more = run_prediction(detector, [folder], tmp_path / "more", ["csv"], max_detections=7)
    rows = {name: len((tmp_path / name / "detections.csv").read_text().splitlines()) - 1 for name in ("out", "more")}
    assert rows == {"out": 3, "more": 7}
    assert more["limit"] == 7


def test_a_score_cuts_every_format_and_the_drawing(detector: Restored, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", "a.png", size=(96, 96))
    (whole,) = predict(detector.model, folder)
    assert isinstance(whole.prediction, Detections)
    scores = whole.prediction.scores
    middle = float(scores.median())
    found = run_prediction(detector, [folder], tmp_path / "out", ["csv", "yolo", "coco", "overlay"], score=middle)
    expected = int((scores >= middle).sum())
    assert 0 < expected < len(scores)
    assert len((tmp_path / "out/detections.csv").read_text().splitlines()) - 1 == expected
    assert len((tmp_path / "out/a.txt").read_text().splitlines()) == expected
    assert len(json.loads((tmp_path / "out/detections.json").read_text())) == expected
    assert found["drawn_from"] == middle


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+2", "'=1+2"),
        ("@a", "'@a"),
        ("+a", "'+a"),
        ("-1", "'-1"),
        ("a=b", "a=b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
    ],
)
def test_names_in_tables_are_text(text: str, cell: str) -> None:
    assert text_cell(text) == cell

"""`data.on_bad: skip`: bad samples are left out, the same ones everywhere and always, and everybody is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from broken_data import CLASSES, make_pairs, make_voc, mask, picture, save
from run_laws import assert_same_run, stop_after

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import Dataset, Skip
from toolkit.data.faults.leaving_out import Fault, raise_or_note
from toolkit.data.faults.skipped import without
from toolkit.errors import DataError, Problem
from toolkit.jobs.bad_samples import leniently
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.check import check_config
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training
from toolkit.models.weights import read_weights
from toolkit.preflight.findings import Fact

TEXT = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 4, depth: 3, padding: same, norm: batch}
  neck: {name: skip, norm: batch}
  head: {name: pixel}
data:
  classes: [ground, thing, other]
  batch_size: 2
  workers: 0
  on_bad: skip
  train: {dataset: {name: image_masks, split: train.txt}, transforms: [{name: HorizontalFlip, p: 0.5}]}
  val: {dataset: {name: image_masks, split: val.txt}}
train:
  steps: 6
  optimizer: {name: adamw, lr: 0.01}
  log_every: 2
  evaluate_every: 3
  save_every: 2
  device: cpu
  threads: 1
evaluate: {evaluators: [semantic]}
name: skips
"""


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config_of(root: Path, *overrides: str) -> Config:
    return parse_config(TEXT, "skips.yaml", [f"data.root={root}", *overrides])


def damaged(root: Path) -> Path:
    """Nine pairs, four of them bad: an empty image, a label outside the table, no mask; and one of val."""
    make_pairs(root)
    (root / "images/p01.jpg").write_bytes(b"")
    save(root / "masks/p03.png", np.full((96, 128), 9, np.uint8))
    (root / "masks/p04.png").unlink()
    (root / "images/p07.jpg").write_bytes((root / "images/p07.jpg").read_bytes()[:-200])
    return root


def test_bad_samples_stop_unless_asked(tmp_path: Path) -> None:
    config = config_of(damaged(tmp_path / "data"), "data.on_bad=stop")
    with pytest.raises(DataError, match="1 image\\(s\\) of the split have no mask: p04"):
        run_training(config, tmp_path / "run", quiet=True)


def test_a_training_without_them_is_the_training_on_the_rest(tmp_path: Path) -> None:
    root = damaged(tmp_path / "data")
    run_training(config_of(root), tmp_path / "skips", quiet=True)
    sound = make_pairs(tmp_path / "sound")
    (sound / "train.txt").write_text("p00\np02\np05\n")
    (sound / "val.txt").write_text("p06\np08\n")
    run_training(config_of(sound, "data.on_bad=stop"), tmp_path / "rest", quiet=True)
    one, other = (read_weights(tmp_path / name / "last.safetensors")[0] for name in ("skips", "rest"))
    assert all((one[key] == other[key]).all() for key in other)


def test_what_was_skipped_is_said_and_written(tmp_path: Path) -> None:
    root = damaged(tmp_path / "data")
    run_training(config_of(root), tmp_path / "run", quiet=True)
    table = json.loads((tmp_path / "run/skipped.json").read_text())
    assert table["train"]["used"] == 3
    assert table["train"]["skipped"] == [
        {"name": "images/p04.jpg", "reason": "no mask"},
        {"name": "images/p01.jpg", "reason": "the file is empty (0 bytes)"},
        {
            "name": "images/p03.jpg",
            "reason": "holds values outside the table: 9 (12288 pixels); wanted 0..2 for the 3 classes, or 255 (ignore)",
        },
    ]
    assert [one["name"] for one in table["val"]["skipped"]] == ["images/p07.jpg"]
    log = (tmp_path / "run/train.log").read_text().splitlines()
    line = "skipped    train: 3 skipped as bad, 3 used: images/p04.jpg, images/p01.jpg, images/p03.jpg"
    assert next(at for at, text in enumerate(log) if text.endswith(line)) < 5
    assert log[-2].endswith(line)
    assert log[-1].endswith("skipped    val: 1 skipped as bad, 2 used: images/p07.jpg")


def test_evaluation_says_so_too(tmp_path: Path) -> None:
    root = damaged(tmp_path / "data")
    run_training(config_of(root), tmp_path / "run", quiet=True)
    result = run_evaluation(tmp_path / "run", quiet=True)
    assert result["images"] == 2
    assert [one["name"] for one in result["skipped"]] == ["images/p07.jpg"]
    changes = ["data.on_bad=stop", f"data.root={make_pairs(tmp_path / 'whole')}"]
    wishes = RecordWishes(out=tmp_path / "out")
    assert not run_evaluation(tmp_path / "run", overrides=changes, wishes=wishes)["skipped"]


def test_a_resumed_run_leaves_out_what_it_began_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = damaged(tmp_path / "data")
    run_training(config_of(root), tmp_path / "whole", quiet=True)
    stop_after(config_of(root), tmp_path / "resumed", 3, monkeypatch)
    save(root / "images/p01.jpg", picture(1))  # mended in between
    save(root / "masks/p04.png", mask(4))
    run_training(config_of(root), tmp_path / "resumed", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "resumed")


def test_a_resumed_run_whose_data_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = damaged(tmp_path / "data")
    stop_after(config_of(root), tmp_path / "run", 3, monkeypatch)
    (root / "masks/p05.png").unlink()
    with pytest.raises(DataError, match="3 samples could be used when the run began, now there are 2"):
        run_training(config_of(root), tmp_path / "run", resume=True, quiet=True)


def test_a_check_warns_and_says_how_many(tmp_path: Path) -> None:
    root = damaged(tmp_path / "data")
    report = check_config(config_of(root), full=True)
    assert not report.errors
    assert report.exit_code == 0
    assert Fact("read", "train: 6 samples, 3 bad, left out (data.on_bad: skip)") in report.facts
    assert any("3 skipped as bad, 3 used" in fact.text for fact in report.facts)
    kinds = {one.kind for one in report.findings if one.problem.suggestion.startswith("left out of ")}
    assert kinds == {"no_mask", "empty", "unknown_label", "truncated"}


def test_a_check_that_stops_finds_the_same_errors(tmp_path: Path) -> None:
    report = check_config(config_of(damaged(tmp_path / "data"), "data.on_bad=stop"), full=True)
    assert {one.kind for one in report.findings if one.severity == "error"} >= {
        "no_mask", "empty", "unknown_label", "truncated",
    }  # fmt: skip
    assert report.exit_code == 1


def test_nothing_is_left(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    for seed in range(6):
        (root / f"images/p{seed:02d}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 6 samples of train can be used") as raised:
        build_dataset(config_of(root), "train")
    assert str(raised.value.problems[0]).startswith(f"{root}/images/p00.jpg: the file is empty")


def test_boxes_of_the_samples_that_are_left(tmp_path: Path) -> None:
    from toolkit.data.datasets.voc import VocDataset

    inner = VocDataset(str(make_voc(tmp_path)), "train", CLASSES)
    dataset = without(inner, [1, 4], [Skip("a", "b"), Skip("c", "d")])
    assert [dataset[i].name for i in range(len(dataset))] == [inner[i].name for i in (0, 2, 3, 5)]
    assert [dataset[i].position for i in range(4)] == [0, 1, 2, 3]
    assert [sample.image_id for sample in dataset] == [0, 2, 3, 5]  # type: ignore[attr-defined]
    assert len(dataset.skips) == 2
    for place, old in enumerate((0, 2, 3, 5)):
        assert dataset.index.names[place] == inner.index.names[old]
        np.testing.assert_array_equal(dataset.index.boxes(place, (96, 128)).xyxy, inner[old].boxes.xyxy)  # type: ignore[union-attr]
        assert dataset.files(place) == inner.files(old)
    np.testing.assert_array_equal(dataset.image_sizes(), inner.image_sizes()[[0, 2, 3, 5]])
    assert dataset.category_ids == inner.category_ids  # type: ignore[attr-defined]


def all_at_fault(root: Path) -> Path:
    """Six training pairs: four images are empty files, two masks hold a label outside the table."""
    make_pairs(root)
    for number in range(4):
        (root / f"images/p{number:02d}.jpg").write_bytes(b"")
    for number in (4, 5):
        save(root / f"masks/p{number:02d}.png", np.full((96, 128), 9, np.uint8))
    return root


def test_when_every_sample_is_at_fault_the_first_reason_of_each_kind_is_told(tmp_path: Path) -> None:
    """By a training, a quick and a full check alike, each with its file; "none can be used" alone helps nobody."""
    root = all_at_fault(tmp_path / "data")
    with pytest.raises(DataError) as raised:
        run_training(config_of(root), tmp_path / "run")
    told = {
        "training": [str(problem) for problem in raised.value.problems],
        "quick check": [str(problem) for problem in check_config(config_of(root)).errors],
        "full check": [str(one.problem) for one in check_config(config_of(root), full=True).findings],
    }
    for asked, sentences in told.items():
        assert any("p00.jpg" in one and "empty" in one for one in sentences), (asked, sentences)
        assert any("p04.png" in one and "9" in one for one in sentences), (asked, sentences)
    assert any("the first of 4" in one for one in told["training"])


class Hopeless:
    """Stands for a data set's constructor that notes what is wrong with single files, and then has nothing left."""

    def __call__(self) -> Dataset:
        raise_or_note([Fault("cut", Problem(Path("a.png"), "ends too early"), ("a.png",))])
        raise DataError("no image is left")


def test_reasons_that_were_noted_are_not_lost_when_nothing_is_left() -> None:
    with pytest.raises(DataError) as raised:
        leniently(Hopeless())
    assert [str(problem) for problem in raised.value.problems] == ["a.png: ends too early", "no image is left"]

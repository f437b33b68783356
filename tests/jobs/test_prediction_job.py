"""A long prediction: killed, resumed, shared out and merged, it leaves what one uninterrupted run leaves, byte for byte."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prediction_jobs import dense_model, detector, picture_folder, restored, tree
from tiny_video import make_video

import toolkit
from toolkit.engine.run_lock import lock_folder
from toolkit.errors import ConfigError, DataError, UserError
from toolkit.inference.folder import predict
from toolkit.inference.shares import Share, blocks
from toolkit.jobs.merge import merge_shares
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored
from toolkit.samples import Detections

DENSE, BOXES = ("mask", "overlay"), ("coco", "csv", "yolo", "overlay")
NUMBERS = ("mask", "probabilities", "probabilities8", "uncertainty", "heat", "geojson", "summary")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("few"), 5)


@pytest.fixture(scope="module")
def dense() -> Restored:
    return restored(dense_model())


@pytest.fixture(scope="module")
def boxes() -> Restored:
    return restored(detector())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("often", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_kills_change_nothing(often: bool, pictures: Path, few: Path, tmp_path: Path) -> None:
    kills = 20 if often else 1
    jobs: list[tuple[str, Path, tuple[str, ...], int]] = [
        ("dense", pictures, DENSE, 20 if often else 5),
        ("dense", pictures if often else few, NUMBERS, kills),
    ]
    if often:
        jobs.append(("boxes", pictures, BOXES, kills))
    if importlib.util.find_spec("rasterio") is not None:
        jobs.append(("dense", pictures if often else few / "night", ("geotiff", "geojson"), kills))
    if importlib.util.find_spec("av") is not None:
        film = make_video(tmp_path / "film.mkv", [0.1 * number for number in range(12 if often else 4)])
        jobs.append(("dense", film, ("mask", "video"), kills))
    script = Path(__file__).parents[1] / "killed_predictions.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
    command = [sys.executable, str(script), json.dumps(jobs, default=str), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for job, line in zip(jobs, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert found["deaths"] == job[3], job
        assert found["killed"] == found["whole"], job
        assert len(found["whole"]) > len(job[2]), job


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_shares_merged_are_one_run(batch_size: int, dense: Restored, pictures: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        told = run_prediction(
            dense, [pictures], tmp_path / "shared", DENSE, batch_size=batch_size, share=Share(number, 4),
            resume=number > 2,  # as a scheduler starts and restarts a share; one without a journal begins
        )  # fmt: skip
        assert told["journal"].endswith(f"journal-{number}-of-4.jsonl")
        shutil.copytree(tmp_path / "shared", tmp_path / f"copy{number}")
    run_prediction(dense, [pictures], tmp_path / "one", DENSE, batch_size=batch_size)
    merged = merge_shares(tmp_path / "shared")
    assert tree(tmp_path / "shared") == tree(tmp_path / "one")
    assert (merged["images"], merged["done"], len(merged["failed"])) == (11, 10, 1)


def test_shares_in_folders_of_their_own_are_brought_together(boxes: Restored, few: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        run_prediction(boxes, [few], tmp_path / f"part{number}", BOXES, share=Share(number, 2))
    run_prediction(boxes, [few], tmp_path / "one", BOXES)
    merge_shares(tmp_path / "joined", [tmp_path / "part2", tmp_path / "part1"])
    assert tree(tmp_path / "joined") == tree(tmp_path / "one")
    assert list((tmp_path / "part1").glob("journal-1-of-2.jsonl"))


def test_merge_names_what_is_missing_unfinished_or_other(dense: Restored, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_prediction(dense, [pictures], out, DENSE, share=Share(1, 3))
    with pytest.raises(ConfigError, match=r"of 3 shares 2, 3 are missing"):
        merge_shares(out)
    for number in (2, 3):
        run_prediction(dense, [pictures], out, DENSE, share=Share(number, 3))
    second = out / "journal-2-of-3.jsonl"
    lines = second.read_text().splitlines(keepends=True)
    second.write_text("".join(lines[:-1]))
    with pytest.raises(ConfigError, match=r"did not come to its end \(\d pictures\); go on with --shard 2/3 --resume"):
        merge_shares(out)
    header = json.loads(lines[0])
    header["options"]["batch_size"] = 7
    second.write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    with pytest.raises(ConfigError, match="batch_size was 7 and would be 1"):
        merge_shares(out)
    with pytest.raises(ConfigError, match="holds no journal of a share"):
        merge_shares(tmp_path / "x", [tmp_path])


def test_a_grown_folder_gets_only_what_is_new(dense: Restored, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "in", 4, damaged=False)
    first = run_prediction(dense, [folder], tmp_path / "out", DENSE)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    picture_folder(tmp_path / "more", 6, damaged=False)
    shutil.copy(tmp_path / "more/day/p002.png", folder / "day/a_new_one.png")
    second = run_prediction(dense, [folder], tmp_path / "out", DENSE, resume=True)
    assert (first["skipped"], second["skipped"], second["done"], second["images"]) == (0, 4, 1, 5)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    shutil.copy(tmp_path / "more/day/p004.png", folder / "day/p000.png")  # another picture of the same name
    (tmp_path / "out/night/p001.png").unlink()
    third = run_prediction(dense, [folder], tmp_path / "out", DENSE, resume=True)
    assert (third["skipped"], third["done"]) == (3, 2)
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    run_prediction(dense, [folder], tmp_path / "fresh", DENSE)
    assert tree(tmp_path / "fresh") == tree(tmp_path / "out")


def test_failed_pictures_are_tried_again(dense: Restored, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "in", 6)
    found = run_prediction(dense, [folder], tmp_path / "out", DENSE)
    assert [Path(one["file"]).name for one in found["failed"]] == ["p004.png"]
    shutil.copy(folder / "day/p002.png", folder / "day/p004.png")
    again = run_prediction(dense, [folder], tmp_path / "out", DENSE, resume=True)
    assert (again["skipped"], again["done"], again["failed"]) == (5, 1, [])


def test_another_model_or_other_options_are_refused(dense: Restored, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_prediction(dense, [pictures], out, ["mask"])
    other = dense_model()
    next(other.parameters()).data.add_(1)
    before = tree(out)
    with pytest.raises(ConfigError, match="results of other weights"):
        run_prediction(restored(other), [pictures], out, ["mask"])
    with pytest.raises(ConfigError, match=r"weights was .* and would be"):
        run_prediction(restored(other), [pictures], out, ["mask"], resume=True)
    with pytest.raises(ConfigError, match=r"batch_size was 1 and would be 3; tile was null and would be 64"):
        run_prediction(dense, [pictures], out, ["mask"], batch_size=3, tile=64, resume=True)
    with pytest.raises(ConfigError, match="of a job that was divided otherwise"):
        run_prediction(dense, [pictures], out, ["mask"], share=Share(1, 2))
    assert tree(out) == before
    run_prediction(restored(other), [pictures], out, ["mask"], overwrite=True)
    assert tree(out) != before


def test_a_resumed_job_takes_batch_threads_and_formats_from_its_journal(
    dense: Restored, pictures: Path, tmp_path: Path
) -> None:
    run_prediction(dense, [pictures], tmp_path / "out", ["mask"], batch_size=3)
    found = run_prediction(dense, [pictures], tmp_path / "out", resume=True)
    assert (found["chosen"]["batch_size"], found["formats"], found["skipped"]) == (3, ["mask"], 10)


def test_an_unfinished_job_is_not_begun_anew_by_mistake(dense: Restored, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_prediction(dense, [pictures], out, ["mask"])
    whole = tree(out)
    journal = out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + lines[5][:20])  # a kill in the middle of a line
    with pytest.raises(ConfigError, match=r"did not come to its end \(4 pictures\); go on with --resume"):
        run_prediction(dense, [pictures], out, ["mask"])
    run_prediction(dense, [pictures], out, ["mask"], resume=True)
    assert tree(out) == whole
    journal.write_bytes(b"".join([*lines[:3], b"{nonsense\n", *lines[3:]]))
    with pytest.raises(DataError, match=r"nonsense.* is no entry"):
        run_prediction(dense, [pictures], out, ["mask"], resume=True)
    journal.write_text("not a journal\n")
    with pytest.raises(DataError, match="should be the journal of a prediction"):
        run_prediction(dense, [pictures], out, ["mask"])


@pytest.mark.parametrize(
    ("options", "said"), [({"tile": 4}, "too small for this model"), ({"overlap": 9}, "is of tiles")]
)
def test_options_that_do_not_suit_are_told_before_a_journal_is_begun(
    options: dict[str, Any], said: str, dense: Restored, pictures: Path, tmp_path: Path
) -> None:
    run_prediction(dense, [pictures], tmp_path / "out", ["mask"])
    before = tree(tmp_path / "out")
    for out in (tmp_path / "out", tmp_path / "fresh"):
        with pytest.raises(ConfigError, match=said):
            run_prediction(dense, [pictures], out, ["mask"], **options)
    assert tree(tmp_path / "out") == before
    assert not (tmp_path / "fresh").exists()


def test_two_runs_on_one_folder(dense: Restored, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    lock = lock_folder(tmp_path / "out", "predict.lock", "is being written by")
    with pytest.raises(ConfigError, match="is being written by"):
        run_prediction(dense, [pictures], tmp_path / "out", ["mask"])
    lock.release()
    with pytest.raises(ConfigError, match="no journal of a prediction to go on with"):
        run_prediction(dense, [pictures], tmp_path / "out", ["mask"], resume=True)


def test_blocks_are_all_pictures_whatever_the_shares() -> None:
    for pictures, batch, shares in ((1, 1, 1), (10, 1, 4), (100, 3, 7), (64, 8, 2), (5, 2, 9)):
        parts = [block for number in range(shares) for block in blocks(pictures, batch, Share(number + 1, shares))]
        assert sorted(place for block in parts for place in block) == list(range(pictures))
        assert sorted(map(tuple, parts)) == sorted(map(tuple, blocks(pictures, batch, Share())))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_a_share_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="wanted I/N"):
        Share.parse(text)


def test_the_share_of_a_launched_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Share.of_launcher() is None
    for name, value in {"RANK": "2", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert Share.of_launcher() == Share(3, 8)


@pytest.mark.parametrize(
    "batch_size", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(8, marks=pytest.mark.slow)]
)
def test_pictures_of_all_sizes_share_batches_and_stay_in_order(
    batch_size: int, dense: Restored, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = list(predict(dense.model, pictures))
    seen: list[int] = []
    real = dense.model.predict

    def counted(batch: Any) -> Any:
        seen.append(len(batch.images))
        return real(batch)

    monkeypatch.setattr(dense.model, "predict", counted)
    many = list(predict(dense.model, pictures, batch_size=batch_size))
    assert [one.name for one in many] == [one.name for one in single]
    for one, other in zip(many, single, strict=True):
        assert (one.prediction is None) == (other.prediction is None)
        if one.prediction is not None and other.prediction is not None:
            assert np.array_equal(one.prediction.numpy(), other.prediction.numpy())
    assert max(seen) == min(batch_size, 4)
    assert len(seen) < len(single)


def test_a_predictor_travels_and_answers_as_the_command_does(boxes: Restored, few: Path) -> None:
    predictor = toolkit.Predictor(boxes.model, max_detections=5)
    sent = pickle.loads(pickle.dumps(predictor))
    good = few / "day/p000.png"
    found = sent({"path": np.array([str(good), str(few / "day/p004.png")]), "id": np.array([7, 8])})
    (expected,) = predictor.stream(good)
    assert isinstance(expected.prediction, Detections)
    assert np.array_equal(found["boxes"][0], expected.prediction.boxes.numpy())
    assert found["boxes"][1] is None
    assert found["failed"][0] == ""
    assert found["failed"][1] != ""
    assert found["id"].tolist() == [7, 8]
    with pytest.raises(UserError, match="wanted a column 'image' or 'path', found 'pixels'"):
        sent({"pixels": np.zeros(1)})


def test_arrays_are_answered_as_files(dense: Restored, pictures: Path) -> None:
    predictor = toolkit.Predictor(dense.model)
    results = [one for one in predictor.stream(pictures) if one.prediction is not None]
    images = np.empty(len(results), object)
    for place, one in enumerate(results):
        images[place] = one.image
    found = predictor({"image": images})
    for one, labels in zip(results, found["labels"], strict=True):
        assert one.prediction is not None
        assert np.array_equal(one.prediction.numpy(), labels)

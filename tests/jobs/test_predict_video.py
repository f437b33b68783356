"""A video in, and its results by frame and as a video with its sound: killed, resumed and shared out as pictures are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prediction_jobs import dense_model, detector, restored, tree
from tiny_video import SIZE, make_video

from toolkit.errors import ConfigError
from toolkit.inference.shares import Share
from toolkit.jobs.merge import merge_shares
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored

TIMES = [0.0, 0.3, 0.4, 0.5, 1.2, 1.3]


@pytest.fixture(scope="module")
def dense() -> Restored:
    return restored(dense_model())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("film") / "film.mkv", TIMES)


def streams(path: Path) -> dict[str, Any]:
    """Times and size of the frames, and the bytes of the sound's packets with their times."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        frames = [(float(frame.time), frame.height, frame.width) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = [(float(one.pts * one.time_base), bytes(one)) for one in file.demux(audio=0) if one.size]
    return {"frames": frames, "sound": sound}


def test_frames_masks_and_a_video_with_the_sound(dense: Restored, film: Path, tmp_path: Path) -> None:
    found = run_prediction(dense, [film], tmp_path / "out", ["mask", "video"])
    assert (found["images"], found["failed"]) == (6, [])
    assert found["formats"] == ["mask", "video", "overlay"]
    assert (tmp_path / "out/film.mkv/000004_1200ms.png").is_file()
    drawn, source = streams(tmp_path / "out/film.mkv/overlay.mp4"), streams(film)
    assert [time for time, _, _ in drawn["frames"]] == pytest.approx(TIMES, abs=2e-3)
    assert drawn["frames"][0][1] > SIZE[0]
    assert [data for _, data in drawn["sound"]] == [data for _, data in source["sound"]]
    shifts = [one[0] - two[0] for one, two in zip(drawn["sound"], source["sound"], strict=True)]
    assert np.abs(shifts).max() < 0.03


def test_results_say_their_frame_and_time(film: Path, tmp_path: Path) -> None:
    run_prediction(restored(detector()), [film], tmp_path / "out", ["coco"], every="0.5s")
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    assert {(one["image_id"], one["file"]) for one in entries} == {
        (1, "film.mkv/000000_0ms"), (2, "film.mkv/000003_500ms"), (3, "film.mkv/000004_1200ms"),
    }  # fmt: skip


def test_shares_and_a_resumed_job_are_one_run(dense: Restored, film: Path, tmp_path: Path) -> None:
    formats = ["mask", "video"]
    run_prediction(dense, [film], tmp_path / "one", formats)
    for number in (1, 2):
        run_prediction(dense, [film], tmp_path / "shared", formats, share=Share(number, 2))
    merge_shares(tmp_path / "shared")
    assert tree(tmp_path / "shared") == tree(tmp_path / "one")
    resumed = tmp_path / "resumed"
    shutil.copytree(tmp_path / "one", resumed)
    lines = (resumed / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (resumed / "journal.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:25])
    (resumed / "film.mkv/overlay.mp4").unlink()
    (resumed / "film.mkv/.overlay.mp4.123.tmp").write_bytes(b"half")
    assert run_prediction(dense, [film], resumed, formats, resume=True)["skipped"] == 2
    assert tree(resumed) == tree(tmp_path / "one")
    with pytest.raises(ConfigError, match='every was null and would be "2"'):
        run_prediction(dense, [film], resumed, formats, resume=True, every="2")


def test_a_damaged_frame_is_named_and_the_others_are_shown(dense: Restored, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", [0.1 * number for number in range(12)], sound=False, gop=4)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    path.write_bytes(data)
    found = run_prediction(dense, [path], tmp_path / "out", ["video"])
    for failure in found["failed"]:
        assert failure["file"].startswith(f"{path}, frame ")
    assert (tmp_path / "out/a.mkv/overlay.mp4").is_file()


def test_a_video_is_asked_of_a_video(dense: Restored, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ConfigError, match="is made of the frames of a video, and none is among the pictures"):
        run_prediction(dense, [tmp_path / "a.npy"], tmp_path / "out", ["video"])
    assert not (tmp_path / "out").exists()

"""Frames of a video by number, whatever the order they are asked for in; times, turning, damage, and what is no video."""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_video import SIZE, make_video, picture, shade

from toolkit.data.images.pictures import find_pictures
from toolkit.data.images.videos import Every, Video
from toolkit.errors import ConfigError, DataError

EVEN = [0.1 * number for number in range(20)]
UNEVEN = [0.0, 0.4, 0.5, 0.6, 1.0, 1.1, 2.5, 2.6]


def gray(pixels: np.ndarray) -> float:
    return float(pixels[8 : SIZE[0] // 2 - 8, 24:-8].mean())


@pytest.mark.parametrize(
    ("name", "codec", "times"),
    [("a.mp4", "libx264", EVEN), ("b.mkv", "libx264", UNEVEN), ("c.avi", "mpeg4", EVEN), ("d.mov", "mpeg4", UNEVEN)],
)
def test_every_frame_in_any_order_at_its_time(name: str, codec: str, times: list[float], tmp_path: Path) -> None:
    video = Video(make_video(tmp_path / name, times, codec=codec, sound=name != "d.mov"))
    assert len(video) == len(times)
    assert video.note == ""
    if name != "c.avi":  # AVI has a rate for all frames, and encoders a delay
        assert [video.seconds(number) for number in range(len(times))] == pytest.approx(times, abs=2e-3)
    in_order = [video.read(number) for number in range(len(times))]
    for number, pixels in enumerate(in_order):
        assert pixels.shape == (*SIZE, 3)
        assert gray(pixels) == pytest.approx(shade(number), abs=6 if codec == "mpeg4" else 3)
    assert np.abs(in_order[3].astype(int) - picture(3)).mean() < 4
    again = pickle.loads(pickle.dumps(video))
    order = list(range(len(times)))
    random.Random(0).shuffle(order)
    for number in order:
        assert np.array_equal(again.read(number), in_order[number])


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_a_video_is_turned_as_its_file_says(turned: int, tmp_path: Path) -> None:
    pixels = Video(make_video(tmp_path / "a.mp4", [0, 0.1], turned=turned)).read(0)
    assert np.abs(pixels.astype(int) - np.rot90(picture(0), turned // 90)).mean() < 4


def test_which_frames_are_taken(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", UNEVEN)
    names = {
        every: [one.name for one in find_pictures(path, every=Every.parse(every))] for every in ("3", "0.5s", "1 s")
    }
    assert names["3"] == ["a.mkv/000000_0ms", "a.mkv/000003_600ms", "a.mkv/000006_2500ms"]
    assert names["0.5s"] == [f"a.mkv/00000{n}_{round(1000 * UNEVEN[n])}ms" for n in (0, 2, 4, 6)]
    assert names["1 s"] == [f"a.mkv/00000{n}_{round(1000 * UNEVEN[n])}ms" for n in (0, 4, 6)]
    assert len(find_pictures(path)) == len(UNEVEN)
    for wrong in ("0", "-1", "1.5", "abc", "0s", ""):
        with pytest.raises(ConfigError, match="wanted a number of frames, as 10, or of seconds"):
            Every.parse(wrong)


def test_two_of_one_name_a_glob_and_pictures_beside(tmp_path: Path) -> None:
    first = make_video(tmp_path / "x/a.mp4", [0, 0.1], sound=False)
    second = make_video(tmp_path / "y/a.mp4", [0, 0.1], sound=False)
    np.save(tmp_path / "x/p.npy", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "x/a.txt").write_text("no picture")
    found = find_pictures([first, second])
    assert [one.name for one in found] == [
        "a.mp4/000000_0ms",
        "a.mp4/000001_100ms",
        "a.mp4_2/000000_0ms",
        "a.mp4_2/000001_100ms",
    ]
    assert len(find_pictures(tmp_path / "?" / "a.*")) == 4
    assert len(find_pictures([first, first])) == 2
    with pytest.raises(DataError, match="--every: is for videos, and none is named"):
        find_pictures(tmp_path / "x/p.npy", every=Every(2))


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.mkv", [float(number) for number in range(20)], sound=False)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    video = Video(cut)
    assert 2 < len(video) < 18
    assert "its frames end at" in video.note
    assert gray(video.read(1)) == pytest.approx(shade(1), abs=3)
    lost = tmp_path / "lost.mp4"
    lost.write_bytes(make_video(tmp_path / "b.mp4", EVEN).read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cannot be opened as a video.*index \(moov\)"):
        Video(lost)


def test_damage_in_the_middle_costs_frames_until_the_next_key_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", EVEN, sound=False, gop=4)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    outcomes = [outcome(Video(path), number) for number in range(len(EVEN))]
    assert outcomes.count("as it was") >= 8
    assert all(one == "as it was" or "cannot be decoded: the file is damaged there, or cut" in one for one in outcomes)


def outcome(video: Video, number: int) -> str:
    """What comes of a frame: its picture, or why there is none."""
    try:
        difference = abs(gray(video.read(number)) - shade(number))
    except DataError as error:
        return str(error)
    return "as it was" if difference < 3 else f"other by {difference}"


def test_what_is_no_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        out.mux(tone.encode(samples))
        out.mux(tone.encode(None))
    with pytest.raises(DataError, match="holds no video, but audio"):
        find_pictures(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("a letter")
    with pytest.raises(DataError, match="cannot be opened as a video"):
        find_pictures([tmp_path / "text.mp4", tmp_path / "sound.mp4"])


def test_without_the_package_the_line_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=r"PyAV, which reads those, is not installed; pip install 'toolkit-dense\[video\]'"
    ):
        find_pictures(tmp_path / "a.mp4")

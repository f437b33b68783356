"""Frames of a video as pictures: which there are, when each is shown, and reading one (PyAV, extra `[video]`)."""

from __future__ import annotations

import re
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import ConfigError, DataError, Problem

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".m2ts", ".3gp", ".ogv",
))  # fmt: skip
_KEPT = 8
"""Frames that were decoded and not yet asked for: several threads ask for neighbours, in any order."""


class Every(NamedTuple):
    """Which frames of a video are taken: of every so many, or of every so many seconds, the first."""

    frames: int = 1
    seconds: Fraction | None = None

    def __str__(self) -> str:
        return str(self.frames) if self.seconds is None else f"{float(self.seconds):g}s"

    @staticmethod
    def parse(text: str) -> Every:
        """What "10" or "0.5s" says. Raises ConfigError for anything else.

        >>> Every.parse("10").frames, str(Every.parse("0.5s"))
        (10, '0.5s')
        """
        found = re.fullmatch(r"([1-9]\d*)|(\d+(?:\.\d+)?|\.\d+)\s*s", text.strip())
        if found is None or (found[2] and Fraction(found[2]) == 0):
            message = f"wanted a number of frames, as 10, or of seconds, as 0.5s; found '{text}'"
            raise ConfigError(Problem("--every", message))
        return Every(int(found[1])) if found[1] else Every(1, Fraction(found[2]))

    def chosen(self, times: Sequence[float]) -> Iterator[int]:
        """Places of the frames that are taken. times: rising seconds of all frames.

        >>> list(Every(2).chosen([0, 1, 2])), list(Every.parse("1s").chosen([0, 0.4, 0.9, 1.1, 3.5, 3.6]))
        ([0, 2], [0, 3, 4])
        """
        if self.seconds is None:
            yield from range(0, len(times), self.frames)
            return
        before = -1
        for place, time in enumerate(times):
            interval = int((time + 1e-9) / float(self.seconds))
            if interval > before:
                yield place
                before = interval


class Frame(NamedTuple):
    """One frame of a video.

    Args:
        video: the video that it is a frame of.
        number: among all frames in the order they are shown, from 0 on.
        seconds: when it is shown, after the video's beginning.
    """

    video: Video
    number: int
    seconds: float

    @property
    def name(self) -> str:
        """Its number and its time, as files of its results are called."""
        return f"{self.video.name}/{self.number:06d}_{round(1000 * self.seconds)}ms"

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, turned as the file says. Raises DataError where the file is damaged or cut."""
        return self.video.read(self.number)


class Video:
    """A file with a video in it: the first of its streams that is one.

    It is read once without decoding, for the times of its frames. Frames are decoded in order; going back, or far ahead,
    begins at the key frame before. It can be read by several threads, and be sent to other processes.

    Args:
        path: the file, of a format that PyAV decodes.

    Raises:
        DataError: no video in it, nothing that can be read, or PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        times, keys, self.note = _index(path)
        self._stamps, self._keys = times, keys
        self._lock = threading.Lock()
        self._decoder: _Decoder | None = None

    def __len__(self) -> int:
        return len(self._stamps.values)

    def seconds(self, number: int) -> float:
        """When a frame is shown, in seconds after the first."""
        stamps = self._stamps
        return float((stamps.values[number] - stamps.values[0]) * stamps.unit)

    def frames(self, every: Every) -> list[Frame]:
        """The frames that are taken. every: which."""
        times = [self.seconds(number) for number in range(len(self))]
        return [Frame(self, number, times[number]) for number in every.chosen(times)]

    def read(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame, turned as the file says. Raises DataError where the file is damaged or cut."""
        with self._lock:
            if self._decoder is None:
                self._decoder = _Decoder(self.path)
            stamps = self._stamps.values
            place = bisect_right(self._keys, stamps[number])
            found = self._decoder.frame(stamps[number], self._keys[place - 1] if place else stamps[0])
        if found is None:
            where = f"frame {number} at {self.seconds(number):.3f} s"
            raise DataError(Problem(self.path, f"{where} cannot be decoded: the file is damaged there, or cut"))
        return _pixels(self.path, found)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_decoder")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _decoder=None)


class _Stamps(NamedTuple):
    """values: rising time stamps of all frames. unit: seconds of one."""

    values: array[int]
    unit: Fraction


class _Decoder:
    """A video that is open: frames by their time stamps. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._container = open_container(path)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self._frames: Iterator[Any] = iter(())
        self._kept: dict[int, Any] = {}
        self._last: int | None = None

    def frame(self, stamp: int, key: int) -> Any:
        """The frame of a stamp, None where it cannot be decoded. key: stamp of the key frame at or before it."""
        if stamp in self._kept:
            return self._kept.pop(stamp)
        if self._last is None or self._last >= stamp or key > self._last:
            self._container.seek(key, stream=self._stream, backward=True, any_frame=False)
            self._frames = self._container.decode(self._stream)
            self._kept.clear()
        for found in self._decoded():
            own = found.pts if found.pts is not None else found.dts
            if own is None or found.is_corrupt:
                continue
            self._last = own
            if own == stamp:
                return found
            self._keep(own, found)
            if own > stamp:
                return None
        return None

    def _keep(self, stamp: int, found: Any) -> None:
        self._kept[stamp] = found
        while len(self._kept) > _KEPT:
            del self._kept[min(self._kept)]

    def _decoded(self) -> Iterator[Any]:
        """The frames from here on, to the end, or to a packet that the decoder refuses."""
        import av

        try:
            for frame in self._frames:  # noqa: UP028 - PyAV's generators do not end within `yield from`
                yield frame
        except (EOFError, av.FFmpegError):
            pass
        self._last = None


def open_container(path: Path) -> Any:
    """The file, opened by PyAV. Raises DataError where that is not installed, or finds nothing it knows."""
    try:
        import av
    except ImportError:
        remedy = "pip install 'toolkit-dense[video]'"
        raise DataError(Problem(path, "is a video, and PyAV, which reads those, is not installed", remedy)) from None
    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        message = f"cannot be opened as a video: {error.strerror or error}"
        raise DataError(Problem(path, message, "a file that was cut may have lost its index (moov)")) from None


def video_stream(container: Any) -> Any:
    """The first video of an open file that is no picture of a cover; None where there is none."""
    streams = (one for one in container.streams.video if "attached_pic" not in str(one.disposition).lower())
    return next(streams, None)


def _index(path: Path) -> tuple[_Stamps, array[int], str]:
    """Stamps of all frames and of the key frames, rising, and a sentence on what is missing, or ""."""
    with open_container(path) as container:
        import av

        stream = video_stream(container)
        if stream is None:
            kinds = ", ".join(sorted({one.type for one in container.streams})) or "nothing"
            raise DataError(Problem(path, f"holds no video, but {kinds}"))
        found: dict[int, bool] = {}
        broken = ""
        try:
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and packet.size and not packet.is_discard:
                    found[stamp] = packet.is_keyframe
        except (EOFError, av.FFmpegError) as error:
            broken = f" ({error})"
        unit = Fraction(stream.time_base)
        whole = _said_length(container, stream)
    if not found:
        raise DataError(Problem(path, "holds a video without a single frame", "it may be cut"))
    stamps = _Stamps(array("q", sorted(found)), unit)
    keys = array("q", sorted(stamp for stamp, is_key in found.items() if is_key))
    first, last = stamps.values[0], stamps.values[-1]
    shown = float((last - first) * unit)
    gap = shown / max(1, len(found) - 1)
    note = f"{path}: reading ends after {len(found)} frames{broken}" if broken else ""
    if whole is not None and whole - shown > max(1.0, 5 * gap):
        what = "the file was cut, or only the sound goes on"
        note = f"{path}: its frames end at {shown:.2f} s of the {whole:.2f} s that it says it has: {what}{broken}"
    return stamps, keys, note


def _said_length(container: Any, stream: Any) -> float | None:
    """Seconds of the video as the file's header says them, None where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _pixels(path: Path, frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a decoded frame, turned by whole quarters."""
    quarters, rest = divmod(round(frame.rotation), 90)
    if rest:
        raise DataError(Problem(path, f"is to be turned by {frame.rotation} degrees; quarters are done"))
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels

"""Drawings of a video's frames as a video again, with the sound of the first (PyAV, extra `[video]`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from toolkit.data.images.videos import Frame, open_container
from toolkit.errors import UserError
from toolkit.files import replacing
from toolkit.inference.writers.base import TableRow, Writer
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.progress import tracked
from toolkit.samples import Prediction

log = logging.getLogger(__name__)
_UNIT = Fraction(1, 90000)
"""Seconds of a time stamp in the video that is written."""
_ENCODERS = (("libx264", {"crf": "20", "preset": "veryfast"}), ("mpeg4", {"qscale": "3"}))
_MP4_SOUND = frozenset(("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus"))
"""Codecs of sound that an MP4 file holds; others go into Matroska."""
_GROUND = (30, 30, 34)
VIDEO_FILES = ("overlay.mp4", "overlay.mkv")
"""What the drawings of a video are called, in its folder of results."""


class VideoWriter(Writer):
    """`FILM.mp4/overlay.mp4`, for each video the drawings of its frames, at their times, with its sound as it is.

    Made at the end of the drawings that the format `overlay` left: H.264 (MPEG-4 where PyAV has no encoder of it), a frame
    stands until the next one. Sound that MP4 does not hold makes it `overlay.mkv`.
    """

    suffix: ClassVar[str] = ".mp4"
    takes: ClassVar[tuple[type, ...]] = OverlayWriter.takes
    when_all: ClassVar[bool] = True

    frames: Mapping[str, Frame] = {}
    """The frame of each stem."""

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> dict[str, Any] | None:
        """The video that a frame is of, and its time; None for a picture.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        frame = self.frames.get(stem)
        if frame is None:
            return None
        return {"video": str(frame.video.path.absolute()), "seconds": round(frame.seconds, 6)}

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes a video for each."""
        written = []
        for (place, video), group in groupby(rows, key=lambda row: (row.stem.rpartition("/")[0], row.cells["video"])):
            drawings = [
                _Drawing(row.cells["seconds"], self.folder / f"{row.stem}{OverlayWriter.suffix}") for row in group
            ]
            written.append(write_video(self.folder / place, drawings, Path(video)))
        return written


class _Drawing(NamedTuple):
    """seconds: when it is shown. file: where it lies."""

    seconds: float
    file: Path


def write_video(folder: Path, drawings: Sequence[_Drawing], source: Path) -> Path:
    """Writes drawings as `overlay.mp4`, or .mkv, with the sound of another video; returns its path.

    Args:
        folder: where the file is written; it exists.
        drawings: files of pictures and their times, rising; smaller ones stand at the top left.
        source: the video whose sound is kept; one that is gone has none, which is said.
    """
    import av

    sound = _Sound(source)
    path = folder / VIDEO_FILES[sound.codec not in ("", *_MP4_SOUND)]
    kind = "mp4" if path.suffix == ".mp4" else "matroska"
    size = _even(drawings)
    with replacing(path, durable=False) as part, av.open(str(part), "w", format=kind) as out:
        stream = _video_stream(out, size, drawings)
        track = out.add_stream_from_template(sound.stream) if sound.stream is not None else None
        packets = sound.packets(track)
        waiting = next(packets, None)
        for drawing in tracked(drawings, f"video {folder.name}", len(drawings), "img"):
            while waiting is not None and waiting.pts * waiting.time_base <= drawing.seconds:
                out.mux(waiting)
                waiting = next(packets, None)
            frame = av.VideoFrame.from_ndarray(_padded(drawing.file, size), format="rgb24")
            frame.pts, frame.time_base = round(drawing.seconds / _UNIT), _UNIT
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        while waiting is not None:
            out.mux(waiting)
            waiting = next(packets, None)
    sound.close()
    return path


class _Sound:
    """The first sound of a video, as it is stored. codec: its name, "" without any."""

    def __init__(self, source: Path) -> None:
        self._container: Any = None
        self.stream: Any = None
        try:
            self._container = open_container(source)
        except UserError as error:
            log.warning("the sound is left out: %s", error)
            return
        streams = self._container.streams
        self.stream = streams.audio[0] if streams.audio else None
        videos = streams.video
        self._start = videos[0].start_time * videos[0].time_base if videos and videos[0].start_time else Fraction(0)

    @property
    def codec(self) -> str:
        return "" if self.stream is None else str(self.stream.codec_context.name)

    def packets(self, track: Any) -> Iterator[Any]:
        """Its packets, beginning when the video does. track: the stream of another file that they go to."""
        import av

        if self.stream is None:
            return
        shift = round(self._start / self.stream.time_base)
        try:
            for packet in self._container.demux(self.stream):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, track
                yield packet
        except (EOFError, av.FFmpegError) as error:
            log.warning("the sound ends where the file was cut: %s", error)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()


def _video_stream(out: Any, size: tuple[int, int], drawings: Sequence[_Drawing]) -> Any:
    """The video of a file that is written, (height, width) pixels large."""
    import av

    known = [(name, options) for name, options in _ENCODERS if name in av.codecs_available]
    name, options = known[0]
    shown = drawings[-1].seconds - drawings[0].seconds
    rate = Fraction(round(1000 * (len(drawings) - 1) / shown), 1000) if shown else Fraction(1)
    stream = out.add_stream(name, rate=max(rate, Fraction(1, 1000)), options=options)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = _UNIT if name == "libx264" else Fraction(1, 1000)
    return stream


def _even(drawings: Sequence[_Drawing]) -> tuple[int, int]:
    """The smallest even (height, width) that holds all drawings, as H.264 wants."""
    height = width = 2
    for drawing in drawings:
        with Image.open(drawing.file) as picture:
            width, height = max(width, picture.width), max(height, picture.height)
    return height + height % 2, width + width % 2


def _padded(file: Path, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) uint8 RGB of a drawing at the top left of a dark ground."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    if pixels.shape[:2] == size:
        return pixels
    ground = np.empty((*size, 3), np.uint8)
    ground[:] = _GROUND
    ground[: pixels.shape[0], : pixels.shape[1]] = pixels
    return ground

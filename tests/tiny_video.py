"""Small videos for tests, made by PyAV: each frame has a gray of its own, with a tone beside."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

SIZE = (64, 96)
"""(height, width) of the frames."""


def shade(number: int) -> int:
    """Gray of a frame's upper half."""
    return 20 + 11 * number % 220


def picture(number: int) -> np.ndarray:
    """A frame as it was before it was encoded: gray above, black below, a red strip at the left."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[: SIZE[0] // 2] = shade(number)
    pixels[:, :16] = (200, 30, 30)
    return pixels


def make_video(
    path: Path, times: Sequence[float], *, codec: str = "libx264", sound: bool = True, turned: int = 0, gop: int = 5
) -> Path:
    """A video with a frame at each time, in seconds; skips the test where PyAV or the encoder is missing.

    Args:
        path: the file; its suffix says the container.
        times: seconds, rising.
        codec: name of the encoder.
        sound: whether there is a tone of 440 Hz beside.
        turned: degrees by which players turn it, counterclockwise.
        gop: frames from one key frame to the next.
    """
    av = pytest.importorskip("av", reason="PyAV is not installed")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    unit = Fraction(1, 1000)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=10)
        video.height, video.width = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size, video.codec_context.time_base = gop, unit
        if turned:
            if not hasattr(video, "set_display_rotation"):
                pytest.skip(f"PyAV {av.__version__} cannot write a rotation")
            video.set_display_rotation(turned)
        tone = out.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), unit
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for block in range(int(times[-1] * 8000) // 1024 + 1 if tone is not None else 0):
            wave = 8000 * np.sin((np.arange(1024) + 1024 * block) * 2 * np.pi * 440 / 8000)
            samples = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, 1024 * block, Fraction(1, 8000)
            out.mux(tone.encode(samples))
        if tone is not None:
            out.mux(tone.encode(None))
    return path

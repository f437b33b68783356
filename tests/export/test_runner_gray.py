"""`run.py` makes the toolkit's gray of coloured files, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.images.picture import Picture
from toolkit.export.fresh_side import load_runner
from toolkit.export.runner import runner_of

NOTES = {"value_range": None, "export": {"raw": False, "input": {"channels": 1, "height": None, "width": None}}}
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
KINDS = {
    "colour.png": PIXELS, "colour.jpg": PIXELS, "colour.bmp": PIXELS, "colour.tif": PIXELS, "colour.webp": PIXELS,
    "gray.png": PIXELS[..., 0], "gray.jpg": PIXELS[..., 0], "clear.png": np.dstack([PIXELS, PIXELS[..., :1]]),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_gray_is_that_of_the_model(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(KINDS[name]).save(path)
    (tmp_path / "run.py").write_text(runner_of("a.pt2", "torch", gray=True))
    assert (load_runner(str(tmp_path / "run.py")).read(path, NOTES)[0] == Picture(path, name).read(1)).all()


def test_a_runner_of_colours_makes_no_gray() -> None:
    assert "gray(" not in runner_of("a.onnx", "onnx")

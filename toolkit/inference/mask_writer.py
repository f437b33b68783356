"""Label maps as indexed PNG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from toolkit.inference.writer import Writer, write_whole
from toolkit.samples import LabelMap, Prediction


class MaskWriter(Writer):
    """`<stem>.png`: an 8-bit palette PNG (mode P); pixel values are class ids, the palette has their colours."""

    suffix: ClassVar[str] = ".png"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    by_default: ClassVar[bool] = True

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the label map."""
        if not isinstance(prediction, LabelMap):
            raise TypeError(f"a mask is written of a LabelMap, not of {type(prediction).__name__}")
        return [write_whole(self.path_of(stem), encode_mask(prediction.labels.numpy(), self.colors))]


def encode_mask(labels: np.ndarray, colors: np.ndarray) -> bytes:
    """An (H, W) uint8 label map as the bytes of a palette PNG. colors: (256, 3) uint8."""
    picture = Image.fromarray(labels)
    picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)  # label maps are mostly runs: more effort gains little
    return buffer.getvalue()

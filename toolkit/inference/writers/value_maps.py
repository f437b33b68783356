"""Maps of values as files of numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np

from toolkit.inference.writers.base import Writer, write_whole
from toolkit.samples import Prediction, ValueMap


class ValuesWriter(Writer):
    """`<stem>_values.npy`: (H, W) float32, the values themselves in the unit of the training data (`numpy.load`)."""

    suffix: ClassVar[str] = "_values.npy"
    takes: ClassVar[tuple[type, ...]] = (ValueMap,)
    by_default: ClassVar[tuple[type, ...]] = (ValueMap,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        if not isinstance(prediction, ValueMap):
            raise TypeError(f"values are written of a ValueMap, not of {type(prediction).__name__}")
        buffer = io.BytesIO()
        np.save(buffer, prediction.numpy().astype(np.float32), allow_pickle=False)
        return [write_whole(self.path_of(stem), buffer.getvalue())]

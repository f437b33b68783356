"""The probability of every class at every pixel, as numbers of 16 or of 8 bits."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from PIL import Image

from toolkit.files import replacing
from toolkit.inference.writers.base import Writer
from toolkit.samples import LabelMap, Prediction


class ProbabilitiesWriter(Writer):
    """`<stem>_probabilities.npz`: `probabilities` (K, H, W) float16, 0..1, and `classes`, their names (`numpy.load`).

    Each is the probability rounded to float16: by at most 1/4096, near 0 by less. Of Monte-Carlo samples the mean.
    """

    suffix: ClassVar[str] = "_probabilities.npz"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    needs: ClassVar[tuple[str, ...]] = ("probabilities",)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file, a piece at a time.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with its probabilities, in the picture's pixels.
        """
        values = probabilities_of(prediction)
        path = self.path_of(stem)
        arrays = {"probabilities": values, "classes": np.array(self.classes.names)}
        with replacing(path, durable=False) as part, part.open("wb") as file:
            write_npz(file, arrays)
        return [path]


class Probabilities8Writer(Writer):
    """`<stem>_probabilities.tif`: a page of 8-bit gray for each class in their order; gray g means g / 255.

    Rounded, so by at most 1/510. The first page's ImageDescription is JSON: the classes, and this rule.
    """

    suffix: ClassVar[str] = "_probabilities.tif"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    needs: ClassVar[tuple[str, ...]] = ("probabilities",)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the file.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with its probabilities, in the picture's pixels.
        """
        first, *others = (Image.fromarray(to_bytes(plane)) for plane in probabilities_of(prediction))
        said = {"classes": list(self.classes.names), "probability": "gray / 255, rounded: by at most 1/510"}
        path = self.path_of(stem)
        with replacing(path, durable=False) as part, part.open("w+b") as file:  # TIFF's table of pages is read again
            first.save(
                file, "TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate",
                description=json.dumps(said),
            )  # fmt: skip
        return [path]


def probabilities_of(prediction: Prediction) -> np.ndarray:
    """(K, H, W) float16 of a label map that was asked for them; TypeError for what has none."""
    if not isinstance(prediction, LabelMap) or prediction.probabilities is None:
        raise TypeError(f"probabilities are written of a LabelMap that has them, not of {type(prediction).__name__}")
    return prediction.probabilities.numpy()


def to_bytes(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of any shape as uint8: the nearest g of g / 255.

    >>> to_bytes(np.array([0, 0.5, 1], np.float16)).tolist()
    [0, 128, 255]
    """
    return np.rint(probabilities.astype(np.float32) * 255).astype(np.uint8)


def write_npz(file: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays as `numpy.load` reads them, compressed fast and with the same bytes at any hour.

    Args:
        file: an open file that can be sought.
        arrays: each under its name; of plain numbers or text.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, array in arrays.items():
            with packed.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)

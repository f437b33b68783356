"""How unsure an answer is at each pixel: as numbers in 16-bit pictures, and as heat over the picture.

Entropy says how far the probabilities are spread over the classes: 0 bit for one class alone, 1 bit for two alike. Mutual
information is the part of it on which Monte-Carlo samples disagree, which more training data can lower; the rest lies in the
pictures (Gal, "Uncertainty in Deep Learning", 2016, section 3.3; Kendall and Gal 2017, arXiv 1703.04977).
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from toolkit import drawing
from toolkit.errors import ConfigError, Problem
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.inference.writers.overlay import encode_jpeg
from toolkit.samples import LabelMap, Prediction

A_BIT = 8192
"""Number in a 16-bit picture that means one bit: 255 classes alike have 7.994 bits, 65488."""
_DEVIATION_SCALE = 0.5
"""Standard deviation that is white: no number between 0 and 1 can deviate more."""


class _BitsWriter(Writer):
    """A map in bits as a 16-bit gray PNG: number / 8192 bits, so by at most 1/16384 bit; its text `unit` says so.

    measure: the element of a `LabelMap` that is written.
    """

    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    measure: ClassVar[str]

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with the measure, in the picture's pixels.
        """
        bits = _measured(prediction, self.measure).numpy()
        said = PngInfo()
        said.add_text("unit", f"{self.measure.replace('_', ' ')}: number / {A_BIT} bits")
        buffer = io.BytesIO()
        Image.fromarray(bits_as_numbers(bits)).save(buffer, "PNG", compress_level=1, pnginfo=said)
        return [write_whole(self.path_of(stem), buffer.getvalue())]


class UncertaintyWriter(_BitsWriter):
    """`<stem>_uncertainty.png`: the entropy of the class probabilities, a 16-bit gray PNG; number / 8192 is bits.

    Of Monte-Carlo samples it is the entropy of their mean, of a single pass that of its softmax.
    """

    suffix: ClassVar[str] = "_uncertainty.png"
    measure: ClassVar[str] = "entropy"
    needs: ClassVar[tuple[str, ...]] = ("entropy",)


class InformationWriter(_BitsWriter):
    """`<stem>_information.png`: the mutual information of class and Monte-Carlo sample, 16-bit gray; number / 8192 is bits.

    Entropy of the samples' mean less the mean of their entropies: what the samples disagree about.
    """

    suffix: ClassVar[str] = "_information.png"
    measure: ClassVar[str] = "mutual_information"
    needs: ClassVar[tuple[str, ...]] = ("entropy",)
    of_samples: ClassVar[bool] = True


class HeatWriter(Writer):
    """`<stem>_heat.jpg`: the picture in gray below the entropy in colour, from 0 to what K classes alike have, log2 K bits.

    The scale is the same for all pictures of a model, so they can be compared.
    """

    suffix: ClassVar[str] = "_heat.jpg"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    needs: ClassVar[tuple[str, ...]] = ("entropy",)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the drawing.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with its entropy, in the picture's pixels.
        """
        most = math.log2(max(2, len(self.classes.names)))
        drawn = drawing.draw_heat(image, _measured(prediction, "entropy").numpy(), most, "bit of entropy")
        return [write_whole(self.path_of(stem), encode_jpeg(drawn))]


class DeviationWriter(Writer):
    """`<stem>_deviation.png`: 8-bit gray, 0 sure to 255, of Monte-Carlo samples.

    Gray g means a standard deviation of g / 255 * 0.5: the square root of the variance of the class probabilities over
    the samples, averaged over the classes (`LabelMap.uncertainty`, 0 to 0.25). The scale is the same for all pictures,
    so they can be compared.
    """

    suffix: ClassVar[str] = "_deviation.png"
    takes: ClassVar[tuple[type, ...]] = (LabelMap,)
    of_samples: ClassVar[bool] = True

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the map. Raises ConfigError for a prediction of a single pass, which has none.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: label map with its variance, in the picture's pixels.
        """
        variance = _measured(prediction, "uncertainty").numpy()
        deviation = np.sqrt(np.maximum(variance, 0)) / _DEVIATION_SCALE
        gray = np.rint(255 * np.minimum(deviation, 1)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(gray).save(buffer, "PNG", compress_level=1)
        return [write_whole(self.path_of(stem), buffer.getvalue())]


def bits_as_numbers(bits: np.ndarray) -> np.ndarray:
    """Maps of bits as uint16: the nearest n of n / 8192.

    >>> bits_as_numbers(np.array([0, 1, 7.994])).tolist()
    [0, 8192, 65487]
    """
    return np.rint(np.clip(bits.astype(np.float64) * A_BIT, 0, 65535)).astype(np.uint16)


def refuse_one_pass(names: list[str]) -> ConfigError:
    """What is said of formats that need several samples, of a model that predicts in one pass."""
    message = "this model predicts in one pass, and this is how much several samples of it differ"
    remedy = "use a model with dropout and model.samples above 1; uncertainty is written of one pass too"
    return ConfigError(Problem(f"--format {','.join(names)}", message, remedy))


_FORMATS = {"mutual_information": "information", "uncertainty": "deviation"}
"""Measures that need several samples, and their formats."""


def _measured(prediction: Prediction, measure: str) -> Tensor:
    """A measure of a label map. Raises ConfigError where a single pass has none."""
    if not isinstance(prediction, LabelMap):
        raise TypeError(f"uncertainty is written of a LabelMap, not of {type(prediction).__name__}")
    found: Tensor | None = getattr(prediction, measure)
    if found is None and measure in _FORMATS:
        raise refuse_one_pass([_FORMATS[measure]])
    if found is None:
        raise TypeError(f"the label map has no {measure}; ask for it before predicting")
    return found

"""The output formats of `predict` by name, and all the chosen ones at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from toolkit.errors import ConfigError, Problem, UserError, did_you_mean
from toolkit.inference.writers.base import Writer
from toolkit.inference.writers.detections import CocoWriter, CsvWriter, YoloWriter
from toolkit.inference.writers.label_maps import MaskWriter, UncertaintyWriter
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.labels import Color
from toolkit.samples import Prediction

WRITERS: dict[str, type[Writer]] = {
    "mask": MaskWriter,
    "overlay": OverlayWriter,
    "uncertainty": UncertaintyWriter,
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "csv": CsvWriter,
}
"""A new format is a subclass of `Writer` in a file of its own, and a line here."""


class Outputs:
    """The writers of one run.

    Raises ConfigError, naming all of them, for unknown formats.

    Args:
        folder: folder that the files go to.
        formats: names in `WRITERS`; None writes those that are `by_default` and take what the model predicts.
        classes: names of the labels 0..K-1, those of the model.
        palette: (r, g, b) of each class, those of the model.
        inputs: files that must not be overwritten.
        category_ids: ids of the labels' categories, for COCO results; None counts from 1.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str] | None,
        classes: Sequence[str],
        palette: Sequence[Color] = (),
        inputs: Iterable[Path] = (),
        category_ids: Sequence[int] | None = None,
    ) -> None:
        self.formats = None if formats is None else list(dict.fromkeys(formats))
        unknown = [name for name in self.formats or () if name not in WRITERS]
        if unknown:
            raise ConfigError(
                Problem("--format", f"no format is called '{name}'", did_you_mean(name, WRITERS)) for name in unknown
            )
        self.writers = {name: WRITERS[name](folder, classes, palette) for name in self.formats or WRITERS}
        for writer in self.writers.values():
            if isinstance(writer, CocoWriter) and category_ids is not None:
                writer.category_ids = tuple(category_ids)
        self._inputs = {path.absolute() for path in inputs}

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """One image's files (`output_stems` gives the stem); the files written.

        Raises ConfigError when a format does not take this kind of prediction, UserError when a file cannot be written
        or would replace an input.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, in the picture's pixels.
        """
        written = []
        for writer in self._writers_for(prediction):
            path = writer.path_of(stem)
            if path.absolute() in self._inputs:
                raise UserError(Problem(path, "would replace an input picture", "choose another folder (--out)"))
            written += writer.add(stem, image, prediction)
        return written

    def finish(self) -> list[Path]:
        """Files that hold all images, once every image was added; the files written."""
        return [path for writer in self.writers.values() for path in writer.finish()]

    def _writers_for(self, prediction: Prediction) -> list[Writer]:
        fitting = {name: writer for name, writer in self.writers.items() if isinstance(prediction, writer.takes)}
        if self.formats is None:
            return [writer for writer in fitting.values() if writer.by_default]
        wrong = [name for name in self.formats if name not in fitting]
        if wrong:
            kind = type(prediction).__name__
            possible = ", ".join(
                name for name, cls in WRITERS.items() if kind in {taken.__name__ for taken in cls.takes}
            )
            advice = f"formats that do: {possible}" if possible else "no format does"
            raise ConfigError(
                Problem("--format", f"'{name}' does not take what this model predicts ({kind})", advice)
                for name in wrong
            )
        return list(fitting.values())

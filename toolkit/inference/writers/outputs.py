"""The output formats of `predict` by name, and all the chosen ones at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import ConfigError, Problem, UserError, did_you_mean
from toolkit.inference.writers.base import TableRow, Writer
from toolkit.inference.writers.detections import (
    CocoWriter,
    LabelmeWriter,
    VocWriter,
    YoloScoresWriter,
    YoloWriter,
)
from toolkit.inference.writers.geotiff import GeotiffWriter
from toolkit.inference.writers.label_maps import MaskWriter
from toolkit.inference.writers.names import output_stems
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.inference.writers.polygons import GeojsonWriter
from toolkit.inference.writers.probabilities import Probabilities8Writer, ProbabilitiesWriter
from toolkit.inference.writers.summary import SummaryWriter
from toolkit.inference.writers.tables import CsvWriter, JsonWriter
from toolkit.inference.writers.uncertainty import DeviationWriter, HeatWriter, InformationWriter, UncertaintyWriter
from toolkit.inference.writers.value_maps import ValuesPngWriter, ValuesTiffWriter, ValuesWriter
from toolkit.inference.writers.video import VideoWriter
from toolkit.labels import Color
from toolkit.samples import LabelMap, Prediction

WRITERS: dict[str, type[Writer]] = {
    "mask": MaskWriter,
    "overlay": OverlayWriter,
    "video": VideoWriter,
    "probabilities": ProbabilitiesWriter,
    "probabilities8": Probabilities8Writer,
    "uncertainty": UncertaintyWriter,
    "information": InformationWriter,
    "deviation": DeviationWriter,
    "heat": HeatWriter,
    "values": ValuesWriter,
    "values_png": ValuesPngWriter,
    "values_tiff": ValuesTiffWriter,
    "geotiff": GeotiffWriter,
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "yolo_scores": YoloScoresWriter,
    "voc": VocWriter,
    "labelme": LabelmeWriter,
    "geojson": GeojsonWriter,
    "csv": CsvWriter,
    "summary": SummaryWriter,
    "json": JsonWriter,
}
"""A new format is a subclass of `Writer` in a file of its own, and a line here."""


class Written(NamedTuple):
    """What the formats made of one picture.

    Args:
        files: paths of the files that were written.
        rows: what the files for all pictures will hold of it, by format; formats that need nothing are left out.
    """

    files: list[Path]
    rows: dict[str, Any]


class Outputs:
    """The writers of one run; it keeps nothing of the pictures.

    Args:
        folder: where files go; made by whoever writes the first.
        formats: names in `WRITERS`; None writes those that are `by_default` for what the model predicts.
        classes: names of the labels 0..K-1, as of the model.
        palette: (r, g, b) of each class, or () for default colours.
        inputs: files that must not be overwritten, asked for when the first file of a result is there already.
        ids: number of each class in the training data's files, for COCO results; () counts from 1.

    Raises:
        ConfigError: unknown formats, all of them named.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str] | None,
        classes: Sequence[str],
        palette: Sequence[Color] = (),
        inputs: Callable[[], Iterable[Path]] = tuple,
        ids: Sequence[int] = (),
    ) -> None:
        self.formats = None if formats is None else list(dict.fromkeys(formats))
        if "video" in (self.formats or ()) and "overlay" not in (self.formats or ()):
            self.formats = [*(self.formats or ()), "overlay"]  # which it is made of
        unknown = [name for name in self.formats or () if name not in WRITERS]
        if unknown:
            raise ConfigError(
                Problem("--format", f"no format is called '{name}'", did_you_mean(name, WRITERS)) for name in unknown
            )
        if {"yolo", "yolo_scores"} <= set(self.formats or ()):
            message = "yolo and yolo_scores write the same files, without and with the score"
            raise ConfigError(Problem("--format", message, "choose one of the two"))
        self.writers = {name: WRITERS[name](folder, classes, palette, ids) for name in self.formats or WRITERS}
        self._inputs = inputs

    @cached_property
    def _taken(self) -> frozenset[Path]:
        return frozenset(path.absolute() for path in self._inputs())

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> Written:
        """Writes one image's files, as many as can be.

        Args:
            stem: output path of the image below the folder, without suffix (`stems_of`).
            image: (H, W, C) uint8 as it was read, in the prediction's pixels.
            prediction: what the model answered for it.

        Raises:
            ConfigError: a format does not take this kind of prediction.
            UserError: a file cannot be written, or would replace an input; the other formats are written all the same.
        """
        files: list[Path] = []
        rows: dict[str, Any] = {}
        problems: list[Problem] = []
        cause: BaseException | None = None
        for name, writer in self._writers_for(type(prediction)).items():
            path = writer.path_of(stem)
            try:
                self.refuse_replacing(path)
                files += writer.add(stem, image, prediction)
            except ConfigError:
                raise
            except UserError as error:
                problems += error.problems
                cause = error.__cause__ or cause
            else:
                found = writer.rows(stem, image, prediction)
                if found is not None:
                    rows[name] = found
        if problems:
            raise UserError(problems) from cause
        return Written(files, rows)

    def refuse_replacing(self, path: Path) -> None:
        """Raises UserError when a file that is to be written is one of the inputs."""
        if path.exists() and path.absolute() in self._taken:
            raise UserError(Problem(path, "would replace an input picture", "choose another folder (--out)"))

    def finish(self, rows: Callable[[str], Iterator[TableRow]], *, whole: bool = True) -> list[Path]:
        """Writes the files that hold all images; returns their paths.

        Args:
            rows: called with the name of a format, goes through what `add` gave for it, in the order of the pictures.
            whole: whether all pictures are done; else files that wait for that are left.
        """
        written: list[Path] = []
        for name, writer in self.writers.items():
            if writer.when_all and not whole:
                continue
            found = rows(name)
            first = next(found, None)
            if first is not None:
                written += writer.finish(chain([first], found))
        return written

    def refuse_unfitting(self, kind: type[Prediction]) -> None:
        """Raises ConfigError when a format does not take such predictions, or none would be written of them."""
        if not self._writers_for(kind):
            raise ConfigError(Problem("--format", f"nothing is written of {kind.__name__} by default", _possible(kind)))

    def used_for(self, kind: type[Prediction]) -> list[str]:
        """Names of the formats that such predictions are written in."""
        return list(self._writers_for(kind))

    def needs_for(self, kind: type[Prediction]) -> set[str]:
        """What such predictions must carry beside their labels for what is written of them (`Writer.needs`)."""
        return {need for writer in self._writers_for(kind).values() for need in writer.needs if kind is LabelMap}

    def _writers_for(self, kind: type) -> dict[str, Writer]:
        if self.formats is None:
            return {name: writer for name, writer in self.writers.items() if kind in writer.by_default}
        wrong = [name for name in self.formats if kind not in self.writers[name].takes]
        if wrong:
            raise ConfigError(
                Problem(
                    "--format", f"'{name}' does not take what this model predicts ({kind.__name__})", _possible(kind)
                )
                for name in wrong
            )
        return self.writers


def _possible(kind: type) -> str:
    names = [name for name, writer in WRITERS.items() if kind in writer.takes]
    return f"formats that do: {', '.join(names)}" if names else "no format does"


def stems_of(names: Sequence[str]) -> list[str]:
    """`output_stems` for the formats there are, whichever are chosen: a later run may choose others."""
    endings = [writer.suffix for writer in WRITERS.values()]
    reserved = {file.partition(".")[0] for writer in WRITERS.values() for file in writer.files}
    return output_stems(names, endings, reserved)

"""What every output format of `predict` shares: files of each picture, files for all of them, and that they appear whole."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from toolkit.drawing import full_palette
from toolkit.files import replacing
from toolkit.labels import ClassTable, Color
from toolkit.samples import Prediction


class TableRow(NamedTuple):
    """What the file for all pictures holds of one of them.

    Args:
        number: of the picture in the whole listing, from 1 on.
        stem: output path of the picture below the folder, without suffix.
        cells: what `Writer.rows` gave for it.
    """

    number: int
    stem: str
    cells: Any


class Writer(ABC):
    """One output format: `add` and `rows` for every picture, `finish` when all are done.

    A writer keeps nothing between two pictures: what a file for all of them needs travels as `rows` through the journal,
    so that a job of a million pictures needs no memory for them and can be killed and resumed.

    suffix: what follows the input's stem in the name of a file. takes: kinds of predictions. by_default: those of them
    that it is written for when no format is asked for. files: names of the files that hold all images. needs: what label
    maps do not carry unless asked, "scores", "probabilities" or "entropy" (`Predictor.ask`). of_samples: whether a model that
    predicts in one pass has nothing to write. when_all: whether `finish` waits until every picture is done, not for a job
    that is stopped.
    numbers_classes: whether files hold the numbers of classes beside, or without, their names.

    Args:
        folder: folder that files go to; sub-folders as in the inputs.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, or () for default colours.
        ids: number of each class in the data's own files; () where they have none.
    """

    suffix: ClassVar[str]
    takes: ClassVar[tuple[type, ...]]
    by_default: ClassVar[tuple[type, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    of_samples: ClassVar[bool] = False
    when_all: ClassVar[bool] = False
    numbers_classes: ClassVar[bool] = False
    values: np.ndarray | None = None
    """(256,) number 0..65535 that stands in a file for each label of a label map; None: the label itself."""

    def __init__(
        self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = (), ids: Sequence[int] = ()
    ) -> None:
        self.folder = Path(folder)
        self.classes = ClassTable(tuple(classes), tuple(palette), tuple(ids))
        self.colors = full_palette(palette, len(classes))

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the files of one picture; returns their paths.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 as it was read, in the prediction's pixels.
            prediction: what the model answered, of a kind in `takes`.
        """
        return []

    def rows(self, stem: str, image: np.ndarray, prediction: Prediction) -> Any:
        """What `finish` will need of one picture, of JSON's kinds; None where it needs nothing.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 as it was read, in the prediction's pixels.
            prediction: what the model answered, of a kind in `takes`.
        """
        return None

    def finish(self, rows: Iterable[TableRow]) -> list[Path]:
        """Writes the files that hold all pictures; returns their paths. rows: of the pictures in order, one at least."""
        return []

    def path_of(self, stem: str) -> Path:
        """The file of a stem in this format."""
        return self.folder / f"{stem}{self.suffix}"


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file so that it is there complete or not at all; folders are made. Raises UserError when it cannot be."""
    with replacing(path, durable=False) as part:
        part.write_bytes(data)
    return path


def write_lines(path: Path, pieces: Iterable[str]) -> Path:
    """Writes a text piece by piece so that the file is there complete or not at all. Raises UserError when it cannot be."""
    with replacing(path, durable=False) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pieces)
    return path


def json_list(entries: Iterable[str]) -> Iterator[str]:
    r"""The pieces of a JSON list with an entry a line.

    >>> "".join(json_list(["1", "2"])), "".join(json_list([]))
    ('[1,\n2]\n', '[]\n')
    """
    before = "["
    for entry in entries:
        yield before + entry
        before = ",\n"
    yield "[]\n" if before == "[" else "]\n"

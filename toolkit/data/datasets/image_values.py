"""Image regression: a table with one image a row and its numbers in columns."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.bounds import PositiveInt
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.formats.pairs import existing_folder, name_in
from toolkit.data.images.read import read_image
from toolkit.data.images.traits import unread_pages
from toolkit.errors import DataError, Place, Problem, did_you_mean, missing_path
from toolkit.samples import Sample


class Row(NamedTuple):
    """An image and its numbers, (K,) float32, NaN where the table has none."""

    path: Path
    values: np.ndarray


@DATASETS.register("image_values")
class ImageValuesTable(Dataset):
    """Images and numbers from a CSV file whose first row names its columns, in the file's order.

    An empty cell or `nan` is an unknown value, which counts neither in a loss nor in a metric.

        ROOT/values.csv   file,age,height
                          faces/001.jpg,34,1.78
        ROOT/faces/001.jpg

    Args:
        classes: names of the values to predict, which are columns of the table.
        root: the data set's folder, which all other paths are relative to.
        table: the CSV file, relative to root, in UTF-8 with commas.
        file_column: name of the column that holds the images' paths, relative to `images`.
        images: folder that the paths in the table start from, relative to root.
        channels: how images are read: 3 for RGB, 1 for gray, or the number of their bands.

    Raises:
        DataError: with every missing column or image, and every cell that is no number.
    """

    def __init__(
        self,
        classes: list[str],
        root: str,
        table: str = "values.csv",
        file_column: str = "file",
        images: str = "",
        channels: PositiveInt = 3,
    ) -> None:
        self.classes = tuple(classes)
        self.channels = channels
        self.root = existing_folder(root)
        self.rows = tuple(_read(self.root / table, self.root / images, file_column, self.classes))
        self.notes = tuple(unread_pages(row.path for row in self.rows))

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = self.rows[index]
        image = read_image(row.path, self.channels, self.value_range)
        return Sample(image, name_in(self.root, row.path), index, image.shape[:2], image_values=row.values.copy())

    def files(self, index: int) -> tuple[Path, ...]:
        """The image. (Its numbers were read from the table when the data set was made.)"""
        return (self.rows[index].path,)

    def describe(self) -> str:
        """The number of images, the names of their values, and where they are."""
        return f"{len(self)} images with {', '.join(self.classes)} in {self.root}"


def _read(table: Path, images: Path, file_column: str, names: tuple[str, ...]) -> list[Row]:
    """Rows of the table. Raises DataError with all problems."""
    if not table.is_file():
        raise DataError(missing_path("table", table))
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = list(reader.fieldnames or [])
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(Problem(table, f"is no CSV file in UTF-8 ({error})")) from None
    missing = [name for name in (file_column, *names) if name not in header]
    if missing:
        where = Place(str(table), 1)
        raise DataError([Problem(where, f"has no column '{name}'", did_you_mean(name, header)) for name in missing])
    problems: list[Problem] = []
    rows = [_row(Place(str(table), number), line, images, file_column, names, problems) for number, line in lines]
    if not rows:
        problems.append(Problem(table, "has no rows"))
    if problems:
        raise DataError(problems)
    return rows


def _row(
    where: Place,
    line: dict[str, str | None],
    images: Path,
    file_column: str,
    names: tuple[str, ...],
    problems: list[Problem],
) -> Row:
    """One row; what is wrong with it is added to `problems`."""
    path = images / (line[file_column] or "")
    if not path.is_file():
        problems.append(missing_path("image", path, where))
    values = np.full(len(names), np.nan, np.float32)
    for i, name in enumerate(names):
        text = (line[name] or "").strip()
        try:
            values[i] = float(text) if text else np.nan
        except ValueError:
            problems.append(Problem(where, f"column '{name}' must hold a number, but holds '{text}'"))
    if np.isinf(values).any():
        problems.append(Problem(where, "holds an infinite number", "leave unknown values empty"))
    return Row(path, values)

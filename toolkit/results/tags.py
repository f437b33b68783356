"""What images are tagged with (day or night, scanner, site), from a table, and the numbers of each value alone."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.contracts import Evaluator
from toolkit.errors import DataError, Problem, listed, missing_path
from toolkit.results.record import Record

UNTAGGED = ""
"""Value of an image that a table says nothing of; it is in no slice."""


class Tags(NamedTuple):
    """A table of tags.

    Args:
        path: the CSV file, for messages about it.
        names: names of the tags: the columns after the first.
        values: the values of each image, by the name as the table writes it.
    """

    path: Path
    names: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]

    def of(self, images: Sequence[str], find: Callable[[str], int | None]) -> dict[str, tuple[str, ...]]:
        """{tag: its value for each image, `UNTAGGED` where the table has none}.

        Args:
            images: names of the images, relative to the data set's root.
            find: the place among them that a name in the table means, or None.

        Raises DataError for a table that names none of them, and for two different rows of one image.
        """
        found: dict[int, tuple[str, ...]] = {}
        twice = []
        for written, values in self.values.items():
            place = find(written)
            if place is not None and found.setdefault(place, values) != values:
                twice.append(written)
        if twice:
            raise DataError(Problem(self.path, f"tags images twice, each time otherwise: {listed(twice, 5)}"))
        if not found:
            message = f"names none of the {len(images)} images; its first is {next(iter(self.values), 'none')}"
            remedy = f"wanted names such as {images[0]} in the first column" if images else ""
            raise DataError(Problem(self.path, message, remedy))
        empty = (UNTAGGED,) * len(self.names)
        rows = [found.get(place, empty) for place in range(len(images))]
        return {name: tuple(row[column] for row in rows) for column, name in enumerate(self.names)}


def read_tags(path: str | Path) -> Tags:
    """A CSV file in UTF-8 with a first row of names: the image, then a column for each tag.

    Raises DataError when it is missing, no such table, or has rows of another length.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(missing_path("table of tags", path))
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text("utf-8-sig").splitlines())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(Problem(path, f"is no CSV file in UTF-8: {error}")) from None
    rows = [row for row in rows if any(row)]
    if len(rows) < 2 or len(rows[0]) < 2:
        message = "wanted a first row with the name of the image's column and those of the tags, then a row an image"
        raise DataError(Problem(path, message, "for example: image,weather"))
    header = rows[0][1:]
    if len(set(header)) < len(header) or not all(header):
        raise DataError(Problem(path, f"its tags need a name each, found {', '.join(map(repr, header))}"))
    wrong = [row[0] for row in rows[1:] if len(row) != len(rows[0])]
    if wrong:
        message = f"rows of another length than the first, which has {len(rows[0])} columns: {listed(wrong, 5)}"
        raise DataError(Problem(path, message))
    values: dict[str, tuple[str, ...]] = {}
    for row in rows[1:]:
        if values.setdefault(row[0], tuple(row[1:])) != tuple(row[1:]):
            raise DataError(Problem(path, f"has two different rows of {row[0]}"))
    return Tags(path, tuple(header), values)


def slices(record: Record, makers: Sequence[Callable[[], Evaluator]]) -> dict[str, Any]:
    """The section `slices`: {tag: {value: {"images", "groups", "metrics": {name: number}}}}, values sorted.

    Args:
        record: what an evaluation counted, with tags.
        makers: each gives a fresh evaluator, of those that made the record's arrays.
    """
    found: dict[str, Any] = {}
    for tag, values in record.tags.items():
        by_value = found[tag] = {}
        for value in sorted(set(values) - {UNTAGGED}):
            part = record.take([place for place, own in enumerate(values) if own == value])
            metrics: dict[str, float | None] = {}
            for make in makers:
                evaluator = make()
                evaluator.merge(part.arrays)
                metrics |= evaluator.compute()
            by_value[value] = {"images": len(part), "groups": len(set(part.groups)), "metrics": metrics}
    return found

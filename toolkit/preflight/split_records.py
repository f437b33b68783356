"""A split as a check sees it: its data set, what was wrong while that was made, and a record of every sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import Fault
from toolkit.data.formats.pairs import name_in
from toolkit.preflight.sample_record import SampleRecord

SHOWN = 5
"""Files of one finding that are named in its message."""


class SplitRecords(NamedTuple):
    """name: "train", "val", "test". faults: of samples that the data set was made without. records: in the data set's
    order. skipping: bad samples are left out, and said, but stop nothing.
    """

    name: str
    dataset: Dataset
    faults: Sequence[Fault]
    records: Sequence[SampleRecord]
    skipping: bool = False

    @property
    def where(self) -> str:
        """Its place in a config, for a problem of several files."""
        return f"data.{self.name}"

    def image(self, index: int) -> str:
        """The absolute path of a sample's image, or its name where the data set does not show its files."""
        files = self.dataset.files(index)
        return str(files[0].absolute()) if files else self.records[index].name

    def short(self, path: str) -> str:
        """A path as it is told: relative to the data set's root."""
        return name_in(self.dataset.root.absolute(), Path(path).absolute())


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first names, and how many more there are: `a, b and 3 more`."""
    names = list(names)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def count(number: int, what: str) -> str:
    """A number and a word in the right number: `1 image`, `2 images`."""
    return f"{number} {what}" + ("" if number == 1 else "es" if what.endswith(("x", "s")) else "s")

"""Lists of splits: what is written is read again, and CSV files of other people are understood or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.data.splits.lists import positions, read_lists, write_lists
from toolkit.errors import DataError

NAMES = ["images/a.png", "images/b, c.png", "images/d.png", "images/e.png"]
PARTS = {"train": NAMES[:2], "val": NAMES[2:3], "test": NAMES[3:]}


def test_lists_and_table_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_lists(tmp_path, PARTS)
    for place in (tmp_path, tmp_path / "splits.csv"):
        assert read_lists(place) == PARTS
        assert positions(read_lists(place), NAMES, place)[0] == {"train": [0, 1], "val": [2], "test": [3]}


@pytest.mark.parametrize(
    "text",
    [
        "filename,label,split\na.png,3,training\nd,1,VALID\n",
        "Set,Image\ntrain,images/a.png\nvalidation,images/d.png\n",
        "a.png,train\nd.png,val\n",
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    found, notes = positions(read_lists(tmp_path / "table.csv"), NAMES, tmp_path)
    assert found == {"train": [0], "val": [2]}
    assert any("images/e.png" in note for note in notes)  # in no list: left out, and said


@pytest.mark.parametrize(
    "text", ["image,split\na.png,fold3\n", "image,label\na.png,cat\n", "image,split\nz.png,train\n", "", "image\n",
             "image,split\na.png,train\na.png,val\n"]
)  # fmt: skip
def test_what_is_no_division_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError):
        positions(read_lists(tmp_path / "table.csv"), NAMES, tmp_path)

"""Which pictures a user means: lists, columns, folders with other things in them; all in order, none in silence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.data.images.pictures import find_pictures
from toolkit.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/x.png", "b/a.PNG", "a-b.png", "a/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_a_folder_is_sorted_by_the_parts_of_its_paths_and_tells_what_it_passes_over(folder: Path) -> None:
    for name in ("notes.txt", "b/more.txt", "scan.psd", "a/none"):
        (folder / name).touch()
    found = find_pictures(folder)
    assert [picture.name for picture in found] == ["a/z.png", "a-b.png", "b/a.PNG", "b/x.png"] == list(found.names)
    assert [found[place] for place in range(-4, 4)] == [*found, *found]
    assert found[1:3] == list(found)[1:3]
    with pytest.raises(IndexError):
        found[4]
    (unread, others) = found.notes
    assert "scan.psd" in unread
    assert others == "files that are no pictures were not read: 2 .txt, 1 without extension"


def test_a_list_keeps_its_order_and_a_file_named_twice_is_taken_once(folder: Path) -> None:
    (folder / "list.txt").write_text("# chosen\nb/x.png\n\na/z.png\n")
    found = find_pictures([f"@{folder / 'list.txt'}", folder])
    assert [picture.name for picture in found] == ["b/x.png", "a/z.png", "a-b.png", "b/a.PNG"]
    assert list(found.names) == [picture.name for picture in found]


def test_a_column_of_a_csv_file(folder: Path) -> None:
    (folder / "table.csv").write_text("id,photo\n1,b/x.png\n2,a-b.png\n")
    found = find_pictures(f"@{folder / 'table.csv'}:photo")
    assert [picture.name for picture in found] == ["b/x.png", "a-b.png"]
    with pytest.raises(DataError, match=r"does not say which column names the pictures; it has id, photo; write @"):
        find_pictures(f"@{folder / 'table.csv'}")
    (folder / "table.csv").write_text("id,file\n1,b/x.png\n")
    assert len(find_pictures(f"@{folder / 'table.csv'}")) == 1


def test_a_list_of_another_folder_and_names_outside_of_it(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists/one.txt").write_text(f"../b/x.png\n{folder / 'a/z.png'}\n")
    found = find_pictures(f"@{folder / 'lists/one.txt'}")
    assert [picture.name for picture in found] == ["b/x.png", "a/z.png"]
    assert all(picture.path is not None and picture.path.is_file() for picture in found)


def test_a_list_that_is_wrong_says_how(folder: Path) -> None:
    (folder / "list.txt").write_text("b/x.png\nnone.png\n")
    with pytest.raises(DataError, match=r"names 1 of 2 files that are not there: none\.png; names are relative to"):
        find_pictures(f"@{folder / 'list.txt'}")
    with pytest.raises(DataError, match="list of pictures"):
        find_pictures("@nowhere.txt")
    with pytest.raises(DataError, match="is an address; pictures are read from disks only"):
        find_pictures("https://example.org/a.jpg")
    (folder / "list.txt").write_text("")
    with pytest.raises(DataError, match="names no picture"):
        find_pictures(f"@{folder / 'list.txt'}")

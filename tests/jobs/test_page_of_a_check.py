"""`check --html`: the page lies where it was asked for, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_reader import read_page
from tiny_run import tiny_config

from toolkit.jobs.check import check_config
from toolkit.jobs.data_folders import data_folders


def listing(folder: Path) -> list[str]:
    return sorted(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}" for path in folder.rglob("*"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A made data set."""
    check_config(tiny_config(tmp_path / "data"))
    return tmp_path / "data"


def test_a_page_in_a_new_folder(data: Path, tmp_path: Path) -> None:
    before = listing(data)
    report = check_config(tiny_config(data), page=tmp_path / "new" / "folder" / "page.html")
    page = read_page((tmp_path / "new" / "folder" / "page.html").read_text(encoding="utf-8"))
    assert not report.errors
    for fact in report.facts:
        assert fact.text in page.text
    assert listing(data) == before
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["page.html"]


def test_never_into_the_data_folder(data: Path) -> None:
    before = listing(data)
    report = check_config(tiny_config(data), page=data / "report" / "page.html")
    assert ["lies in the data folder" in problem.message for problem in report.errors] == [True]
    assert listing(data) == before


def test_a_place_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "page.html", tmp_path):
        report = check_config(tiny_config(data), page=place)
        (problem,) = report.errors
        assert problem.message.startswith(("cannot be written", "is a folder"))
        assert report.exit_code == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_data_folders_are_known_without_the_data(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "absent")
    assert tmp_path / "absent" in data_folders(config, {})

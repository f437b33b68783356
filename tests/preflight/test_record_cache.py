"""What was read is remembered by the files' identities, and only as long as it is true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from broken_data import make_pairs, picture, save

from toolkit.contracts import Dataset
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.preflight.data import read as read_module
from toolkit.preflight.data import record as sample_record
from toolkit.preflight.data.read import read_samples
from toolkit.preflight.data.record import SampleRecord


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The indices that were really read, and a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen: list[int] = []
    original = read_module.examine

    def spy(dataset: Dataset, index: int) -> SampleRecord:
        seen.append(index)
        return original(dataset, index)

    monkeypatch.setattr(read_module, "examine", spy)
    return seen


def dataset_in(root: Path) -> Dataset:
    return ImageMasks(["a", "b", "c"], str(root), split="train.txt")


def read(root: Path, identity: str = "same") -> list[SampleRecord]:
    return read_samples(dataset_in(root), "read", identity, 0, shown=False)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


def test_a_second_reading_reads_nothing_and_says_the_same(readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "images/p03.jpg").write_bytes(b"")
    before = snapshot(root)
    first = read(root)
    assert readings == list(range(6))
    assert read(root) == first
    assert len(readings) == 6
    assert snapshot(root) == before  # nothing is written where the data lies


def test_only_what_has_changed_is_read_again(readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    read(root)
    save(root / "images/p02.jpg", picture(40))
    shutil.copy(root / "masks/p05.png", root / "masks/p04.png")
    readings.clear()
    records = read(root)
    assert readings == [2, 4]
    assert records[2].digest != records[1].digest


def test_a_file_of_the_same_size_and_time_is_read_again(readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    read(root)
    path = root / "images/p02.jpg"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-400:-380] = bytes(20)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    readings.clear()
    read(root)
    assert readings == [2]


def test_other_arguments_are_another_data_set(readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    read(root, "one")
    read(root, "other")
    assert len(readings) == 12


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff\xfe\0", None])
def test_a_damaged_cache_is_ignored(damage: bytes | None, readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    first = read(root)
    (path,) = (tmp_path / "cache").rglob("*.json")
    text = path.read_bytes()
    path.write_bytes(text[:-40] + text[-39:] if damage is None else damage)
    readings.clear()
    assert read(root) == first
    assert len(readings) == 6
    readings.clear()
    assert read(root) == first  # and mended
    assert not readings


def test_without_a_folder_to_write_there_is_no_cache(
    readings: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = make_pairs(tmp_path / "data")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert read(root) == read(root)
    assert len(readings) == 12


def test_a_fault_is_remembered_with_its_place(readings: list[int], tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data")
    (root / "images/p03.jpg").write_bytes(b"")
    first = read(root)
    (fault,) = first[3].faults
    assert (fault.kind, fault.problem.place.file, fault.file) == ("empty", *[str(root / "images/p03.jpg")] * 2)
    readings.clear()
    assert read(root) == first
    assert not readings


def test_records_of_other_fields_are_not_taken(
    readings: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = make_pairs(tmp_path / "data")
    read(root)
    readings.clear()
    monkeypatch.setattr(sample_record.Place, "_fields", (*sample_record.Place._fields, "page"))
    read(root)
    assert len(readings) == 6

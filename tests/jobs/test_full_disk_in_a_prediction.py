"""A disk that fills up in a prediction: one sentence, nothing half written, and `--resume` when there is room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prediction_jobs import dense_model, picture_folder, restored, tree

from toolkit.errors import UserError
from toolkit.jobs.predict import run_prediction

FORMATS = ("mask", "overlay", "summary")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk of its own, made, and later made larger, by a number of KiB."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(kib: int) -> Path:
        again = ["-o", f"remount,size={kib}k"] if place.is_mount() else ["-o", f"size={kib}k"]
        done = subprocess.run(
            ["mount", "-t", "tmpfs", *again, "none", str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a disk of its own cannot be mounted: {done.stderr.strip()}")
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    yield sized
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=False)


def test_a_job_goes_on_when_there_is_room_again(tmp_path: Path, disk: Callable[[int], Path]) -> None:
    pictures = picture_folder(tmp_path / "in", 5, damaged=False)
    model = restored(dense_model())
    run_prediction(model, [pictures], tmp_path / "whole", FORMATS)
    refused: list[str] = []
    for kib in (4, 16, 32, 4000):
        out = disk(kib) / "out"
        try:
            run_prediction(model, [pictures], out, FORMATS, resume=(out / "journal.jsonl").exists())
        except UserError as error:
            refused.append(str(error))
        assert not list(out.rglob("*.tmp"))
    assert len(refused) > 1
    said = "cannot be written: No space left on device; free space or choose another folder"
    assert all(said in text for text in refused)
    assert tree(out) == tree(tmp_path / "whole")

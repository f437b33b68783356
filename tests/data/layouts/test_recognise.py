"""Layouts are named right, whatever the files are called and whatever lies around them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from folders_of_others import MADE, made

from toolkit.data.layouts.recognise import SURE, recognise
from toolkit.data.layouts.tree import scan


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MADE)
def test_layouts_are_named(tmp_path: Path, name: str, seed: int) -> None:
    _, layout, task, _ = MADE[name]
    found = recognise(scan(made(tmp_path, name, seed)))
    assert found
    assert (found[0].layout, found[0].task) == (layout, task)
    assert found[0].confidence >= 0.7
    others = {one.annotations for one in found if one.confidence >= SURE and not one.annotations & found[0].annotations}
    assert not others, "another reading fits as well"


@pytest.mark.parametrize("listed", [True, False])
def test_lists_of_splits_are_named_where_they_are(tmp_path: Path, listed: bool) -> None:
    folder = made(tmp_path, "voc-boxes", 0)
    if not listed:
        shutil.rmtree(next(folder.rglob("ImageSets")))
    said = " ".join(recognise(scan(folder))[0].evidence)
    assert ("ImageSets/Main" in said) == listed

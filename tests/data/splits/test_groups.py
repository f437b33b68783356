"""Images that belong together: by folder, by a pattern, by a table, and because they look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.data.images.fingerprint import perceptual_hash, pixel_digest
from toolkit.data.splits.groups import image_groups, joined, look_alikes
from toolkit.errors import DataError


def test_a_pattern_names_a_group_by_its_first_group_or_whole() -> None:
    names = ["s/p07_a.png", "s/p07_b.png", "s/p11_a.png", "s/none.png"]
    assert image_groups(names, r"p([0-9]+)").names == ["07", "07", "11", "s/none.png"]
    assert image_groups(names, r"p[0-9]+").names == ["p07", "p07", "p11", "s/none.png"]
    assert any("s/none.png" in note for note in image_groups(names, r"p([0-9]+)").notes)


def test_a_table_may_name_images_by_path_name_or_stem(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,group\nimages/a.png,one\nb,one\nc.png,two\n")
    assert image_groups(["images/a.png", "images/b.png", "images/c.png"], str(table)).names == ["one", "one", "two"]


def test_a_rule_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,group\nx.png,one\n")
    for rule in (str(table), str(tmp_path / "missing.csv"), "p([0-9"):
        with pytest.raises(DataError):
            image_groups(["a.png"], rule)


def test_copies_and_mirror_images_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    one, other = (np.kron(grid, np.ones((12, 12, 1), np.uint8)) for grid in coarse)
    pictures = [one, one[:, ::-1].copy(), other, np.clip(one.astype(int) + 9, 0, 255).astype(np.uint8), other.copy()]
    pairs = look_alikes([pixel_digest(p) for p in pictures], [perceptual_hash(p) for p in pictures])
    assert joined(5, pairs).tolist() == [0, 0, 2, 0, 2]

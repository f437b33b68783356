"""What a job of very many pictures keeps for each: names, and nothing else that grows."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from toolkit.data.images.listing import image_files, image_names
from toolkit.inference.writers.names import output_stems

PICTURES = 4000
A_PICTURE = 550
"""Bytes, at most: 50 MB for 90,000 pictures."""


def test_a_picture_of_a_folder_costs_its_name(tmp_path: Path) -> None:
    for number in range(PICTURES):
        path = tmp_path / f"{number // 1000:04d}" / f"picture_{number:07d}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    gc.collect()
    tracemalloc.start()
    names = image_names(tmp_path).names
    stems = output_stems(names, ["_overlay.jpg", ".png"], ["detections"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(stems) == PICTURES
    assert peak / PICTURES < A_PICTURE


def test_names_are_those_of_the_paths_in_their_order(tmp_path: Path) -> None:
    files = (
        "b/x.png",
        "b c/a.PNG",
        "b!/y.jpg",
        "a.png",
        "a/z.tif",
        "a-b/.hidden.png",
        "a-b/end.",
        "a-b/n.txt",
        "b/a.b.png",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    listing, names = image_files(tmp_path), image_names(tmp_path)
    assert [tmp_path / name for name in names.names] == listing.paths == sorted(listing.paths)
    assert names.names == ["a/z.tif", "a.png", "b/a.b.png", "b/x.png", "b c/a.PNG", "b!/y.jpg"]
    assert names.left == {".txt": 1, "": 1}


def test_arrays_are_images_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    (tmp_path / "b.txt").touch()
    assert image_names(tmp_path).names == ["a.npy"] == [path.name for path in image_files(tmp_path).paths]
    (tmp_path / "c.png").touch()
    assert image_names(tmp_path).names == ["c.png"]
    assert image_names(tmp_path).left == {".npy": 1, ".txt": 1}

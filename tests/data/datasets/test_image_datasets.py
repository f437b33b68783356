"""Data sets for whole images and value maps: what they read, and what they say about broken folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.data.datasets.image_folder import ImageFolder
from toolkit.data.datasets.image_maps import ImageMaps
from toolkit.data.datasets.image_values import ImageValuesTable
from toolkit.errors import DataError


def picture(path: Path, value: int, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    picture(tmp_path / "train/cat/b.png", 10)
    picture(tmp_path / "train/cat/deep/a.png", 20)
    picture(tmp_path / "train/dog/a.PNG", 30)
    (tmp_path / "train/dog/notes.txt").write_text("no image")
    (tmp_path / "train/.hidden").mkdir()
    return tmp_path


def test_a_folder_is_a_class(animals: Path) -> None:
    data = ImageFolder(["dog", "cat"], str(animals), "train")
    found = [(data[i].name, data[i].image_label, int(data[i].image[0, 0, 0])) for i in range(len(data))]
    assert found == [("train/dog/a.PNG", 0, 30), ("train/cat/b.png", 1, 10), ("train/cat/deep/a.png", 1, 20)]
    assert data[0].original_size == (6, 8)
    assert ImageFolder(["dog", "cat"], str(animals / "train"), channels=1)[2].image.shape == (6, 8, 1)


def test_folders_and_classes_must_agree(animals: Path) -> None:
    (animals / "train/horse").mkdir()
    with pytest.raises(DataError) as caught:
        ImageFolder(["dog", "catt", "horse"], str(animals), "train")
    text = str(caught.value)
    assert "there is no folder 'catt' for that class; did you mean 'cat'?" in text
    assert "holds no images of class 'horse'" in text
    assert "'cat' is not among the 3 classes" in text
    with pytest.raises(DataError, match=r"no folder .*trian"):
        ImageFolder(["dog"], str(animals), "trian")


def test_a_table_gives_an_image_its_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "pictures/a.png", 1)
    picture(tmp_path / "pictures/b.png", 2)
    (tmp_path / "values.csv").write_text("weight,file,age\n1.5,b.png,3\n,a.png,nan\n", encoding="utf-8-sig")
    data = ImageValuesTable(["age", "weight"], str(tmp_path), images="pictures")
    assert [data[i].name for i in range(2)] == ["pictures/b.png", "pictures/a.png"]
    first, second = data[0].image_values, data[1].image_values
    assert first is not None
    assert second is not None
    assert (first.dtype, first.tolist()) == (np.float32, [3.0, 1.5])
    assert np.isnan(second).all()


def test_a_wrong_table_tells_every_problem_with_its_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    (tmp_path / "values.csv").write_text("file,age\na.png,old\nc.png,4\na.png,inf\n")
    with pytest.raises(DataError) as caught:
        ImageValuesTable(["age"], str(tmp_path))
    problems = [str(problem) for problem in caught.value.problems]
    assert len(problems) == 3
    assert "values.csv:2: column 'age' must hold a number, but holds 'old'" in problems[0]
    assert "values.csv:3: no image" in problems[1]
    assert "c.png" in problems[1]
    assert "values.csv:4: holds an infinite number" in problems[2]
    with pytest.raises(DataError, match="has no column 'agee'; did you mean 'age'"):
        ImageValuesTable(["agee"], str(tmp_path))
    with pytest.raises(DataError, match=r"no table .*value.csv; near: .*values.csv"):
        ImageValuesTable(["age"], str(tmp_path), table="value.csv")


@pytest.fixture
def depths(tmp_path: Path) -> Path:
    for name, value in (("x/a", 5), ("b", 6)):
        picture(tmp_path / f"images/{name}.jpg", value)
    (tmp_path / "maps/x").mkdir(parents=True)
    stored = np.arange(48, dtype=np.uint16).reshape(6, 8) * 256
    cv2.imwrite(str(tmp_path / "maps/x/a.png"), stored)
    np.save(tmp_path / "maps/b.npy", np.where(np.eye(6, 8) > 0, np.nan, 2.0))
    return tmp_path


def test_maps_are_scaled_and_unknown_pixels_are_nan(depths: Path) -> None:
    data = ImageMaps(["depth"], str(depths), scale=1 / 256)
    assert [data[i].name for i in range(2)] == ["images/b.jpg", "images/x/a.jpg"]
    array, png = data[0].value_map, data[1].value_map
    assert array is not None
    assert png is not None
    assert array.dtype == png.dtype == np.float32
    assert np.isnan(array).sum() == 6
    assert np.nanmax(array) == np.float32(2 / 256)
    assert np.isnan(png[0, 0])
    assert np.array_equal(png.flatten()[1:], np.arange(1, 48))
    every = ImageMaps(["depth"], str(depths), unknown=None)[1].value_map
    assert every is not None
    assert every[0, 0] == 0


def test_maps_that_do_not_fit_are_named(depths: Path) -> None:
    picture(depths / "images/c.jpg", 7)
    with pytest.raises(DataError, match=r"1 image\(s\) have no map: c"):
        ImageMaps(["depth"], str(depths))
    (depths / "val.txt").write_text("b\nq\n")
    with pytest.raises(DataError, match=r"1 image\(s\) of the split not found: q"):
        ImageMaps(["depth"], str(depths), split="val.txt")
    np.save(depths / "maps/c.npy", np.ones((5, 8)))
    np.save(depths / "maps/b.npy", np.ones((6, 8, 3)))
    data = ImageMaps(["depth"], str(depths))
    with pytest.raises(DataError, match=r"c.npy: the map is \(5, 8\)"):
        data[1]
    with pytest.raises(DataError, match=r"b.npy: wanted an array \(height, width\)"):
        data[0]
    (depths / "maps/c.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"c.npy: is no array of numpy"):
        data[1]
    with pytest.raises(DataError, match="has one value a pixel, but the classes are: depth, height"):
        ImageMaps(["depth", "height"], str(depths))

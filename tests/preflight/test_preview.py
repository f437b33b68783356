"""The pictures of a preview are the batches of the training, pixel for pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.contracts import SizeRule
from toolkit.data.classes.tables import class_table
from toolkit.data.loading.loader import train_loader
from toolkit.drawing import shown_colors
from toolkit.errors import ConfigError
from toolkit.jobs.build_data import build_dataset, build_transforms
from toolkit.jobs.check import check_config
from toolkit.preflight.preview import CELL, refuse_data_folder, write_preview
from toolkit.samples import IGNORE_INDEX, Boxes, Sample, collate

TABLE = class_table(["a", "b"])


def sample(value: int, size: tuple[int, int], name: str = "x.png") -> Sample:
    image = np.full((*size, 3), value, np.uint8)
    return Sample(image, name, 0, size, label_map=np.full(size, value % 2, np.uint8))


def page(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_first_cell_is_the_first_sample_of_the_training(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d", "data.batch_size=3", "seed=5")
    report = check_config(config, preview=tmp_path / "out")
    assert report.errors == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "train_1.png", "train_2.png", "train_3.png", "train_4.png", "val_1.png",
    ]  # fmt: skip
    batch = next(iter(train_loader(build_dataset(config, "train"), build_transforms(config, "train"), 3, 5)))
    # 32x40 pixels are drawn 300 pixels wide without interpolation: every pixel 7.5 times.
    drawn = page(tmp_path / "out" / "train_1.png")
    image = batch.images[0].permute(1, 2, 0).numpy()
    top = next(row for row in range(drawn.shape[0]) if (drawn[row, 6 : 6 + CELL] != 255).any(1).mean() > 0.9)
    cell = drawn[top : top + 240, 6 : 6 + CELL]
    # Of two pixels drawn 15 wide, the middle one may come from either.
    inside = [np.array([i for i in range(n) if i % 15 != 7]) for n in (240, CELL)]
    rows, columns = (np.floor((places + 0.5) / 7.5).astype(int) for places in inside)
    np.testing.assert_array_equal(cell[inside[0]][:, inside[1]], image[rows][:, columns])


def test_what_lies_there_is_replaced_and_everything_else_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "train_1.png").write_text("old")
    (out / "mine.txt").write_text("mine")
    check_config(tiny_config(tmp_path / "d"), preview=out)
    assert page(out / "train_1.png").ndim == 3
    assert (out / "mine.txt").read_text() == "mine"
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]


def test_never_into_the_data_folder(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    report = check_config(config, preview=tmp_path / "d" / "images" / "preview")
    assert [finding.kind for finding in report.findings] == ["preview"]
    assert "lies in the data folder" in report.errors[0].message
    assert report.exit_code == 2
    assert not (tmp_path / "d" / "images" / "preview").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        refuse_data_folder(tmp_path / "file", [])


def test_padding_is_marked_and_named(tmp_path: Path) -> None:
    batch = collate([sample(100, (40, 40), "small.png"), sample(101, (60, 80), "large.png")])
    (path,) = write_preview([batch], TABLE, tmp_path, "p", "title", 5)
    drawn = page(path)
    edge = (drawn == (255, 0, 255)).all(-1)
    assert edge.sum() > 400  # twice around 150x150, on the image and on its labels
    black = (drawn[:, : CELL // 2 + 200] == 0).all(-1)
    assert black.sum() > 100 * 100  # the padding of the small one is what the model gets: zeros


def test_smaller_images_are_mirrored_to_a_legal_size_as_the_model_does(tmp_path: Path) -> None:
    rule = SizeRule(1, 16, 0)
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    one = Sample(image, "x.png", 0, (20, 30), label_map=np.zeros((20, 30), np.uint8))
    write_preview([collate([one])], TABLE, tmp_path, "p", "title", 5, rule)
    drawn = page(tmp_path / "p_1.png")
    # 32x32 in a cell 300 wide: as high as wide, and ignored pixels on the label side.
    ignored = 0.4 * 255 + 0.6 * np.array([224, 224, 192])
    right = drawn[:, 6 + CELL + 6 : 6 + 2 * CELL + 6].astype(float)
    assert (np.abs(right - ignored).max(-1) < 90).any()
    assert drawn.shape[0] > CELL


def test_only_so_many_samples_are_drawn(tmp_path: Path) -> None:
    batches = [collate([sample(n, (40, 40))] * 4) for n in range(100)]
    assert len(write_preview(batches, TABLE, tmp_path, "p", "title", 13)) == 3  # six a page


def test_boxes_stand_where_they_are(tmp_path: Path) -> None:
    boxes = Boxes.of([[10, 10, 30, 40]], [1])
    one = Sample(np.zeros((50, 100, 3), np.uint8), "x.png", 0, (50, 100), boxes=boxes)
    write_preview([collate([one])], TABLE, tmp_path, "p", "title", 5)
    drawn = page(tmp_path / "p_1.png")
    color = shown_colors(TABLE.palette, 2)[1].astype(int)
    rows, columns = np.nonzero((np.abs(drawn[:-40].astype(int) - color) < 20).all(-1))
    assert abs(columns.min() - (6 + 30)) <= 3
    assert abs(columns.max() - (6 + 90)) <= 3
    assert abs((rows.max() - rows.min()) - 90) <= 25  # the box and the tag above it


@pytest.mark.parametrize("target", ["boxes", "both"])
def test_detection_is_drawn_too(tmp_path: Path, target: str) -> None:
    if target == "boxes":
        report = check_config(tiny_detection_config(tmp_path / "d"), preview=tmp_path / "o")
    else:
        report = check_config(
            tiny_config(tmp_path / "d", "data.train.dataset.target=both", "data.val.dataset.target=both"),
            preview=tmp_path / "o",
        )
    assert report.errors == []
    assert len(report.statistics["preview"]) >= 2


def test_gray_images_and_ignored_pixels(tmp_path: Path) -> None:
    gray = Sample(np.full((40, 40, 1), 70, np.uint8), "g.png", 0, (40, 40), np.full((40, 40), IGNORE_INDEX, np.uint8))
    (path,) = write_preview([collate([gray])], TABLE, tmp_path, "p", "title", 5)
    assert torch.tensor(page(path)).ndim == 3

"""A format of somebody's own is one short file, and everything that asks a data set something works with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_box_format
import tiny_mask_format
from PIL import Image
from tiny_box_format import TinyBoxFormat
from tiny_mask_format import TinyMaskFormat

from toolkit.config.load import parse_config
from toolkit.contracts import Dataset, Subset
from toolkit.data.classes.frequencies import class_counts
from toolkit.data.loading.class_presence import class_presence
from toolkit.errors import DataError
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.check import check_config

CONFIG = """
model:
  backbone: {{name: unet_encoder, in_channels: 3, width: 4, depth: 3, padding: same, norm: batch}}
  neck: {{name: skip, norm: batch}}
  head: {{name: pixel}}
data:
  batch_size: 2
  workers: 0
  train: {{dataset: {{name: "tiny_mask_format:TinyMaskFormat", root: {root}}}}}
  val: {{dataset: {{name: "tiny_mask_format:TinyMaskFormat", root: {root}, split: val}}}}
train: {{steps: 2, optimizer: {{name: adamw, lr: 0.01}}, device: cpu}}
evaluate: {{evaluators: [semantic]}}
"""


def picture(path: Path, seed: int, size: tuple[int, int] = (32, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(path)


@pytest.fixture
def mask_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "masks"
    for split, seeds in (("train", range(3)), ("val", range(3, 5))):
        for seed in seeds:
            picture(root / split / f"{seed}.photo.png", seed)
            truth = np.random.default_rng(seed).integers(0, 2, (32, 48)).astype(np.uint8) * 200
            Image.fromarray(truth).save(root / split / f"{seed}.truth.png")
    return root


@pytest.fixture
def box_root(tmp_path: Path) -> Path:
    root = tmp_path / "boxes"
    for seed in range(3):
        picture(root / f"{seed}.png", seed)
    (root / "train.txt").write_text(
        "0.png 1 2 20 30 cup\n0.png 5 5 40 20 leaf\n1.png 3 3 9 9 leaf\n2.png 4 4 8 8 cup\n"
    )
    return root


@pytest.mark.parametrize(("module", "most"), [(tiny_mask_format, 40), (tiny_box_format, 120)])
def test_a_new_format_is_short(module: object, most: int) -> None:
    assert len(Path(str(module.__file__)).read_text().splitlines()) <= most  # type: ignore[attr-defined]


def assert_is_a_data_set(dataset: Dataset, root: Path) -> None:
    assert dataset.root == root
    assert str(len(dataset)) in dataset.describe()
    part = dataset.subset([2, 0])
    assert isinstance(part, type(dataset))
    for place, old in enumerate((2, 0)):
        assert part.files(place) == dataset.files(old)
        assert part.files(place)[0] == root / part[place].name
        assert part[place].position == place
        np.testing.assert_array_equal(part[place].image, dataset[old].image)
    with pytest.raises(IndexError):
        part[2]


def test_masks_answer_everything(mask_root: Path) -> None:
    dataset = TinyMaskFormat(str(mask_root))
    assert_is_a_data_set(dataset, mask_root)
    assert class_presence(dataset).all()
    assert class_counts(dataset).pixels.sum() == 3 * 32 * 48


def test_boxes_answer_everything(box_root: Path) -> None:
    dataset = TinyBoxFormat(["cup", "leaf"], str(box_root))
    assert_is_a_data_set(dataset, box_root)
    assert class_presence(dataset).tolist() == [[True, True], [False, True], [True, False]]
    assert [len(dataset[place].boxes.xyxy) for place in range(3)] == [2, 1, 1]  # type: ignore[union-attr]
    (box_root / "train.txt").write_text("0.png 1 2 20 30 cup\n1.png 3 3 9 9 stone\n")
    with pytest.raises(DataError, match=r"train\.txt:2: class 'stone' is none of"):
        TinyBoxFormat(["cup", "leaf"], str(box_root))


def test_a_check_reads_masks_and_leaves_out_bad_ones(mask_root: Path) -> None:
    config = CONFIG.format(root=mask_root)
    report = check_config(parse_config(config, "own.yaml", trust=True), full=True)
    assert not report.errors, report.errors
    (mask_root / "train/1.truth.png").write_bytes(b"")
    assert len(build_dataset(parse_config(config, "own.yaml", ["data.on_bad=skip"], trust=True), "train")) == 2
    report = check_config(parse_config(config, "own.yaml", trust=True), full=True)
    assert any("1.truth.png" in str(problem) and "empty" in str(problem) for problem in report.errors)


def test_skipping_leaves_out_whole_images_of_boxes(box_root: Path, tmp_path: Path) -> None:
    (box_root / "train.txt").write_text(
        "0.png 1 2 20 30 cup\n1.png 3 3 9 9 stone\n1.png 3 3 9 9 cup\n2.png 4 4 8 8 cup\n"
    )
    from toolkit.data.faults.leaving_out import leaving_out

    with leaving_out() as faults:
        dataset = TinyBoxFormat(["cup", "leaf"], str(box_root))
    assert [dataset[place].name for place in range(len(dataset))] == ["0.png", "2.png"]
    assert [fault.names for fault in faults] == [("1.png",)]


def test_a_subset_of_any_data_set_forwards_the_contract(mask_root: Path) -> None:
    dataset = TinyMaskFormat(str(mask_root))
    dataset.category_ids, dataset.notes, dataset.channels = (4, 7), ("a note",), 3
    part = Subset(dataset, [1])
    told = [name for name in Dataset.__annotations__ if not name.startswith("_")]
    assert {"root", "channels", "category_ids", "skips", "notes", "classes", "palette"} <= set(told)
    for name in told:
        assert getattr(part, name) == getattr(dataset, name), name
    assert part.describe().endswith("1 of its 3 samples")

"""Classes chosen in a config, and several data sets joined there: in training, in evaluation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from outlined_data import coco
from PIL import Image
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.config.load import parse_config
from toolkit.config.plain import to_yaml
from toolkit.errors import ConfigError
from toolkit.jobs.assemble import assemble
from toolkit.jobs.build_data import build_dataset, draws_of
from toolkit.jobs.check import check_config

SQUARE = [[10, 10, 50, 10, 50, 50, 10, 50]]


def folder(root: Path, names: tuple[str, ...], images: int = 4) -> None:
    rows = [
        {"image_id": number, "category_id": place, "bbox": [10, 10, 40, 40], "area": 1600, "segmentation": SQUARE}
        for number in range(images)
        for place in [number % len(names)]
    ]
    coco(root, rows, tuple(enumerate(names)), images=images)


ONE = "{name: coco_masks, annotations: a.json, images: pics}"


def test_pixels_of_chosen_classes_train_and_are_measured(tmp_path: Path) -> None:
    folder(tmp_path, ("car", "truck", "cat"))
    changes = [f"data.{split}.dataset={ONE}" for split in ("train", "val")]
    choice = "data.classes={background: [], vehicle: [car, truck], ignore: cat}"
    config = tiny_config(tmp_path, *changes, choice)
    config = parse_config(to_yaml(config), "resolved.yaml")  # as a run keeps it
    built = assemble(config)
    assert built.model.classes == ("background", "vehicle")
    found = [set(np.unique(built.datasets["val"][place].label_map)) for place in range(3)]
    assert found == [{0, 1}, {0, 1}, {0, 255}]
    again = parse_config(to_yaml(config), "again.yaml")
    assert again.data.classes == config.data.classes


def test_a_name_that_no_file_knows_is_refused_with_a_near_one(tmp_path: Path) -> None:
    folder(tmp_path, ("car", "truck", "cat"))
    part = "{name: coco, annotations: a.json, images: pics}"
    changes = [f"data.{split}.dataset={part}" for split in ("train", "val")]
    config = tiny_detection_config(tmp_path, *changes, "data.classes={vehicle: [carr, truck], pet: cat}")
    report = check_config(config)
    told = [str(finding.problem) for finding in report.findings if finding.kind == "absent_class"]
    assert len(told) == 1
    assert "class 'carr' of the list is in the files of no split; did you mean 'car'?" in told[0]


def test_joined_data_sets_stand_in_a_config(tmp_path: Path) -> None:
    folder(tmp_path / "a", ("car", "cat"))
    folder(tmp_path / "b", ("cat", "bus"), images=2)
    part = "{name: coco, annotations: a.json, images: pics%s}"
    joined = f"{{name: joined, datasets: [{part % f', root: {tmp_path}/a'}, {part % ''}], weights: [1, 3]}}"
    changes = [f"data.{split}.dataset={joined}" for split in ("train", "val")]
    config = tiny_detection_config(tmp_path / "b", *changes, "data.classes={vehicle: [car, bus], pet: [cat]}")
    dataset = build_dataset(config, "train")
    assert dataset.classes == ("vehicle", "pet")
    assert [dataset[place].boxes.labels.tolist() for place in range(6)] == [[0], [1], [0], [1], [1], [0]]
    draws = draws_of(config, dataset)
    assert draws is not None
    drawn = [draws.key(place)[1] >= 4 for place in range(16)]
    assert sum(drawn) == 12
    with pytest.raises(ConfigError, match="draws by class, and the weights of the joined"):
        draws_of(
            tiny_detection_config(tmp_path, *changes, "data.classes={v: [car, bus]}", "data.sampling=class_balanced"),
            dataset,
        )


def test_a_data_set_names_the_classes_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for place in range(2):
        Image.fromarray(np.full((32, 40, 3), place, np.uint8)).save(tmp_path / f"images/{place}.png")
        Image.fromarray(np.arange(4, dtype=np.uint8).repeat(320).reshape(32, 40)).save(tmp_path / f"masks/{place}.png")
    part = "{name: image_masks, classes: [soil, car, truck, cat]}"
    changes = [f"data.{split}.dataset={part}" for split in ("train", "val")]
    config = tiny_config(tmp_path, *changes, "data.classes={background: soil, vehicle: [car, truck], ignore: [cat]}")
    labels = build_dataset(config, "train")[0].label_map
    assert labels is not None
    assert labels[::8, 0].tolist() == [0, 1, 1, 255]


def test_the_list_of_the_config_reaches_a_data_set_of_a_kept_config(tmp_path: Path) -> None:
    """A kept config writes every default out, `classes: null` of the data set too."""
    folder(tmp_path, ("car", "truck", "cat"))
    part = "{name: coco, annotations: a.json, images: pics}"
    changes = [f"data.{split}.dataset={part}" for split in ("train", "val")]
    config = tiny_detection_config(tmp_path, *changes, "data.classes=[cat, car, truck, bus]")
    for one in (config, parse_config(to_yaml(config), "kept.yaml")):
        dataset = build_dataset(one, "train")
        assert dataset.classes == ("cat", "car", "truck", "bus")
        assert dataset[1].boxes is not None
        assert dataset[1].boxes.labels.tolist() == [2]

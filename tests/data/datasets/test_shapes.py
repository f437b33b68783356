"""Synthetic scenes: exact annotations, files that other tools read, folders that are whole or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.classes.tables import class_table
from toolkit.data.datasets.shapes import Shapes
from toolkit.data.shapes import files
from toolkit.data.shapes import scene as drawing
from toolkit.data.shapes.scene import SHAPES, make_scene
from toolkit.errors import ConfigError, DataError

SMALL = {"count_train": 5, "count_val": 3, "image_size": (48, 64), "seed": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shapes") / "deep" / "set"
    Shapes(str(root), "train", **SMALL)
    return root


def test_scenes_are_functions_of_their_seed():
    one, again, other = make_scene((48, 64), 1), make_scene((48, 64), 1), make_scene((48, 64), 2)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.label_map, again.label_map)
    assert (one.image != other.image).any()


def test_label_map_and_things_say_the_same():
    for seed in range(10):
        scene = make_scene((60, 80), seed)
        assert scene.image.shape == (60, 80, 3)
        painted = np.zeros((60, 80), np.uint8)
        for thing in scene.things:
            assert (painted[thing.visible] == 0).all()  # no pixel belongs to two
            painted[thing.visible] = 1 + thing.label
        np.testing.assert_array_equal(painted, scene.label_map)
        assert len(scene.things) >= 2


@pytest.mark.parametrize("visible", [0.4, 0.8, 1.0])
def test_a_thing_leaves_the_wanted_share_of_what_is_in_sight(visible, monkeypatch):
    owner, paint = np.zeros((180, 240), int), drawing._paint

    def looked_at(rng, canvas, mask, *more):
        for thing in range(1, owner.max() + 1):
            seen = owner == thing
            assert (seen & (mask == 0)).sum() >= visible * seen.sum()
        owner[mask > 0] = 1 + owner.max()
        paint(rng, canvas, mask, *more)

    monkeypatch.setattr(drawing, "_paint", looked_at)
    for seed in range(6):
        owner[:] = 0
        make_scene((60, 80), seed, visible=visible)


def test_pictures_have_as_many_things_as_asked_for(tmp_path):
    assert {len(make_scene((48, 64), seed, things=(1, 1)).things) for seed in range(30)} == {1}
    assert max(len(make_scene((48, 64), seed, things=(2, 3)).things) for seed in range(30)) == 3
    with pytest.raises(ConfigError, match="things: wanted the smaller of two first, found 3, 2"):
        Shapes(str(tmp_path / "none"), "train", things=(3, 2))


def test_a_folder_of_before_there_was_a_share_is_still_the_same_set(made):
    assert "visible" not in json.loads((made / "shapes.json").read_text())
    with pytest.raises(DataError, match=r"visible None \(wanted 0\.8\)"):
        Shapes(str(made), "train", **SMALL, visible=0.8)


def test_all_classes_occur_and_ground_is_left():
    counts = sum(np.bincount(make_scene((64, 80), seed).label_map.ravel(), minlength=7) for seed in range(25))
    assert len(counts) == 7
    assert (counts > 0.002 * counts.sum()).all()
    assert 0.5 < counts[0] / counts.sum() < 0.9


def test_colour_alone_tells_little():
    """A table of colours, learnt on 40 scenes, is hardly better at new ones than calling everything ground."""
    table = np.ones((4096, 7))
    hits = always_ground = total = 0
    for seed in range(60):
        scene = make_scene((36, 48), seed)
        coarse = (scene.image // 16).astype(int) @ [256, 16, 1]
        if seed < 40:
            np.add.at(table, (coarse, scene.label_map), 1)
        else:
            hits += (table.argmax(1)[coarse] == scene.label_map).sum()
            always_ground += (scene.label_map == 0).sum()
            total += scene.label_map.size
    assert hits / total < always_ground / total + 0.05


def test_things_differ_from_what_is_around_them():
    """Visible to the eye: the edge of the label map is a stronger edge of the picture than other places are."""
    on_edge, elsewhere = [], []
    for seed in range(8):
        scene = make_scene((64, 96), seed)
        steps = np.abs(np.diff(scene.image.astype(float), axis=1)).max(2)
        edge = np.diff(scene.label_map.astype(int), axis=1) != 0
        on_edge.append(steps[edge].mean())
        elsewhere.append(steps[~edge].mean())
    assert np.mean(on_edge) > 2 * np.mean(elsewhere)


def test_files_on_disk(made):
    assert sorted(p.name for p in made.iterdir()) == [
        "annotations", "classes.txt", "images", "masks", "shapes.json",
    ]  # fmt: skip
    assert sorted(p.name for p in made.parent.iterdir()) == ["set"]  # no temporary folder is left
    assert (made / "classes.txt").read_text().split() == ["background", *SHAPES]
    mask = Image.open(made / "masks/val/0002.png")
    assert mask.mode == "P"
    assert tuple(mask.getpalette()[3:6]) == class_table("shapes").palette[1]
    assert sum(p.stat().st_size for p in made.rglob("*") if p.is_file()) < 200_000


def test_targets_agree(made):
    maps, boxes, both = (Shapes(str(made), "val", target, **SMALL) for target in ("label_map", "boxes", "both"))
    assert len(maps) == len(boxes) == len(both) == 3
    assert maps.classes == both.classes == ("background", *boxes.classes)
    for index in range(3):
        sample = both[index]
        np.testing.assert_array_equal(sample.image, maps[index].image)
        np.testing.assert_array_equal(sample.label_map, maps[index].label_map)
        np.testing.assert_array_equal(sample.boxes.xyxy, boxes[index].boxes.xyxy)
        np.testing.assert_array_equal(sample.boxes.labels, boxes[index].boxes.labels + 1)
        assert maps[index].boxes is None
        assert boxes[index].label_map is None
        for (x1, y1, x2, y2), label in zip(sample.boxes.xyxy.astype(int), sample.boxes.labels, strict=True):
            inside = sample.label_map[y1:y2, x1:x2] == label
            assert inside.any(0)[[0, -1]].all()  # the box touches the shape at all four sides
            assert inside.any(1)[[0, -1]].all()
        for label in set(np.unique(sample.label_map)) - {0}:
            area = sample.boxes.area[sample.boxes.labels == label].sum()
            assert area == (sample.label_map == label).sum()


def test_coco_file_is_read_by_pycocotools(made):
    from pycocotools.coco import COCO

    coco = COCO(str(made / "annotations/instances_train.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(SHAPES)
    data = Shapes(str(made), "train", "both", **SMALL)
    for index in range(5):
        painted = np.zeros((48, 64), np.uint8)
        for annotation in coco.imgToAnns[index + 1]:
            mask = coco.annToMask(annotation)
            assert mask.sum() == annotation["area"]
            painted[mask > 0] = annotation["category_id"]
        np.testing.assert_array_equal(painted, data[index].label_map)
        assert data[index].image_id == index + 1


def test_splits_and_seeds_differ(made, tmp_path):
    train, val = (Shapes(str(made), split, **SMALL) for split in ("train", "val"))
    other = Shapes(str(tmp_path / "x"), "train", **{**SMALL, "seed": 5})
    pictures = {data[i].image.tobytes() for data in (train, val, other) for i in range(len(data))}
    assert len(pictures) == 5 + 3 + 5


def test_made_twice_is_the_same(made, tmp_path):
    Shapes(str(tmp_path / "again"), "train", **SMALL)
    for path in made.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(made)).read_bytes()


def test_other_parameters_are_refused(made):
    with pytest.raises(DataError, match=r"other parameters: count_train 5 \(wanted 6\), seed 4 \(wanted 0\); remove"):
        Shapes(str(made), "train", **{**SMALL, "count_train": 6, "seed": 0})
    assert len(Shapes(str(made), "train", **SMALL)) == 5


def test_incomplete_and_foreign_folders_are_refused(tmp_path):
    root = tmp_path / "set"
    with pytest.raises(DataError, match="make: true makes it"):
        Shapes(str(root), "train", make=False, **SMALL)
    Shapes(str(root), "train", **SMALL)
    (root / "images/val/0001.jpg").unlink()
    with pytest.raises(DataError, match=r"images/val: holds 2 files instead of 3; remove the folder"):
        Shapes(str(root), "train", **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(DataError, match="no set of shapes"):
        Shapes(str(tmp_path / "mine"), "train", **SMALL)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert len(Shapes(str(tmp_path / "empty"), "val", **SMALL)) == 3
    with pytest.raises(ConfigError, match="at least 32"):
        Shapes(str(tmp_path / "tiny"), "train", image_size=(16, 64))


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_scene", fail)
    with pytest.raises(DataError, match="No space left"):
        Shapes(str(tmp_path / "set"), "train", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_damaged_annotations_are_named(tmp_path):
    root = tmp_path / "set"
    Shapes(str(root), "train", **SMALL)
    (root / "annotations/instances_train.json").write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match=r"instances_train\.json: is unreadable"):
        Shapes(str(root), "train", "boxes", **SMALL)


def test_the_largest_shape_is_the_class_of_the_image(made):
    maps, images = (Shapes(str(made), "val", target, **SMALL) for target in ("label_map", "largest"))
    assert images.classes == maps.classes[1:]
    for index in range(len(images)):
        sample, labels = images[index], maps[index].label_map
        areas = {label: (labels == label).sum() for label in range(1, 7)}
        assert areas[sample.image_label + 1] == max(areas.values()) > 0
        assert sample.label_map is None

"""Class counts and names that differ between data, config and checkpoint, and weights of another head: always refused,
both sides named, never a table of numbers from a random head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mistake_data import boxes, boxes_config, masks, masks_config

from toolkit.cli.main import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with d, c.yaml and run: three classes."""
    folder = tmp_path_factory.mktemp("classes")
    config = masks_config(folder / "c.yaml", masks(folder / "d"), steps=2)
    assert run(["train", str(config), "--run", str(folder / "run")]) == 0
    return folder


@pytest.mark.parametrize("classes", ["[sky, tree]", "[sky, tree, car]", "[tree, sky, road]", "[sky, tree, road, car]"])
def test_a_checkpoint_keeps_its_classes(classes: str, trained: Path, toolkit: Any) -> None:
    result = toolkit("evaluate", trained / "run", f"data.classes={classes}")
    assert result.code == 2
    assert "sky, tree, road" in result.err
    assert classes.strip("[]") in result.err
    assert "mIoU" not in result.out


def test_another_data_set_with_other_classes_is_refused(trained: Path, tmp_path: Path, toolkit: Any) -> None:
    shapes = f"data.val.dataset={{name: shapes, root: {tmp_path / 's'}, split: val, count_train: 2, count_val: 2}}"
    result = toolkit("evaluate", trained / "run", shapes)
    assert result.code == 2
    assert "circle" in result.err
    assert "sky, tree, road" in result.err
    assert "mIoU" not in result.out


@pytest.mark.parametrize(
    "change", ["model.backbone.width=8", "model.backbone.in_channels=1", "model.head.kernel=3", "model.neck.norm=none"]
)
def test_another_model_is_refused(change: str, trained: Path, toolkit: Any) -> None:
    result = toolkit("evaluate", trained / "run", change, "--json")
    assert result.code == 2
    assert "mIoU" not in result.out
    for error in result.json["errors"]:
        assert "best.safetensors" in error["where"] or "model" in error["where"]
        assert error["suggestion"]


def test_gray_images_for_a_colour_model_are_a_fault_of_the_config(trained: Path, toolkit: Any) -> None:
    result = toolkit("evaluate", trained / "run", "data.val.dataset.channels=1")
    assert result.code == 2
    assert "RGB (3 channels), val has gray (1 channel)" in result.err
    assert "set data.val.dataset.channels: 3" in result.err


def test_weights_of_another_head_do_not_start_a_training_silently(trained: Path, tmp_path: Path, toolkit: Any) -> None:
    config = masks_config(tmp_path / "c.yaml", trained / "d", classes=("sky", "tree", "road", "car"), steps=1)
    start = f"model.init_from={trained / 'run'}"
    checked = toolkit("check", config, start, "--json")
    assert checked.code == 0
    (warning,) = [warning for warning in checked.json["warnings"] if warning["kind"] == "init_classes"]
    assert "car of the 4 here are new to it" in warning["message"]
    assert "it knows sky, tree, road" in warning["message"]
    result = toolkit("train", config, start, "--run", tmp_path / "run")
    assert result.code == 0
    assert "3 classes matched by name" in result.err
    assert "new: car" in result.err


def test_weights_of_another_net_are_refused(trained: Path, tmp_path: Path, toolkit: Any) -> None:
    other = "model.backbone={name: resnet, depth: 18}"
    for verb, more in (("check", []), ("train", ["--run", tmp_path / "run"])):
        arguments = [trained / "c.yaml", other, "model.neck=null", f"model.init_from={trained / 'run'}", *more]
        result = toolkit(verb, *arguments)
        assert "tensors" in result.told
        assert str(trained / "run") in result.told
        if verb == "check":  # whatever happens to fit, it is said how little that is
            assert "is it of another model?" in result.err


@pytest.mark.parametrize("number", [2, 4])
def test_class_weights_are_as_many_as_the_classes(number: int, trained: Path, tmp_path: Path, toolkit: Any) -> None:
    loss = f"model.head.loss={{name: cross_entropy, class_weights: {[1.0] * number}}}"
    for verb, more in (("check", []), ("train", ["--run", tmp_path / "run"])):
        result = toolkit(verb, trained / "c.yaml", loss, *more)
        assert result.code == 2, verb
        assert f"{number} numbers" in result.err
        assert "3 classes" in result.err


def test_a_context_module_of_another_width_is_pointed_out(trained: Path, toolkit: Any) -> None:
    neck = "model.neck={name: context, channels: 11, stride: 4}"
    result = toolkit("check", trained / "c.yaml", neck, "--json")
    assert result.code == 0
    (warning,) = [warning for warning in result.json["warnings"] if warning["kind"] == "neck_classes"]
    assert warning["where"] == "model.neck.channels"
    assert "is 11, but there are 3 classes" in warning["message"]


def test_a_head_that_starts_as_the_identity_says_which_width_it_needs(trained: Path, toolkit: Any) -> None:
    parts = ["model.neck={name: context, channels: 11, stride: 4}", "model.head.init=noisy_identity"]
    result = toolkit("check", trained / "c.yaml", *parts)
    assert result.code == 2
    assert "needs as many channels as there are classes, 3 or a multiple: the map has 11" in result.err
    assert "set the neck's channels to 3" in result.err
    assert toolkit("check", trained / "c.yaml", parts[0].replace("11", "3"), parts[1]).code == 0


@pytest.mark.parametrize("verb", ["check", "train"])
def test_an_evaluator_that_does_not_fit_the_head_is_found_before_the_training(
    verb: str, trained: Path, tmp_path: Path, toolkit: Any
) -> None:
    more = ["--run", tmp_path / "run"] if verb == "train" else []
    result = toolkit(verb, trained / "c.yaml", "evaluate.evaluators=[semantic, coco]", *more)
    assert result.code == 2
    assert "'coco' takes detections, but the head 'pixel' gives label maps" in result.err
    assert "use boundary or em_segmentation or semantic" in result.err
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ detection


@pytest.mark.parametrize(
    ("classes", "words"),
    [(("cat", "Dog"), ["Dog", "dog"]), (("cat",), ["dog"]), (("cat", "dog", "bird"), ["bird"])],
    ids=["misspelt", "too few", "too many"],
)
def test_boxes_are_never_lost_to_a_name(
    classes: tuple[str, ...], words: list[str], tmp_path: Path, toolkit: Any
) -> None:
    config = boxes_config(tmp_path / "c.yaml", boxes(tmp_path / "d"), classes=classes)
    for verb, more in (("check", []), ("train", ["--run", tmp_path / "run"])):
        result = toolkit(verb, config, *more)
        assert result.code in (1, 2), verb
        for word in words:
            assert word in result.err

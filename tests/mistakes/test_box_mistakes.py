"""Boxes that are wrong: counted, each named by its annotation, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistake_data import boxes, boxes_config, change_coco


def negative(content: dict[str, Any]) -> None:
    content["annotations"][3]["bbox"][2] = -5.0


def flat(content: dict[str, Any]) -> None:
    content["annotations"][3]["bbox"][3] = 0.0


def outside(content: dict[str, Any]) -> None:
    content["annotations"][3]["bbox"][0] = 60.0


def unknown_category(content: dict[str, Any]) -> None:
    content["annotations"][3]["category_id"] = 9


def no_such_image(content: dict[str, Any]) -> None:
    content["annotations"][3]["image_id"] = 99


def missing_file(content: dict[str, Any]) -> None:
    content["images"][1]["file_name"] = "gone.jpg"


FAULTS: list[tuple[Callable[[dict[str, Any]], None], list[str]]] = [
    (negative, ["annotation 4", "01.jpg", "-5"]),
    (flat, ["annotation 4", "01.jpg", "0 high"]),
    (outside, ["annotation 4", "01.jpg", "leaves its image of 64x48"]),
    (unknown_category, ["annotation 4", "9"]),
    (no_such_image, ["annotation 4", "99"]),
    (missing_file, ["gone.jpg"]),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
@pytest.mark.parametrize("verb", ["train", "check"])
def test_each_is_named(verb: str, fault: Any, words: list[str], tmp_path: Path, toolkit: Any) -> None:
    data = boxes(tmp_path / "d")
    path = change_coco(data, fault)
    more = ["--run", tmp_path / "run"] if verb == "train" else []
    result = toolkit(verb, boxes_config(tmp_path / "c.yaml", data), *more)
    assert result.code == 1
    assert str(path) in result.err
    for word in words:
        assert word in result.err, word
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", [negative, flat, outside])
def test_what_can_be_mended_says_how(fault: Any, tmp_path: Path, toolkit: Any) -> None:
    data = boxes(tmp_path / "d")
    change_coco(data, fault)
    config = boxes_config(tmp_path / "c.yaml", data)
    result = toolkit("check", config, "--json")
    assert "fix_boxes" in result.json["errors"][0]["suggestion"]
    fixed = toolkit("check", config, "data.train.dataset.fix_boxes=drop", "--json")
    assert fixed.code == 0
    assert any("1 dropped" in fact for fact in fixed.json["facts"])


def test_several_are_told_together(tmp_path: Path, toolkit: Any) -> None:
    data = boxes(tmp_path / "d")

    def break_many(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][:5]:
            annotation["bbox"][2] = -1.0

    change_coco(data, break_many)
    result = toolkit("check", boxes_config(tmp_path / "c.yaml", data), "--json")
    assert result.code == 1
    assert sum(error["number"] for error in result.json["errors"]) == 5
    told = " ".join(f"{error['where']} {error['message']}" for error in result.json["errors"])
    assert "annotation 1" in told
    assert "5 boxes without area" in told

"""Places are fields; their text is what a person reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from toolkit.errors import ConfigError, Place, Problem, missing_path, near_paths, no_such, place_of


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(), ""),
        (Place("c.yaml", 2, 35, "model.backbone.depth"), "c.yaml:2:35  model.backbone.depth"),
        (Place("command line", key="train.steps"), "command line  train.steps"),
        (Place("a.txt", 3), "a.txt:3"),
        (Place("a.json", 3, 9), "a.json:3:9"),
        (Place("a.json", item="annotation 7"), "a.json: annotation 7"),
        (Place("a.txt", 3, part="data.train.dataset"), "data.train.dataset  a.txt:3"),
        (Place(key="head 'image'", part="model.head"), "model.head  head 'image'"),
        (Place(key="train.steps"), "train.steps"),
        (Place(line=3, column=9), "3:9"),
    ],
)
def test_the_text_of_a_place(place: Place, text: str) -> None:
    assert str(place) == text


def test_a_word_is_a_key_and_a_path_a_file() -> None:
    assert Problem("train.steps", "no").place == Place(key="train.steps")
    assert Problem(Path("a/b.png"), "no").place == Place(file="a/b.png")
    assert place_of(Place("x", 1)) == Place("x", 1)


def test_a_problem_keeps_its_place_through_pickle_and_changes() -> None:
    problem = Problem(Place("c.yaml", 2, 3, "train.steps"), "wanted a number", "write 3")
    (back,) = pickle.loads(pickle.dumps(ConfigError(problem))).problems
    assert back == problem
    assert str(back) == "c.yaml:2:3  train.steps: wanted a number; write 3"
    assert back.at("--size").place == Place(key="--size")
    assert back.advising("").as_json() == {
        "where": "c.yaml:2:3  train.steps",
        "message": "wanted a number",
        "suggestion": "",
    }


def test_a_link_that_leads_nowhere_is_told_and_is_not_near_itself(tmp_path: Path) -> None:
    link, other = tmp_path / "photos", tmp_path / "photo"
    link.symlink_to("moved")
    assert near_paths(link) == []
    other.mkdir()
    assert near_paths(link) == [str(other)]
    said = f"no folder {link}, which is a link to moved, which is not there"
    assert no_such("folder", link) == f"{said} (near: {other})"
    assert missing_path("folder", link).message == said

"""A file read piece by piece holds what it holds read whole, wherever the pieces end."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats import json_stream
from toolkit.data.formats.coco_file import read_coco_file
from toolkit.errors import DataError

OBJECTS = [
    {},
    {"a": []},
    {"a": [1, 2, 3, 4.5e10, -7], "b": 5},
    {"x": [1, {"a": [2]}], "a": [{"q": '}]\\" ,'}, None, True, "é\u2028"], "b": [[], [[]]], "c": 12345678901234567890},
    {"a": [float("nan"), float("inf")], "b": {"z": 1}},
]
BROKEN = ["", "{", '{"a":[1,2', '{"a":[1 2]}', '{"a":[1,]}', '{"a":1,}', '{"a":1} x', "{a:1}", '{"a" 1}', '{"a":[nul]}']


def pieces(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in json_stream.pieces(path, {"a": None, "b": None}):
        if key in ("a", "b") and isinstance(value, list):
            found.setdefault(key, []).extend(value)
        else:
            found[key] = value
    return found


@pytest.fixture(params=[1, 3, 40])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Characters of a block of text; pieces of two rows."""
    monkeypatch.setattr(json_stream, "_BLOCK", request.param)
    monkeypatch.setattr(json_stream, "_ROWS", 2)
    return request.param


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_pieces_are_the_whole(tmp_path: Path, block: int, encoding: str) -> None:
    for one in OBJECTS:
        for text in (json.dumps(one), json.dumps(one, indent=1, ensure_ascii=False)):
            (tmp_path / "a.json").write_bytes(text.encode(encoding))
            assert repr(pieces(tmp_path / "a.json")) == repr(json.loads(text))


def test_broken_text_is_refused(tmp_path: Path, block: int) -> None:
    for text in BROKEN:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError):
            pieces(tmp_path / "a.json")


def test_what_is_no_object_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    assert pieces(tmp_path / "a.json") == {"": [1, 2]}


FAULTS = [None, "x", "7", 7.0, True, -1, 1e30, float("nan"), float("inf"), [], [1, 2, 3], ["1", 2, 3, 4], 2**70]


def mutated(random_: random.Random) -> dict[str, Any]:
    """A small COCO file with some wrong values."""
    images = [{"id": 10 + place, "file_name": f"{place}.png", "height": 24, "width": 30} for place in range(5)]
    outlines = [
        [[1, 2, 3, 4, 5, 6]],
        [],
        {"counts": [0, 720], "size": [24, 30]},
        None,
        [[1, 2, 3, 4, 5, 6], [0, 0, 3, 0, 3, 3]],
    ]
    annotations = [
        {"id": place, "image_id": random_.randint(10, 14), "category_id": random_.choice((3, 9)), "bbox": [1, 2, 3, 4.5],
         "area": 4.5, "iscrowd": 0, "segmentation": random_.choice(outlines)}
        for place in range(9)
    ]  # fmt: skip
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    for _ in range(random_.randint(0, 3)):
        row = random_.choice(random_.choice([images, annotations, annotations]))
        row[random_.choice(list(row))] = random_.choice(FAULTS)
    return content


@pytest.mark.parametrize("with_outlines", [False, True])
def test_a_coco_file_says_the_same_in_small_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_outlines: bool
) -> None:
    def read() -> str:
        problems = ProblemList()
        file = read_coco_file(path, problems, with_outlines=with_outlines)
        columns = [getattr(one, "tolist", lambda one=one: one)() for one in file]
        return repr((columns, [str(one) for one in problems.so_far], problems.blamed, problems.notes))

    path = tmp_path / "a.json"
    for seed in range(60):
        path.write_text(json.dumps(mutated(random.Random(seed))))
        whole = read()
        with monkeypatch.context() as small:
            small.setattr(json_stream, "_BLOCK", 48)
            small.setattr(json_stream, "_ROWS", 3)
            small.setattr(json_stream, "_PIECE", 300)
            assert read() == whole, seed
            small.setattr(json_stream._Reader, "many", lambda reader, decoder: [])
            assert read() == whole, seed


ROWS = """[{"id": 1, "x": [1, {"a": 2}], "q": null} , {"id": "é},{", "x": {"id": 9}},
 {"x": 1.5}, {"id": 12345678901234567890, "id": -0.0}, {"id": [{}, {}]} ,{"id": "\\u00e9\\n"}, %s {"id": 4}]"""


@pytest.mark.parametrize("odd", ["", '{"id": NaN},', '{"id": 1e999},', '{"id": "\\ud800"},', "7,", "[{}],"])
def test_rows_are_those_of_the_standard_library(tmp_path: Path, block: int, odd: str) -> None:
    class Entry(msgspec.Struct):
        id: Any = None

    (tmp_path / "a.json").write_text(f'{{"a": {ROWS % odd}}}')
    wanted = json.loads(ROWS % odd)
    found = [row for _, rows in json_stream.pieces(tmp_path / "a.json", {"a": Entry}) for row in rows]
    assert repr([row.id if isinstance(row, Entry) else row for row in found]) == repr(
        [row.get("id") if isinstance(row, dict) else row for row in wanted]
    )
    assert repr(pieces(tmp_path / "a.json")["a"]) == repr(wanted)


@pytest.mark.parametrize("fault", ["01", "1.", "[1,,2]", "nul", '"\x01"', '"\\q"', "[1}", "{1:2}"])
def test_values_that_nobody_wants_are_json_too(tmp_path: Path, fault: str) -> None:
    row = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": %s}'
    rows = ", ".join([row % "[]"] * 3 + [row % fault] + [row % "[]"] * 3)
    (tmp_path / "a.json").write_text(f'{{"images": [], "categories": [], "annotations": [{rows}]}}')
    with pytest.raises(DataError, match=r"is no valid JSON: .*character"):
        read_coco_file(tmp_path / "a.json", ProblemList())

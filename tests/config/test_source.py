"""YAML with places, and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from toolkit.config.overrides import override
from toolkit.config.paths import read
from toolkit.config.source import parse
from toolkit.errors import ConfigError


def test_numbers_and_words_are_what_users_mean() -> None:
    values = parse("a: 1e-3\nb: 1.5\nc: 10\nd: yes\ne: true\nf: 2024-01-01\ng: off\nh: ~\ni: 1_000\nj: 08", "x").values
    assert values == {
        "a": 0.001, "b": 1.5, "c": 10, "d": "yes", "e": True, "f": "2024-01-01", "g": "off", "h": None, "i": 1000, "j": "08",
    }  # fmt: skip
    assert isinstance(values["c"], int)
    assert isinstance(values["a"], float)


def test_places_of_keys_and_values() -> None:
    source = parse("model:\n  backbone: {name: resnet, depth: 18}\n", "c.yaml")
    assert str(source.where(("model", "backbone", "depth"))) == "c.yaml:2:35  model.backbone.depth"
    assert str(source.where(("model", "backbone", "depth"), key=True)) == "c.yaml:2:28  model.backbone.depth"
    assert str(source.where(("model", "neck"))) == "c.yaml:1:1  model.neck"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\na: 2", "c.yaml:2:1", "stands twice"),
        ("a: [1, 2", "c.yaml:", "not valid YAML"),
        ("a: &x [*x]", "c.yaml:1:", "aliases"),
        ("- 1\n- 2", "c.yaml", "mapping of sections"),
        ("\tb: 1", "c.yaml:1:1", "not valid YAML"),
        ("? [a]\n: 1", "c.yaml:1:3", "single word"),
        ("a: !!timestamp 2024-01-01", "c.yaml:1:4", "plain value"),
    ],
)
def test_bad_files_are_refused_with_a_place(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.yaml")
    assert place in str(caught.value)
    assert words in str(caught.value)


def test_a_tag_is_no_command() -> None:
    for text in (
        "!!python/object/apply:os.system [echo]",
        "!!python/name:os.system",
        "!!set {a}",
        "!mine 3",
        "!!timestamp 2001-01-01x",
        "!!bool x",
        "!!int x",
        "!!binary é",
    ):
        with pytest.raises(ConfigError, match=r"c\.yaml:1:4  a: "):
            parse(f"a: {text}", "c.yaml")


def test_multiplying_aliases_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="multiply"):
        parse("\n".join(lines), "bomb.yaml")


LONG = {
    "flat list": "a: [" + "1," * 480_000 + "1]",
    "flat mapping": "".join(f"k{number}: 1\n" for number in range(19_000)),
    "flat mapping on one line": "a: {" + "b,\n" * 15_000 + "}",
    "list of lines": "a:\n" + "- 1\n" * 230_000,
    "two megabytes": "".join(f"key{number}: {number}\n" for number in range(120_000)),
    "comments": "#\n" * 500_000,
    "blank lines": "\n" * 1_000_000,
    "block of text": "a: |\n" + "  x\n" * 250_000,
    "deep blocks": "".join("  " * depth + "a:\n" for depth in range(400)),
    "deep dashes": "- " * 300_000,
    "deep brackets": "[" * 500_000,
    "deep questions": "? " * 300_000,
}


@pytest.mark.parametrize("what", LONG)
def test_what_is_longer_than_any_config_is_refused_early(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of it is looked at than a config may have, so that it ends at once on any machine."""
    made = []
    monkeypatch.setattr(
        yaml.ScalarNode, "__init__", lambda self, *a, _i=yaml.ScalarNode.__init__, **k: made.append(_i(self, *a, **k))
    )
    with pytest.raises(ConfigError, match=r"larger than|more than"):
        parse(LONG[what], "c.yaml")
    assert len(made) <= 10_000


def test_overrides_lie_over_the_file() -> None:
    source = parse("train: {steps: 10}\ndata: {t: [{p: 0.1}, {p: 0.2}]}\nmodel: {head: {loss: dice}}", "c.yaml")
    override(source, ["train.steps=100", "data.t.1.p=0.5", "train.new.deep=[1, 2]", "model.head.loss.smooth=1.0"])
    assert source.values["train"] == {"steps": 100, "new": {"deep": [1, 2]}}
    assert source.values["data"]["t"][1] == {"p": 0.5}
    assert source.values["model"]["head"]["loss"] == {"name": "dice", "smooth": 1.0}
    assert str(source.where(("train", "steps"))) == "command line  train.steps"


def test_an_override_adds_to_a_list() -> None:
    source = parse("data: {t: [{p: 0.1}]}", "c.yaml")
    override(source, ["data.t.+=copy_paste", "data.t.+={name: flip}", "data.t.2.p=0.5", "data.t.1.share=0.3"])
    assert source.values["data"]["t"] == [{"p": 0.1}, {"name": "copy_paste", "share": 0.3}, {"name": "flip", "p": 0.5}]
    assert str(source.where(("data", "t", 1))).startswith("command line")
    with pytest.raises(ConfigError, match="wanted a place 0 to 2"):
        override(source, ["data.t.+.p=0.5"])


def test_bad_overrides_are_all_named() -> None:
    source = parse("a: {b: 1}\nc: [1]", "c.yaml")
    with pytest.raises(ConfigError) as caught:
        override(source, ["nonsense", "c.5=1", "c.x=1"])
    assert len(caught.value.problems) == 3


def test_missing_file_names_neighbours(tmp_path: Path) -> None:
    (tmp_path / "unet_camvid.yaml").write_text("{}")
    with pytest.raises(ConfigError, match=r"near: .*unet_camvid\.yaml"):
        read(tmp_path / "unet_camvd.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match="not a text file"):
        read(tmp_path / "binary.yaml")

"""Whatever stands in a config file: a config, or one message a mistake; never a traceback, never code run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_mutations import garbled, mutated
from tiny_run import TINY as WITHOUT_ROOT

from toolkit.cli.main import run
from toolkit.config.load import load_config
from toolkit.errors import ConfigError, UserError
from toolkit.jobs.restore import load_model

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))

TINY = WITHOUT_ROOT.replace("data:\n", "data:\n  root: somewhere\n", 1)

ODD_FILES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n# nothing\n",
    "binary": bytes(range(256)) * 8,
    "picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
    "utf-16": "model: 3".encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbfmodel: 3",
    "tabs": b"model:\n\tbackbone: resnet\n",
    "windows": TINY.replace("\n", "\r\n").encode(),
    "old mac": TINY.replace("\n", "\r").encode(),
    "nested": b"a: " + b"[" * 100_000,
    "nested mappings": b"{a: " * 3000,
    "nested by indentation": "".join(" " * depth + "a:\n" for depth in range(1200)).encode(),
    "laughs": b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n".encode() for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "itself": b"model: &m {backbone: *m}",
    "itself as a key": b"&a ? *a : 3",
    "merge": b"a: &a {x: 1}\nmodel:\n  <<: *a\n",
    "python": b"model: !!python/object/apply:os.system ['touch owned']",
    "python module": b"model: !!python/module:antigravity",
    "long number": b"seed: " + b"9" * 100_000,
    "long word": b"model: " + b"x" * 1_000_000,
    "long key": b"x" * 2000 + b": 3",
    "odd keys": b"? null\n: 1\n? true\n: 2\n? 3.5\n: 4\n? .nan\n: 5\n? .nan\n: 6\n",
    "documents": b"---\na: 1\n---\nb: 2\n",
    "directive": b"%TAG ! tag:x,2000:\n---\n!a {b: 1}\n",
    "surrogate": b'model: "\\ud800"',
    "escapes": b'"\\e[2J\\x00\\u202e": 3',
    "no newline": b"model:",
    "numbers": b"[1, 2, 3]",
}  # fmt: skip


def one_answer(code: int, out: str, err: str, name: str) -> None:
    """Exit code 2, one JSON object, and a line a mistake that says where; no traceback, nothing a terminal obeys."""
    assert code == 2, (code, err)
    assert "Traceback" not in err
    errors = json.loads(out)["errors"]
    assert errors
    assert len(err.strip("\n").split("\n")) == len(errors)
    assert all(name in line or "command line" in line for line in err.strip("\n").split("\n"))
    assert all(letter.isprintable() or letter == "\n" for letter in err)
    assert max(map(len, err.split("\n"))) < 1500


def attempt(file: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Loads a file; what the command line says of a bad one. Whether it was good."""
    try:
        load_config(file)
    except ConfigError:
        code = run(["train", str(file), "--json"])
        one_answer(code, *capsys.readouterr(), file.name)
        return False
    return True


@pytest.mark.parametrize("name", ODD_FILES)
def test_odd_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "odd.yaml"
    file.write_bytes(ODD_FILES[name])
    assert attempt(file, capsys) == (name in ("windows", "old mac"))
    assert [path.name for path in tmp_path.iterdir()] == ["odd.yaml"]


@pytest.mark.parametrize(
    "kind", ["folder", "missing", "loop", "long name", "endless", "nothing", "not allowed", "not utf-8"]
)
def test_odd_paths(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path: Any = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "long name":
        path = tmp_path / ("odd" * 200)
    elif kind == "endless":
        path = Path("/dev/zero")
    elif kind == "nothing":
        path = Path("/dev/null")
    elif kind == "not utf-8":
        path = f"{path}\udc80"
    elif kind == "not allowed":
        path.write_text("model: 3")
        path.chmod(0)
    assert run(["train", str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["errors"]
    assert "Traceback" not in err


def test_a_name_that_no_system_takes() -> None:
    for take in (load_config, load_model):
        with pytest.raises(UserError, match="odd"):
            take("odd\0.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_few_accidents_to_each_config(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accidents(path, range(3), tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_many_accidents_to_each_config(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accidents(path, range(3, 100), tmp_path, capsys)


def accidents(path: Path, seeds: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, data = yaml.safe_load(path.read_text()), path.read_bytes()
    file = tmp_path / "changed.yaml"
    sound = 0
    for seed in seeds:
        file.write_text(yaml.dump(mutated(good, seed), allow_unicode=seed % 2 == 0))
        sound += attempt(file, capsys)
        file.write_bytes(garbled(data, seed))
        sound += attempt(file, capsys)
    assert sound < 2 * len(seeds)  # not all are harmless


@pytest.mark.parametrize("seed", range(40))
def test_odd_overrides(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    text = garbled(b"model.backbone.width=8", seed).decode("utf-8", "surrogateescape").replace("\0", "")
    code = run(["train", str(file), text or "=", "train.steps=x", "--json"])
    out, err = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in err
    assert json.loads(out)["errors"]

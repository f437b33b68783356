"""Each kind of part has a worked example in CONTRIBUTING.md, and it works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit.cli
from toolkit.cli.main import run, verb
from toolkit.contracts import BACKBONES, DATASETS, EVALUATORS, HEADS, LOSSES, FeaturePyramid, PyramidSpec
from toolkit.samples import Batch, LabelMap, Truth

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
REGISTRIES = (BACKBONES, DATASETS, EVALUATORS, HEADS, LOSSES)


def example(word: str) -> str:
    """The Python block that holds a word."""
    (found,) = (
        block for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if word in block
    )
    return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an example in names of its own; what it registers is forgotten after the test."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    def defined(word: str) -> dict[str, Any]:
        found: dict[str, Any] = {"__name__": "example"}
        exec(compile(example(word), "CONTRIBUTING.md", "exec", dont_inherit=True), found)
        return found

    return defined


def test_backbone(names: Any) -> None:
    part = names('register("tiny")')["Tiny"](width=4)
    assert [tuple(one.shape) for one in part(torch.zeros(1, 3, 9, 12)).maps] == [(1, 4, 9, 12), (1, 8, 5, 6)]


def test_loss(names: Any) -> None:
    loss = names('register("poly1")')["Poly1"](epsilon=2.0)
    logits, labels = torch.tensor([[[[2.0]], [[0.0]]]]), torch.tensor([[[0]]])
    p = logits.softmax(1)[0, 0, 0, 0]
    assert loss(logits, labels).item() == pytest.approx((-p.log() + 2 * (1 - p)).item())


def test_metric(names: Any) -> None:
    make = names('register("area")')["AreaError"]
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    images = [
        (LabelMap(torch.tensor([[0, 1, 1, 1]], dtype=torch.uint8)), Truth("a", 0, (1, 4), truth)),
        (LabelMap(torch.tensor([[0, 0, 1, 1]], dtype=torch.uint8)), Truth("b", 1, (1, 4), truth)),
    ]
    whole, first, second = make(["x", "y"]), make(["x", "y"]), make(["x", "y"])
    whole.update(*zip(*images, strict=True))
    first.update([images[0][0]], [images[0][1]])
    second.update([images[1][0]], [images[1][1]])
    first.merge(second.state())
    assert first.compute() == whole.compute()
    assert whole.compute()["area error"] == pytest.approx(1 / 6)


def test_data_set(names: Any, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "train" / "a.photo.png")
    Image.fromarray(np.full((3, 4), 200, np.uint8)).save(tmp_path / "train" / "a.truth.png")
    data = names('register("weeds")')["Weeds"](str(tmp_path))
    assert data[0].label_map.tolist() == [[1] * 4] * 3


def test_head(names: Any) -> None:
    spec = PyramidSpec(channels=(5,), strides=(4,))
    head = names('register("mean")')["MeanHead"](spec, 3)
    pyramid = FeaturePyramid((torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)),), spec, (16, 16))
    sizes = torch.tensor([[16, 16]] * 2)
    batch = Batch(
        torch.zeros(2, 3, 16, 16, dtype=torch.uint8), sizes, sizes, ("a", "b"), image_labels=torch.tensor([0, 2])
    )
    assert head(pyramid).shape == (2, 3)
    assert head.loss(pyramid, batch)["classes"].isfinite()
    assert [one.scores.sum().item() for one in head.predict(pyramid, batch)] == pytest.approx([1, 1])


def test_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "verbs").mkdir()
    (tmp_path / "verbs" / "count.py").write_text(example('"count"'))
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr(toolkit.cli, "__path__", [*toolkit.cli.__path__, str(tmp_path / "verbs")])
    assert verb("count") is not None
    assert run(["count", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 pictures\n"

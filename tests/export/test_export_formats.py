"""Other formats and precisions, and engines behind `predict`: each export costs seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_export import tiny_segnet, tiny_unet
from tiny_run import write_tiny

from toolkit.config.load import load_config
from toolkit.export.engines import with_engine
from toolkit.jobs.export import Wishes, run_export
from toolkit.jobs.train import run_training
from toolkit.samples import Sample, collate

pytestmark = pytest.mark.slow
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    run_training(load_config(str(write_tiny(folder, folder / "data")), ["train.steps=2"]), folder / "run")
    return folder / "run"


@pytest.mark.parametrize("to", ["openvino", "torch"])
def test_every_format_is_proved(trained: Path, to: Any) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")
    found = run_export(trained, to)
    assert found["parity"]["ok"], found["parity"]["problems"]


@pytest.mark.parametrize(
    "wishes", [Wishes(raw=True), Wishes(half=True), Wishes(size=(48, 56))], ids=["raw", "half", "size"]
)
def test_every_kind_is_proved(trained: Path, tmp_path: Path, wishes: Wishes) -> None:
    found = run_export(trained, "onnx", tmp_path / "model.onnx", wishes)
    assert found["parity"]["ok"], found["parity"]["problems"]
    assert json.loads((tmp_path / "parity.json").read_text())["precision"] == ("half" if wishes.half else "float32")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "auto"])
def test_an_engine_answers_as_the_model(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for make in (lambda: tiny_unet("valid"), tiny_segnet):
        model = make()
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (37, 51, 3), np.uint8)
        batch = collate([Sample(image, "a", 0, (37, 51))])
        wanted = model.predict(batch)[0].numpy()
        with torch.inference_mode():
            found = with_engine(model, engine, 1).predict(batch)[0].numpy()
        assert (wanted == found).mean() >= 0.999

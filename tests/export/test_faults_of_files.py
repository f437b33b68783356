"""Files that answer otherwise than their model are refused by the certificate, which names what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted_faults import FAULTS, enlarge, reorder
from tiny_export import other_windows, tiny_segnet, tiny_unet

from toolkit.export.certificate import Certificate, prove
from toolkit.export.comparison import BOUNDS
from toolkit.export.graph import ExportGraph
from toolkit.export.metadata import metadata_of
from toolkit.export.onnx import write_onnx
from toolkit.export.program import write_down
from toolkit.export.runner import write_runner
from toolkit.models.vision_model import VisionModel

pytestmark = pytest.mark.slow
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
SIZE = (37, 51)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def proof(
    right: VisionModel,
    wrong: VisionModel,
    folder: Path,
    given: np.ndarray | None = None,
    *,
    half: bool = False,
    **about: Any,
) -> Certificate:
    """The certificate of one model for the file of another."""
    program = write_down(ExportGraph(wrong, half=half, blocks=True).eval(), SIZE)
    notes = metadata_of(right, {}, program, raw=False) | about
    write_onnx(program, folder / "model.onnx", notes)
    write_runner(folder / "model.onnx", "onnx", right)
    picture = folder / "picture.png"
    Image.fromarray(noise() if given is None else given).save(picture)
    bounds = BOUNDS["half" if half else "float32"]
    return prove(right, folder / "model.onnx", "onnx", [picture], bounds, size=SIZE)


@pytest.mark.parametrize(("make", "plant", "block", "words"), FAULTS)
def test_a_planted_fault_is_refused_and_named(
    make: Callable[[], VisionModel], plant: Callable[[VisionModel], object], block: str, words: str, tmp_path: Path
) -> None:
    right, wrong = make(), make()
    plant(wrong)
    found = proof(right, wrong, tmp_path)
    assert not found.ok
    assert found.fault is not None
    assert found.fault.block == block
    assert words in found.fault.why


def test_an_overflow_of_half_precision_is_refused_and_named(tmp_path: Path) -> None:
    model = tiny_unet()
    enlarge(model)
    found = proof(model, model, tmp_path, half=True)
    assert not found.ok
    assert found.fault is not None
    assert found.fault.block.startswith("backbone.")
    assert "half precision overflows" in found.fault.why


def test_stale_names_are_refused_where_the_answers_are_the_same(tmp_path: Path) -> None:
    model = tiny_unet()
    found = proof(model, model, tmp_path, classes=list(model.classes)[::-1])
    assert not found.ok
    assert found.whole.logit is not None
    assert found.whole.logit <= 1e-4
    assert found.fault is not None
    assert "stale class order: in another order" in found.fault.why


def test_the_model_itself_is_proved(tmp_path: Path) -> None:
    found = proof(tiny_unet(), tiny_unet(), tmp_path)
    assert found.ok, found.problems


def test_a_fault_beside_ties_of_pooling_windows_is_named(tmp_path: Path) -> None:
    wrong = other_windows(tiny_segnet())
    reorder(wrong)
    found = proof(tiny_segnet(), wrong, tmp_path, np.full((*SIZE, 3), 200, np.uint8))
    assert not found.ok
    assert found.fault is not None
    assert found.fault.block == "logits"
    assert "class order" in found.fault.why


def test_another_window_than_that_of_the_maximum_is_named(tmp_path: Path) -> None:
    found = proof(tiny_segnet(), other_windows(tiny_segnet()), tmp_path)
    assert not found.ok
    assert found.fault is not None
    assert found.fault.block == "neck.unpools.0"

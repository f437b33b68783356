"""Dropout's noise in other engines is that of PyTorch, to the bit: hashes, whose integers not every engine shifts alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import tiny_segnet, tiny_unet
from torch import Tensor, nn

from toolkit.export.graph import ExportGraph
from toolkit.export.metadata import EXPORT
from toolkit.export.onnx import write_onnx
from toolkit.export.onnx_shift import shift_translations
from toolkit.export.openvino import write_openvino
from toolkit.export.program import write_down
from toolkit.export.programs import load_program
from toolkit.models.placed_dropout import dropped

pytestmark = pytest.mark.slow
pytest.importorskip("onnxscript")
ENGINES = ["onnxruntime", "openvino"]


class Noise(nn.Module):
    """Which cells of a map of 8 channels drop, and two shifts of numbers of either sign."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bits = torch.arange(x.shape[0], dtype=torch.int32) * 0x7FEB352D
        cells = (x.shape[0], x.shape[1])
        return dropped(0.3, -123456789, 8, cells, (0, 0)).to(torch.uint8), bits >> 16, (bits >> 15) & 0x1FFFF


@pytest.mark.parametrize("engine", ENGINES)
def test_every_cell_drops_as_in_pytorch(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    given = torch.zeros(300, 500)
    sides = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.export.export(Noise(), (given,), dynamic_shapes=(sides,), strict=False)
    made = torch.onnx.export(
        program, dynamo=True, opset_version=20, verbose=False, custom_translation_table=shift_translations()
    )
    assert made is not None
    made.save(tmp_path / "model.onnx")
    path = tmp_path / "model.onnx"
    if engine == "openvino":
        path = tmp_path / "model.xml"
        write_openvino(tmp_path / "model.onnx", path, {}, half=False)
    found = load_program(path)(given.numpy())
    for mine, theirs in zip(Noise()(given), found.values(), strict=True):
        np.testing.assert_array_equal(theirs, mine.numpy())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [tiny_unet, tiny_segnet])
def test_the_mean_of_samples_is_pytorchs(make: type, engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    graph = ExportGraph(make(samples=2), samples=2).eval()
    program = write_down(graph, (37, 51), comparing=engine == "openvino")
    path = tmp_path / "model.onnx"
    write_onnx(program, path, {})
    if engine == "openvino":
        path = tmp_path / "model.xml"
        write_openvino(tmp_path / "model.onnx", path, {EXPORT: {"outputs": list(graph.names)}}, half=False)
    with torch.no_grad():
        wanted = graph(program.example)
    found = load_program(path)(program.example.numpy())
    for name, mine in zip(graph.names, wanted, strict=True):
        if name == "labels":
            assert (found[name] == mine.numpy()).mean() > 0.999
        else:
            np.testing.assert_allclose(found[name], mine, rtol=0, atol=1e-5, err_msg=name)

"""One program serves even and odd sizes and any number of pictures, whatever its example was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import tiny_classifier, tiny_coarse, tiny_lite, tiny_lrn, tiny_of_library, tiny_segnet, tiny_unet
from versions import OLD_TORCH

from toolkit.export.graph import ExportGraph
from toolkit.export.onnx import write_onnx
from toolkit.export.program import write_down
from toolkit.models.vision_model import VisionModel

Make = Callable[[], VisionModel]
NETS: dict[str, Make] = {
    "lrn": tiny_lrn,
    "segnet": tiny_segnet,
    "unet": tiny_unet,
    "valid": lambda: tiny_unet("valid"),
    "coarse": tiny_coarse,
    "lite": tiny_lite,
    "timm": lambda: tiny_of_library("timm", model="mobilenetv3_small_050"),
    "smp": lambda: tiny_of_library("smp", "smp", encoder="mobilenet_v2"),
}
CLASSIC: dict[str, Make] = {
    "alexnet 2012": lambda: tiny_classifier("alexnet", 6, variant="2012"),  # local response normalisation, groups
    "googlenet of the paper": lambda: tiny_classifier("googlenet", batch_norm=False),
    "vgg": lambda: tiny_classifier("vgg", 7, "max", depth=11),
    "densenet": lambda: tiny_classifier("densenet", depth=121),
    "maxout": lambda: tiny_classifier("maxout"),
}
PICTURES = [(1, 37, 51), (3, 64, 96), (2, 33, 80), (1, 127, 96)]
LARGER = [(1, 101, 131), (3, 128, 160), (2, 224, 100)]
"""For nets that pool their last map: of one cell a side it would be another program."""


@pytest.mark.skipif(OLD_TORCH, reason="the exporter of torch 2.11 ties this program to odd sizes")
def test_a_program_answers_as_its_graph_at_every_size() -> None:
    graph = ExportGraph(tiny_lrn()).eval()
    program = write_down(graph)
    written = program.exported.module()
    for number, height, width in PICTURES:
        given = graph.example((height, width), number)
        with torch.no_grad():
            for wanted, found in zip(graph(given), written(given), strict=True):
                torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETS, *CLASSIC])
def test_program_and_onnx_file_answer_alike_at_every_size(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = ExportGraph((NETS | CLASSIC)[name]()).eval()
    program = write_down(graph)
    written = program.exported.module()
    write_onnx(program, tmp_path / "net.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    place = program.outputs.index("logits")
    for number, height, width in LARGER if name in CLASSIC else PICTURES:
        given = graph.example((height, width), number)
        with torch.no_grad():
            wanted, again = graph(given)[place], written(given)[place]
        torch.testing.assert_close(again, wanted, rtol=0, atol=1e-5)
        (found,) = session.run(["logits"], {program.input: given.numpy()})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)

"""An exported file once more, with values inside it among its outputs, to see where it differs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.fx import Interpreter, Node

from toolkit.export.graph import BLOCK


def with_blocks(file: Path, target: str, names: Sequence[str], folder: Path) -> Path:
    """A copy of a file whose outputs include the named values, those it has, with its `run.py` where there is one.

    Args:
        file: an exported file, which is left as it is.
        target: onnx, openvino or torch; a program of torch.export is left as it is.
        names: names of values inside the program.
        folder: where the copy goes; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (runner := file.with_name("run.py")).is_file():
        shutil.copy(runner, folder / "run.py")
    copy = folder / file.name
    if target == "onnx":
        _onnx(file, names, copy)
    elif target == "openvino":
        _openvino(file, names, copy)
    else:
        shutil.copy(file, copy)
    return copy


@torch.no_grad()
def values_inside(file: Path, names: Sequence[str], given: np.ndarray) -> dict[str, np.ndarray]:
    """The last values that parts make inside a .pt2 file, in this process, by those of the names that it knows.

    Args:
        file: a program of torch.export, whose steps note the parts that they are of.
        names: names of parts of the model under `BLOCK`.
        given: what the program takes: pictures or pixels, with their first axis.
    """
    program: Any = torch.export.load(str(file)).module()
    parts = {f"model.{name.removeprefix(BLOCK)}": name for name in names}
    last: dict[str, Node] = {}
    for node in program.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if stack and stack[-1][0] in parts:
            last[parts[stack[-1][0]]] = node
    kept: dict[str, np.ndarray] = {}

    class Keeping(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            kept.update({name: value.numpy() for name, node in last.items() if node is n})
            return value

    Keeping(program).run(torch.from_numpy(np.array(given)))
    return kept


def _onnx(file: Path, names: Sequence[str], copy: Path) -> None:
    import onnx

    model = onnx.load(str(file))
    made = {output for node in model.graph.node for output in node.output}
    there = {output.name for output in model.graph.output}
    for name in names:
        if name in made and name not in there:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    onnx.save(model, str(copy))


def _openvino(file: Path, names: Sequence[str], copy: Path) -> None:
    import openvino

    model = openvino.Core().read_model(str(file))
    made = {name for node in model.get_ops() for output in node.outputs() for name in output.get_names()}
    there = {name for output in model.outputs for name in output.get_names()}
    for name in names:
        if name in made - there:
            model.add_outputs(name)
    for port in model.outputs:
        wanted = [name for name in port.get_names() if name in names]
        if wanted:
            port.get_tensor().set_names({wanted[0]})
    openvino.save_model(model, str(copy), compress_to_fp16=False)

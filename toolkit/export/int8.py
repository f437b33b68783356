"""Eight bits a weight and activation: onnxruntime's static quantisation, with ranges from the run's own pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import Problem, UserError, first_line
from toolkit.export.fresh_side import load_runner
from toolkit.export.installed import needed
from toolkit.export.metadata import as_texts

_QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""Operators whose inputs and weights are stored in eight bits; everything before and behind them stays as it is."""
_FIRST = ("Conv", "ConvTranspose")
"""What a net begins with: products of matrices before it resize pictures."""


def quantise(source: Path, path: Path, pictures: Sequence[Path], runner: Path, metadata: Mapping[str, Any]) -> None:
    """Writes an ONNX file whose convolutions compute in eight bits. Raises UserError when the quantisation fails.

    Args:
        source: the ONNX file of the program in float32.
        path: where the new file is written.
        pictures: files whose activations give the ranges.
        runner: `run.py`, by which they are read.
        metadata: what is kept in the file, of the kinds that JSON has.
    """
    needed("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        simple, made = Path(folder) / "simple.onnx", Path(folder) / "made.onnx"
        try:
            quant_pre_process(str(source), str(simple), skip_symbolic_shape=True)
            resizing = not_of_the_net(onnx.load(str(simple)))
            quantize_static(
                str(simple), str(made), _Reader(pictures, runner, metadata), quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED, per_channel=True, activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8, nodes_to_exclude=resizing,
            )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            message = f"onnxruntime cannot quantise it: {first_line(error)}"
            raise UserError(Problem("--int8", message, "leave --int8 out")) from error
        model = onnx.load(str(made))
    del model.metadata_props[:]
    for name, text in as_texts(metadata).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def not_of_the_net(model: Any) -> list[str]:
    """Names of nodes before the first convolutions, which resize pictures and need more than eight bits for it.

    model: an `onnx.ModelProto` whose nodes stand in the order in which they are computed.
    """
    inside: set[str] = set()
    found = []
    for node in model.graph.node:
        if node.op_type in _FIRST or inside & set(node.input):
            inside.update(node.output)
        elif node.op_type in _QUANTISED:
            found.append(node.name)
    return found


class _Reader:
    """Pictures as onnxruntime asks for them."""

    def __init__(self, pictures: Sequence[Path], runner: Path, notes: Mapping[str, Any]) -> None:
        self._runner = load_runner(str(runner))
        self._given = self._pixels(pictures, notes)

    def _pixels(self, pictures: Sequence[Path], notes: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        name = notes["export"]["input"]["name"]
        for path in pictures:
            yield {name: self._runner.read(path, notes)}

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next picture, None after the last."""
        return next(self._given, None)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self._given

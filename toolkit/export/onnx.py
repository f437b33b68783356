"""A program as an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import PartsError, Problem
from toolkit.export.graph import BLOCK
from toolkit.export.installed import needed
from toolkit.export.metadata import as_texts
from toolkit.export.onnx_pooling import pooling_translations
from toolkit.export.program import Program
from toolkit.files import replacing

OPSET = 20
"""Version of ONNX's operators that files are written in: read by onnxruntime 1.17 and OpenVINO 2024.0, or later."""


def write_onnx(program: Program, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a program with its metadata, by rename. Values under `BLOCK` stay inside the graph, by their names.

    Raises PartsError for an operator that ONNX lacks, UserError when a package is not installed or the disk refuses.

    Args:
        program: the program that `write_down` made of a model.
        path: where the .onnx file is written.
        metadata: what is kept in the file, of the kinds that JSON has.
    """
    needed("onnx", "onnxscript")
    axes = (0, 2, 3) if program.example.ndim == 4 and program.example.is_floating_point() else (0, 1, 2)
    names = dict(zip(axes, ("N", "H", "W"), strict=True)) if program.size is None else {}
    with _quiet():
        try:
            made = torch.onnx.export(
                program.exported, dynamo=True, opset_version=OPSET, verbose=False, output_names=list(program.outputs),
                input_names=[program.input, *program.more], custom_translation_table=pooling_translations() | program.translations,
            )  # fmt: skip
        except Exception as error:  # one class of many layers, whose cause stands in its last lines
            last = [line.strip() for line in str(error).splitlines() if line.strip()]
            message = f"cannot be said in ONNX (opset {OPSET}): {last[-1] if last else type(error).__name__}"
            raise PartsError(Problem("model", message, "toolkit export --to torch")) from error
    if made is None:
        raise PartsError(Problem("model", "PyTorch's exporter gave no program"))
    graph = made.model.graph
    kept = [output for output in graph.outputs if not (output.name or "").startswith(BLOCK)]
    del graph.outputs[:]
    graph.outputs.extend(kept)
    _name_axes(graph.inputs[0], names)
    made.model.metadata_props.update(as_texts(metadata))
    made.model.producer_name = "toolkit"
    with replacing(path) as part:
        made.save(part)


def _name_axes(value: Any, names: Mapping[int, str]) -> None:
    """Readable names for the sides of the input."""
    if value.shape is None or not names:
        return
    import onnx_ir

    value.shape = onnx_ir.Shape([names.get(axis, side) for axis, side in enumerate(value.shape)])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and its warnings, which are for its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)

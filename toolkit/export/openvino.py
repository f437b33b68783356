"""A program as OpenVINO's files (.xml with .bin beside it), converted from its ONNX file, whose names it keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import PartsError, Problem, first_line
from toolkit.export.installed import needed
from toolkit.export.metadata import EXPORT

NOTES = "toolkit"
"""Entry of the model's run-time information that holds the metadata, as one text of JSON."""


def write_openvino(onnx_file: Path, path: Path, metadata: Mapping[str, Any], *, half: bool) -> None:
    """Converts an ONNX file. Raises PartsError for an operator that OpenVINO lacks.

    Args:
        onnx_file: the program as an ONNX file.
        path: path of the .xml file; weights go into a .bin of the same name.
        metadata: what is kept in the file, of the kinds that JSON has.
        half: whether weights are stored as float16.
    """
    needed("openvino")
    os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
    import openvino

    try:
        model = openvino.convert_model(str(onnx_file))
    except Exception as error:  # of many classes
        first = first_line(error)
        raise PartsError(Problem("model", f"cannot be said in OpenVINO's operators: {first}", "--to onnx")) from error
    for port in model.outputs:  # of the names that a value collects on the way one is left
        wanted = [name for name in port.get_names() if name in metadata.get(EXPORT, {}).get("outputs", [])]
        if wanted:
            port.get_tensor().set_names({wanted[0]})
    model.set_rt_info(json.dumps(dict(metadata), default=str), [NOTES])
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, str(path), compress_to_fp16=half)

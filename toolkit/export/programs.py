"""Exported files as functions: arrays in, arrays by name out, whatever engine runs them."""

from __future__ import annotations

import json
import logging
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import CheckpointError, Problem, UserError, first_line
from toolkit.export.installed import needed
from toolkit.export.metadata import EXPORT, from_texts

_BEGIN = 4096
"""Bytes of an .xml file in which its first element stands."""
ENDINGS = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "torch"}
"""The engine that runs a file of each ending."""


class Run(ABC):
    """A file of another engine, loaded.

    Args:
        path: the file that the engine loads.
        threads: threads of one operation; None is the engine's choice.
    """

    engine: str

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path, self.threads = path, threads
        self.metadata: dict[str, Any] = {}
        self.inputs: list[tuple[str, tuple[Any, ...], str]] = []
        """Name, shape (numbers, or names of sides that are open) and type of each input."""
        self.outputs: list[tuple[str, tuple[Any, ...], str]] = []
        """The same of each output."""

    @abstractmethod
    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Outputs by name for the first input.

        files: (N, 2) sizes of the files of pictures that were resized, for programs of detectors, whose boxes are then in
        these pixels; the others do not look at it.
        """

    def __deepcopy__(self, memo: Any) -> Run:
        """Itself: an engine's session cannot be copied, and analyses of a model's layers copy the model."""
        return self

    @property
    def notes(self) -> dict[str, Any] | None:
        """What `toolkit export` wrote of the graph; None for somebody else's file."""
        notes = self.metadata.get(EXPORT)
        return notes if isinstance(notes, dict) else None

    def described(self) -> str:
        """Inputs and outputs in a line each."""
        rows = [("input", one) for one in self.inputs] + [("output", one) for one in self.outputs]
        return "\n".join(
            f"{kind} {name} {'x'.join(map(str, shape)) or 'scalar'} {dtype}" for kind, (name, shape, dtype) in rows
        )


class OnnxRun(Run):
    """An ONNX file run by onnxruntime, on the CPU."""

    engine = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__(path, threads)
        needed("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.metadata = from_texts(dict(self.session.get_modelmeta().custom_metadata_map))
        self.inputs = [(one.name, tuple(one.shape), one.type) for one in self.session.get_inputs()]
        self.outputs = [(one.name, tuple(one.shape), one.type) for one in self.session.get_outputs()]

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`."""
        names = [name for name, *_ in self.outputs]
        more = zip(self.inputs[1:], more_of(given, files), strict=False)
        feeds = {self.inputs[0][0]: given, **{name: value for (name, *_), value in more}}
        return dict(zip(names, self.session.run(names, feeds), strict=True))


class OpenvinoRun(Run):
    """OpenVINO's files run by it, on the CPU, in float32."""

    engine = "openvino"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__(path, threads)
        needed("openvino")
        import openvino

        core = openvino.Core()
        model = core.read_model(str(path))
        try:
            self.metadata = json.loads(model.get_rt_info(["toolkit"]).astype(str))
        except RuntimeError:  # there is no such entry
            self.metadata = from_texts({})
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self.made = core.compile_model(model, "CPU", options)
        # Names are the file's: compiling gives a value also those of steps that it leaves out.
        self.inputs, self.outputs = (
            [
                (named.get_any_name(), _sides(one.get_partial_shape()), one.get_element_type().get_type_name())
                for named, one in zip(*ports, strict=True)
            ]
            for ports in ((model.inputs, self.made.inputs), (model.outputs, self.made.outputs))
        )

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`."""
        more = more_of(given, files)[: len(self.inputs) - 1]
        values = self.made([given, *more]).to_tuple()
        return {name: np.array(value) for (name, *_), value in zip(self.outputs, values, strict=True)}


def _sides(shape: Any) -> tuple[Any, ...]:
    return tuple(side.get_length() if side.is_static else "?" for side in shape)


class TorchRun(Run):
    """A .pt2 file run by PyTorch."""

    engine = "torch"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__(path, threads)
        import torch
        import torchvision.ops  # noqa: F401  (operators of detectors)

        texts = {"toolkit.json": ""}
        log = logging.getLogger("torch.export")
        before = log.level
        log.setLevel(logging.CRITICAL)  # it writes a traceback before it raises
        try:
            exported = torch.export.load(str(path), extra_files=texts)
        finally:
            log.setLevel(before)
        self.program = exported.module()
        self.metadata = json.loads(texts["toolkit.json"]) if texts["toolkit.json"] else {}
        nodes = {node.name: node for node in exported.graph.nodes}
        given, made = exported.graph_signature.user_inputs, exported.graph_signature.user_outputs
        names = (self.notes or {}).get("outputs") or [f"output {place}" for place in range(len(made))]
        self.inputs = [(str(name), *_shape_and_type(nodes.get(name))) for name in given]
        self.outputs = [(name, *_shape_and_type(nodes.get(one))) for name, one in zip(names, made, strict=True)]

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`."""
        import torch

        with torch.no_grad():
            more = more_of(given, files)[: len((self.notes or {}).get("more_inputs", []))]
            found = self.program(torch.from_numpy(given), *map(torch.from_numpy, more))
        values = found if isinstance(found, (tuple, list)) else (found,)
        return {name: value.numpy() for (name, *_), value in zip(self.outputs, values, strict=True)}


def _shape_and_type(node: Any) -> tuple[tuple[Any, ...], str]:
    """Sides (numbers, "?" where they are open) and type of a value of PyTorch's program."""
    value = getattr(node, "meta", {}).get("val")
    if value is None:
        return (), ""
    return tuple(side if type(side) is int else "?" for side in value.shape), str(value.dtype).removeprefix("torch.")


_RUNS: Mapping[str, Callable[[Path, int | None], Run]] = {".onnx": OnnxRun, ".xml": OpenvinoRun, ".pt2": TorchRun}


def sizes_of(pictures: np.ndarray) -> np.ndarray:
    """(N, 2) int64 height and width of pictures (N, H, W, C), for programs of detectors, which ask for them."""
    return np.array([pictures.shape[1:3]] * len(pictures), np.int64)


def more_of(pictures: np.ndarray, files: np.ndarray | None = None) -> list[np.ndarray]:
    """What a program of a detector asks for beside the pictures: their sizes, and those of their files, (N, 2) int64 both.

    files: (N, 2) height and width of the files, where the pictures were resized; boxes are answered in these pixels.
    """
    sizes = sizes_of(pictures)
    return [sizes, sizes if files is None else files]


def is_program(path: str | Path) -> bool:
    """Whether a path ends as an exported file does."""
    return Path(path).suffix.lower() in ENDINGS


def load_program(path: str | Path, threads: int | None = None) -> Run:
    """An exported file, ready to run. Raises CheckpointError for one that is missing or damaged, UserError with the pip line.

    Args:
        path: an .onnx, .xml or .pt2 file.
        threads: threads of one operation; None is the engine's choice.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(Problem(path, "there is no such file"))
    if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
        raise CheckpointError(Problem(path, f"its weights, {path.with_suffix('.bin').name}, are not beside it"))
    ending = path.suffix.lower()
    run = _RUNS[ending]
    try:
        if ending == ".pt2" and not zipfile.is_zipfile(path):  # of which PyTorch would show pages of traceback
            raise ValueError("it is no archive, or its end is missing")
        if (
            ending == ".xml" and b"<net" not in path.read_bytes()[:_BEGIN]
        ):  # OpenVINO would try it as other libraries' files
            raise ValueError("it does not begin as a net of OpenVINO's")
        return run(path, threads)
    except (UserError, ImportError):
        raise
    except Exception as error:  # engines raise classes of their own, and RuntimeError
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # OpenVINO names its own source files first.
        why = lines[-1] if ending == ".xml" and lines else first_line(error)
        why = "it is no program of torch.export" if "deserializing" in why else why
        advice = "export it again, or fetch it again"
        raise CheckpointError(
            Problem(path, f"is no {ending} file that can be run, or a damaged one: {why}", advice)
        ) from error

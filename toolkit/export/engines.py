"""The forward pass of a model by the fastest engine of this machine: exported once, kept in the cache folder, measured.

Engines round differently, so that digits change; none but `torch` is ever chosen without being asked for.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import platform
import tempfile
import time
from importlib import metadata as packages
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from toolkit.contracts import DenseHead
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.export.comparison import BOUNDS, compared
from toolkit.export.engine_model import EngineModel
from toolkit.export.fast_torch import Bf16Decoder, compiled, folded
from toolkit.export.graph import MAP, PIXELS, RAW, ExportGraph, MapsGraph
from toolkit.export.installed import needed
from toolkit.export.metadata import EXPORT
from toolkit.export.onnx import write_onnx
from toolkit.export.openvino import write_openvino
from toolkit.export.pooling_ties import unpooled
from toolkit.export.program import write_down
from toolkit.export.programs import Run, load_program
from toolkit.files import cache_folder, replacing
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import tensors_digest
from toolkit.progress import told
from toolkit.version import __version__

log = logging.getLogger(__name__)
Engine = Literal["torch", "onnxruntime", "openvino", "compile", "bf16", "auto"]
ENGINES = ("torch", "onnxruntime", "openvino", "compile", "bf16", "auto")
_ROUNDS = 3
"""Passes of each engine that are measured, in turns, after one that is not."""


def with_engine(model: VisionModel, engine: str, threads: int | None = None) -> VisionModel:
    """The model with its forward pass by an engine; `torch` leaves it as it is.

    Of a head that answers for every pixel the engine computes the logits; of others, a detector's say, the maps it reads.
    Raises ConfigError for a model that samples dropout or is not on the CPU; UserError with the pip line for an engine
    that is not installed.

    Args:
        model: the model, on the CPU, in eval mode.
        engine: one of `ENGINES`, by its name.
        threads: threads of one operation; None is the engine's choice.
    """
    if engine == "torch":
        return model
    if isinstance(model, EngineModel):
        message = f"the file is run by {model.run.engine}"
        raise ConfigError(Problem("--engine", message, "leave --engine out, or give the checkpoint"))
    if model.samples > 1:
        message = f"{engine} draws no dropout, and this model predicts from {model.samples} samples"
        raise ConfigError(Problem("--engine", message, "leave --engine out, or set model.samples=1"))
    if model.pixel_scale.device.type != "cpu":
        message = f"{engine} runs on the CPU, and the model is on {model.pixel_scale.device}"
        raise ConfigError(Problem("--engine", message, "add --device cpu"))
    return EngineModel(model, AutoRun(model, threads) if engine == "auto" else run_of(model, engine, threads))


def run_of(model: VisionModel, engine: str, threads: int | None = None) -> Run:
    """The raw program of a model by one engine. Raises UserError with the pip line.

    Args:
        model: the model, in eval mode.
        engine: torch (the model as it is), compile, bf16, onnxruntime or openvino.
        threads: threads of one operation; None is the engine's choice.
    """
    if engine in ("torch", "compile"):
        return TorchPass(model, engine)
    if engine == "bf16":
        return Bf16Pass(model)
    needed("onnx", "onnxscript", engine)
    return load_program(_cached(model, engine), threads)


def _graph(model: VisionModel, *, blocks: bool = False) -> ExportGraph:
    """What an engine computes of a model. blocks: whether values between the layers keep their names in the file."""
    dense = isinstance(model.head, DenseHead)
    return (ExportGraph(model, raw=True, blocks=blocks) if dense else MapsGraph(model)).eval()


def _outputs(model: VisionModel) -> list[str]:
    """Names of what its graph gives."""
    dense = isinstance(model.head, DenseHead)
    return [RAW] if dense else [f"{MAP}{number}" for number in range(len(model.spec.strides))]


def _digest(model: VisionModel) -> str:
    """Of a model's weights and layers: twenty letters."""
    return hashlib.sha256(f"{tensors_digest(model.state_dict())} {model}".encode()).hexdigest()[:20]


def _cached(model: VisionModel, engine: str) -> Path:
    """The exported file of a model, made when it is not in the cache folder."""
    names = ("torch", "onnxscript", "openvino") if engine == "openvino" else ("torch", "onnxscript")
    versions = "-".join((__version__, *(packages.version(name) for name in names)))
    folder = _folder() / f"{_digest(model)}-{versions}"
    path = folder / ("model.xml" if engine == "openvino" else "model.onnx")
    if path.is_file():
        return path
    told(f"engine {engine}: the model is exported once, into {folder}", log)
    about = {EXPORT: {"input": {"name": PIXELS}, "outputs": _outputs(model), "raw": True}}
    graph = _graph(model, blocks=True)
    if engine != "openvino":
        write_onnx(write_down(graph), path, about)
        return path
    with tempfile.TemporaryDirectory() as between:
        source = Path(between) / "model.onnx"
        write_onnx(write_down(graph, comparing=True), source, about)
        write_openvino(source, path, about, half=False)
    return path


def _folder() -> Path:
    found = cache_folder()
    return (found if found is not None else Path(tempfile.gettempdir()) / "toolkit") / "engines"


class TorchPass(Run):
    """A model's own layers as a `Run`: as they are, or folded, channels last and compiled.

    Args:
        model: the model whose layers are run.
        engine: torch or compile: as they are, or compiled.
    """

    def __init__(self, model: VisionModel, engine: str) -> None:
        super().__init__(Path())
        self.engine = engine
        self.names = _outputs(model)
        self.metadata = {EXPORT: {"input": {"name": PIXELS}, "outputs": self.names}}
        self.graph: Any = _graph(model)
        self.channels_last = engine == "compile"
        if engine == "compile":
            self.graph = compiled(_folded_if_equal(self.graph))

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`."""
        pixels = torch.from_numpy(given)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            found = self.graph(pixels)
        return {name: one.contiguous().numpy() for name, one in zip(self.names, found, strict=True)}


class Bf16Pass(TorchPass):
    """A net that unpools by indices (SegNet), folded and channels last, with its decoder in bfloat16.

    Its first answer is compared with that of float32, by the bounds of half precision (`comparison.BOUNDS`); then it is told how
    far they are apart.

    Args:
        model: the model whose layers are run. Raises ConfigError for one that does not unpool.
    """

    def __init__(self, model: VisionModel) -> None:
        if not unpooled(model) or model.neck is None:
            message = "bf16 is the decoder of a net that unpools by indices (SegNet), which this one does not"
            raise ConfigError(Problem("--engine", message, "--engine onnxruntime, openvino or auto"))
        super().__init__(model, "torch")
        self.engine, self.channels_last = "bf16", True
        self.float32: Any = _folded_if_equal(_graph(model))
        self.graph = copy.deepcopy(self.float32)
        self.graph.model.neck = Bf16Decoder(self.graph.model.neck)

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`. Raises UserError where its first answer is beyond the bounds of half precision."""
        found = super().__call__(given)
        if self.float32 is not None:
            with torch.inference_mode():
                pixels = torch.from_numpy(given).contiguous(memory_format=torch.channels_last)
                wanted = dict(zip(self.names, (one.contiguous().numpy() for one in self.float32(pixels)), strict=True))
            labels = {"labels": wanted[RAW].argmax(1)} if RAW in wanted else {}
            pair = compared(wanted | labels, found | {name: found[RAW].argmax(1) for name in labels}, BOUNDS["half"])
            if problems := pair.problems(BOUNDS["half"]):
                raise UserError(Problem("--engine", f"bf16 answers otherwise than float32: {'; '.join(problems)}"))
            apart = (pair.logit or 0.0) / (pair.spread or 1.0)
            share = "" if pair.labels is None else f", {100 * pair.labels:.3f} % of labels equal"
            told(f"engine bf16: logits differ from float32's by up to {apart:.2g} of their spread{share}", log)
            self.float32 = None  # an answer that was refused is no proof: the next one is compared again
        return found


def _folded_if_equal(graph: ExportGraph) -> ExportGraph:
    """The graph with folded normalisation; as it is, and said, where the layers' order does not allow that."""
    rule = graph.model.spec.sizes
    pixels = graph.example((max(64, rule.minimum), max(64, rule.minimum)), 1)
    made = folded(graph)
    with torch.no_grad():
        pairs = zip(graph(pixels), made(pixels.contiguous(memory_format=torch.channels_last)), strict=True)
    if all(float((mine - theirs).abs().max()) <= 1e-3 * max(float(mine.std()), 1e-6) for mine, theirs in pairs):
        return made
    log.warning("engine compile: batch normalisation stays as it is, because it does not follow its convolution")
    return graph


class AutoRun(Run):
    """The engine that is fastest on this machine for pictures of a size: measured once, remembered, said.

    Args:
        model: the model, in eval mode.
        threads: threads of one operation; None is the engine's choice.
    """

    engine = "auto"

    def __init__(self, model: VisionModel, threads: int | None = None) -> None:
        super().__init__(Path(), threads)
        self.metadata = {EXPORT: {"input": {"name": PIXELS}, "outputs": _outputs(model)}}
        self.model = model
        self.digest = _digest(model)
        self.runs: dict[str, Run] = {}
        self.chosen: dict[tuple[int, ...], str] = {}

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See `Run`."""
        if given.shape not in self.chosen:
            self.chosen[given.shape] = self._choice(given)
        return self._run(self.chosen[given.shape])(given)

    def _run(self, engine: str) -> Run:
        if engine not in self.runs:
            self.runs[engine] = run_of(self.model, engine, self.threads)
        return self.runs[engine]

    def _choice(self, given: np.ndarray) -> str:
        memory = _folder() / "fastest.json"
        size = "x".join(map(str, given.shape))
        key = f"{self.digest} {size} {platform.node()} {platform.machine()} {torch.get_num_threads()} threads"
        known = _read(memory)
        if key in known:
            found, ratio, how = known[key]["engine"], known[key]["ratio"], "as measured before"
        else:
            seconds = self._measured(given)
            found = min(seconds, key=lambda name: seconds[name])
            ratio, how = seconds["torch"] / seconds[found], "measured now, and remembered"
            known[key] = {"engine": found, "ratio": ratio, "seconds": seconds}
            with replacing(memory) as part:
                part.write_text(json.dumps(known, indent=1))
        log.warning("engine auto: %s for %s, %.2f times as fast as torch (%s)", found, size, ratio, how)
        return str(found)

    def _measured(self, given: np.ndarray) -> dict[str, float]:
        """Seconds of a pass by each engine of float32 that is here: the least of `_ROUNDS`, which others' work disturbs least."""
        runs: dict[str, Run] = {}
        for engine in ("torch", "onnxruntime", "openvino"):
            if engine != "torch" and (find_spec(engine) is None or find_spec("onnxscript") is None):
                continue
            try:
                runs[engine] = self._run(engine)
                runs[engine](given)
            except UserError as error:
                runs.pop(engine, None)
                log.warning("engine auto: %s is left out: %s", engine, error.problems[0].message)
        taken: dict[str, list[float]] = {engine: [] for engine in runs}
        for _ in range(_ROUNDS):
            for engine, run in runs.items():
                began = time.perf_counter()
                run(given)
                taken[engine].append(time.perf_counter() - began)
        return {engine: min(times) for engine, times in taken.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}

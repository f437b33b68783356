"""Somebody else's .onnx file as a model: what it cannot say of itself is asked for.

Its inputs and outputs are read from the file. Class names, how pixels are normalised and what the output means are not in
it; they are given as `program.KEY=VALUE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from torch import Tensor

from toolkit.contracts import HEADS, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, Problem, did_you_mean, first_line
from toolkit.export.engine_model import EngineModel
from toolkit.export.graph import PIXELS
from toolkit.export.metadata import EXPORT
from toolkit.export.programs import Run
from toolkit.models.vision_model import VisionModel

KEYS = {
    "classes": "names of the classes, in the order of the output's channels: program.classes=[background,text]",
    "mean": "mean of each channel, of pixels 0..1: program.mean=[0.485,0.456,0.406]",
    "std": "deviation of each channel, of pixels 0..1: program.std=[0.229,0.224,0.225]",
}
"""What must be said."""
KEYS_OF_SIZE = "program.stride=PIXELS of a cell, program.multiple=PIXELS that sides are padded to a multiple of"
MORE = {
    "bgr": "whether channels are turned round first; false",
    "multiple": "heights and widths that the net takes are multiples of it; 32",
    "stride": "pixels from one cell of the output to the next; 1",
    "output": "what the numbers are: logits, probabilities; one channel is the second of two classes, by default a probability",
    "output_name": "which of the outputs is meant; the first",
}


class ProgramBackbone(Backbone):
    """The place of a net that another engine computes; it has no layers of its own.

    Args:
        channels: channels of the program's output.
        stride: pixels from one cell of the output to the next.
        multiple: heights and widths that the program takes are multiples of it.
        stats: how it wants its pixels normalised.
    """

    def __init__(self, channels: int, stride: int, multiple: int, stats: PixelStats) -> None:
        super().__init__()
        self.spec = PyramidSpec((channels,), (stride,), sizes=SizeRule(multiple, multiple, 0))
        self.pixel_stats = stats

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Zeros of the output's size: what analyses see in the place of the program."""
        height, width = (side // self.spec.strides[0] for side in images.shape[2:])
        maps = images.new_zeros((images.shape[0], self.spec.channels[0], height, width))
        return FeaturePyramid((maps,), self.spec, (images.shape[2], images.shape[3]))


class _Foreign(Run):
    """A foreign program by the names of ours: pixels in, logits out."""

    def __init__(self, inner: Run, output: str, classes: int, stride: int) -> None:
        super().__init__(inner.path, inner.threads)
        self.inner, self.output, self.engine = inner, output, inner.engine
        self.classes, self.stride = classes, stride
        self.metadata = {EXPORT: {"input": {"name": PIXELS}}}
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def __call__(self, given: Any, files: Any = None) -> dict[str, Any]:
        """See `Run`."""
        found = self._ran(given)[self.output]
        if found.ndim == 3:
            found = found[:, None]
        if found.ndim != 4:
            message = f"its output {self.output} is {found.shape}; wanted (pictures, classes, height, width)"
            raise ConfigError(Problem(self.path, message, "name another with program.output_name=NAME"))
        self._refuse_other_shape(found, given)
        return {"logits": found if found.shape[1] > 1 else np.concatenate([self.first_of(found), found], 1)}

    def _refuse_other_shape(self, found: np.ndarray, given: np.ndarray) -> None:
        """Raises ConfigError for an output (N, K, h, w) of other channels, or another stride, than was said of the file."""
        channels, said = max(2, found.shape[1]), self.classes
        if channels != said:
            message = f"names {said} classes, and the output {self.output} has {found.shape[1]} channels"
            raise ConfigError(
                Problem("program.classes", message, f"name {channels} (one channel stands for two classes)")
            )
        wanted = tuple(side // self.stride for side in given.shape[2:])
        if found.shape[2:] != wanted:
            seen = [side / cells for side, cells in zip(given.shape[2:], found.shape[2:], strict=True)]
            advice = f"program.stride={seen[0]:.0f}" if seen[0] == seen[1] and seen[0] % 1 == 0 else KEYS_OF_SIZE
            message = (
                f"is {self.stride}, and the output {self.output} of {_sides(given)} pixels has {_sides(found)} cells"
            )
            raise ConfigError(Problem("program.stride", message, advice))

    def _ran(self, given: np.ndarray) -> dict[str, Any]:
        """The outputs. Raises ConfigError for pixels of a shape that the program does not take."""
        _, shape, _ = self.inputs[0]
        fits = len(shape) == given.ndim and all(
            type(side) is not int or side == n for side, n in zip(shape, given.shape, strict=True)
        )
        try:
            if fits or not shape:
                return self.inner(given)
            why = f"takes {'x'.join(map(str, shape))}"
        except Exception as error:  # engines raise classes of their own, and RuntimeError
            why = f"cannot be run by {self.engine}: {first_line(error)}"
        message = f"{why}; a picture, normalised and padded, is {'x'.join(map(str, given.shape))} {given.dtype}"
        advice = "give pictures of that size (program.multiple=N: what they are padded to), or write the file with open sides"
        raise ConfigError(Problem(self.path, message, advice))

    @staticmethod
    def first_of(second: np.ndarray) -> np.ndarray:
        """What the first of two classes has where only the second has an output: logits' differences alone count."""
        return np.zeros_like(second)


def foreign_model(run: Run, overrides: Sequence[str]) -> tuple[VisionModel, dict[str, Any]]:
    """A model of pixels' classes around a foreign program, and what was said of it.

    Raises ConfigError with everything that must be said, and the file's inputs and outputs.
    """
    given = _given(run, overrides)
    missing = [name for name in KEYS if name not in given]
    if missing:
        problems = [Problem(run.path, "was not written by toolkit export; what is in it:\n" + run.described())]
        problems += [Problem(f"program.{name}", "must be said", KEYS[name]) for name in missing]
        raise ConfigError(problems)
    _refuse_other_kinds(run, given)
    classes = [str(name) for name in given["classes"]]
    mean, std = (tuple(float(one) for one in given[name]) for name in ("mean", "std"))
    stats = PixelStats(mean, std, bgr=bool(given.get("bgr", False)))
    names = [name for name, *_ in run.outputs]
    output = str(given.get("output_name", names[0] if names else ""))
    if output not in names:
        raise ConfigError(Problem("program.output_name", f"the file has no output '{output}', but {', '.join(names)}"))
    backbone = ProgramBackbone(len(classes), int(given.get("stride", 1)), int(given.get("multiple", 32)), stats)
    one = next(iter(shape for name, shape, _ in run.outputs if name == output))
    single = len(one) > 1 and one[1] == 1
    kind = str(given.get("output", "probabilities" if single else "logits"))
    if kind not in ("logits", "probabilities"):
        raise ConfigError(Problem("program.output", f"wanted logits or probabilities, found '{kind}'"))
    head = HEADS.find("pixel")(backbone.spec, len(classes), interpolate=kind)
    model = VisionModel(backbone, None, head, classes)
    return EngineModel(
        model, (_AsLogits if kind == "probabilities" else _Foreign)(run, output, len(classes), backbone.spec.strides[0])
    ), given


def _refuse_other_kinds(run: Run, given: Mapping[str, Any]) -> None:
    """Raises ConfigError for what is said of a file in another form than is asked for, all at once.

    Args:
        run: the file, whose input may name its channels.
        given: what is said, by key.
    """
    shape = run.inputs[0][1] if run.inputs else ()
    channels = shape[1] if len(shape) == 4 and type(shape[1]) is int else None
    problems = []
    names = given["classes"]
    if not isinstance(names, list) or len({str(name) for name in names}) < max(2, len(names)):
        problems.append(
            Problem("program.classes", f"wanted a list of two names or more, found {names}", KEYS["classes"])
        )
    for key in ("mean", "std"):
        numbers = given[key]
        listed_numbers = isinstance(numbers, list) and all(type(one) in (int, float) for one in numbers)
        if not listed_numbers or not numbers or (key == "std" and min(numbers) <= 0):
            more = ", above 0" if key == "std" else ""
            problems.append(Problem(f"program.{key}", f"wanted a list of numbers{more}, found {numbers}", KEYS[key]))
        elif channels is not None and len(numbers) != channels:
            message = f"wanted {channels} numbers, one for each channel of the input, found {len(numbers)}"
            problems.append(Problem(f"program.{key}", message, KEYS[key]))
    if not problems and len(given["mean"]) != len(given["std"]):
        message = f"has {len(given['std'])} numbers, and program.mean {len(given['mean'])}"
        problems.append(Problem("program.std", message, "one for each channel"))
    problems += [
        Problem(f"program.{key}", f"wanted a whole number from 1 on, found {given[key]}", MORE[key])
        for key in ("multiple", "stride")
        if key in given and (type(given[key]) is not int or given[key] < 1)
    ]
    if type(given.get("bgr", False)) is not bool:
        problems.append(Problem("program.bgr", f"wanted true or false, found {given['bgr']}", MORE["bgr"]))
    if problems:
        raise ConfigError(problems)


class _AsLogits(_Foreign):
    """Probabilities as logits, whose softmax they are again."""

    def __call__(self, given: Any, files: Any = None) -> dict[str, Any]:
        """See `Run`."""
        return {"logits": np.log(np.clip(super().__call__(given)["logits"], 1e-12, None))}

    @staticmethod
    def first_of(second: np.ndarray) -> np.ndarray:
        """See `_Foreign`: the rest to 1."""
        return 1 - second


def _sides(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape[2:]))


def _given(run: Run, overrides: Sequence[str]) -> dict[str, Any]:
    known = {**KEYS, **MORE}
    given: dict[str, Any] = {}
    for text in overrides:
        key, _, value = text.partition("=")
        name = key.removeprefix("program.")
        if not key.startswith("program.") or name not in known:
            message = f"says nothing of {run.path.name}, which was not written by toolkit export"
            raise ConfigError(
                Problem(key, message, did_you_mean(name, known) or f"known: program.{', program.'.join(known)}")
            )
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(Problem(key, f"cannot be read: {first_line(error)}", known[name])) from error
    return given

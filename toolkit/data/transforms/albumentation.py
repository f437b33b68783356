"""albumentations' operations as our transforms, each under its exact class name, with a checkable signature.

albumentations only warns of an unknown argument and of a wrong type says much; here each operation becomes a class
whose constructor has that operation's parameters with their types and defaults, so the config is checked against it
like any other part. Three things differ from albumentations: label maps are filled with `IGNORE_INDEX` where there is
no picture (albumentations: 0, a class), label maps are never interpolated, and every call takes its seed.
"""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from toolkit.contracts import Transform
from toolkit.data.transforms.box_geometry import MIN_VISIBLE, cut_boxes
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.samples import IGNORE_INDEX, Sample
from toolkit.unneeded import without

_SCALING = frozenset({"Resize", "LongestMaxSize", "SmallestMaxSize"})
_DETERMINISTIC = _SCALING | {
    "CenterCrop", "Crop", "Pad", "PadIfNeeded", "HorizontalFlip", "VerticalFlip", "Transpose", "InvertImg", "ToGray",
    "ToSepia", "NoOp", "AutoContrast", "Equalize",
}  # fmt: skip
_UNFIT = {
    "Normalize": "images stay uint8 until the model normalises them with its backbone's statistics",
    "ToFloat": "images stay uint8 until the model",
    "FromFloat": "images are uint8 already",
    "ToTensorV2": "batches become tensors by themselves",
    "ToTensor3D": "volumes are not supported",
    "ToRGB": "reading decides the channels",
    "CubicSymmetry": "it turns volumes",
    "RandomCropNearBBox": "it needs a box from elsewhere",
    "Lambda": "it takes Python functions; write a Transform and name it 'module:Class'",
}
_NO_PYTHON_OBJECTS = "it takes Python objects, or other pictures, that a config cannot hold"
_NEAREST = Literal[0, 6]
"""cv2.INTER_NEAREST and cv2.INTER_NEAREST_EXACT: the interpolations that invent no class."""


class Albumentation(Transform):
    """One albumentations operation on image, label map, value map, weight map and boxes together.

    Made by `operation_class`. Raises ConfigError for arguments that the operation refuses.
    """

    operation: ClassVar[str]

    def __init__(self, **arguments: Any) -> None:
        bound = _bind(type(self), arguments)
        self.arguments = bound
        self.random = self.operation not in _DETERMINISTIC or bound["p"] < 1 or "random" in bound.values()
        self.geometric = _is_geometric(self.operation)
        self.moves = self.geometric and self.operation not in _SCALING
        self._compose = _compose(self.operation, bound)

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made at run time, so pickle cannot import it by name.
        return _rebuild, (self.operation, self.arguments)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`. Raises DataError naming the image when the operation cannot take it."""
        targets, maps = _targets(sample) if self.geometric else ({"image": sample.image}, [])
        self._compose.set_random_seed(seed)
        try:
            result = self._compose(**targets)
        except Exception as error:  # albumentations raises of its own kinds, many of them bare Exceptions
            wanted = f"transform '{self.operation}' cannot take this {_size_text(sample)} image: {error}"
            raise DataError(Problem(sample.name, wanted, "change its arguments, or resize first")) from error
        image = result["image"]
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            message = f"transform '{self.operation}' makes {image.dtype} images; images stay uint8 until the model"
            raise ConfigError(Problem("", message, "leave it out"))
        image = np.ascontiguousarray(image.reshape(*image.shape[:2], -1))
        if image.shape[2] != sample.image.shape[2]:
            message = f"transform '{self.operation}' makes {image.shape[2]} channels of {sample.image.shape[2]}"
            raise ConfigError(Problem("", message, "leave it out, or set the data set's 'channels'"))
        if not self.geometric:
            return sample._replace(image=image)
        return sample._replace(image=image, boxes=_boxes_after(sample, result), **_maps_after(result, maps))  # type: ignore[arg-type]


def operation_names() -> list[str]:
    """Class names of albumentations' operations that a config can use, sorted. Imports albumentations."""
    return sorted(name for name in _operations() if name not in _UNFIT and _signature(name) is not None)


def refused_operations() -> dict[str, str]:
    """What is said of each of albumentations' operations that a config cannot use, by class name."""
    refused = {}
    for name in _operations():
        try:
            operation_class(name)
        except ConfigError as error:  # noqa: PERF203 - once a process
            refused[name] = error.problems[0].message
    return refused


@cache
def operation_class(name: str) -> type[Albumentation] | None:
    """The transform class of an albumentations operation, or None when there is none of that name.

    Its constructor signature is the operation's: names, types, defaults. Raises ConfigError for an operation that
    cannot be used here, saying why.
    """
    if name not in _operations():
        return None
    signature = _signature(name)
    if name in _UNFIT or signature is None:
        reason = _UNFIT.get(name, _NO_PYTHON_OBJECTS)
        raise ConfigError(Problem("", f"albumentations' '{name}' cannot be used here: {reason}"))
    doc = inspect.getdoc(_operations()[name]) or ""
    cls = type(name, (Albumentation,), {"operation": name, "__doc__": doc, "__module__": __name__})
    setattr(cls, "__signature__", signature)  # noqa: B010 - mypy knows no such attribute
    return cls


@cache
def _operations() -> Mapping[str, type]:
    # Set before the import: albumentations asks the network for its newest version otherwise.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    with without("huggingface_hub"):  # whose import takes as long as its own
        import albumentations
    from albumentations.core.transforms_interface import BasicTransform, DualTransform, ImageOnlyTransform

    bases = (BasicTransform, DualTransform, ImageOnlyTransform, albumentations.Transform3D)
    return {
        name: value
        for name, value in vars(albumentations).items()
        if isinstance(value, type) and issubclass(value, BasicTransform) and value not in bases and "3D" not in name
    }


def _signature(name: str) -> inspect.Signature | None:
    """The operation's signature with real types instead of text; None when a required type is no YAML value."""
    operation = _operations()[name]
    parameters = []
    for parameter in list(inspect.signature(operation.__init__).parameters.values())[1:]:  # type: ignore[misc]
        hint = _resolve(operation, parameter.annotation)
        default = parameter.default
        if any(word in str(hint) for word in ("Callable", "ndarray", "Any", "Path")):
            if default is parameter.empty:
                return None
            continue
        if parameter.name == "metadata_key":  # other pictures, handed over with each call
            return None
        if parameter.name == "mask_interpolation":
            hint = _NEAREST
        elif parameter.name == "area_for_downscale":
            hint = Literal["image"] | None
        elif parameter.name == "fill_mask" and default == 0:
            default = IGNORE_INDEX
        parameters.append(parameter.replace(annotation=hint, default=default, kind=parameter.KEYWORD_ONLY))
    return inspect.Signature(parameters)


def _resolve(operation: type, annotation: Any) -> Any:
    """The type behind an annotation. albumentations keeps text, and its metaclass hides the module it was written in."""
    if not isinstance(annotation, str):
        return annotation
    for cls in operation.__mro__:
        scope = {**vars(typing), **vars(sys.modules[cls.__module__])}
        try:
            return eval(annotation, scope)
        except (NameError, AttributeError):
            continue
    return Any


def _bind(cls: type[Albumentation], arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise ConfigError(Problem("", f"transform '{cls.operation}': {error}")) from None
    bound.apply_defaults()
    if bound.arguments.get("mask_interpolation", 0) not in (0, 6):
        message = f"transform '{cls.operation}': mask_interpolation must be 0 or 6 (nearest): others invent classes"
        raise ConfigError(Problem("", message))
    return dict(bound.arguments)


def _compose(name: str, arguments: Mapping[str, Any]) -> Any:
    import albumentations

    try:
        operation = _operations()[name](**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(refusals(name, error)) from None
    return albumentations.Compose(
        [operation],
        bbox_params=albumentations.BboxParams("pascal_voc", min_visibility=MIN_VISIBLE)
        if _is_geometric(name)
        else None,
        additional_targets={"value_map": "mask", "weight_map": "mask", "outside": "mask"},
    )


def _rebuild(name: str, arguments: dict[str, Any]) -> Albumentation:
    cls = operation_class(name)
    if cls is None:
        raise ConfigError(Problem("", f"this albumentations has no '{name}'"))
    return cls(**arguments)


def _is_geometric(name: str) -> bool:
    from albumentations.core.transforms_interface import ImageOnlyTransform

    return not issubclass(_operations()[name], ImageOnlyTransform)


def _targets(sample: Sample) -> tuple[dict[str, Any], list[str]]:
    """What albumentations gets, and which of the float maps are in it.

    All masks share one fill value, so a mask of zeros, filled with 255, tells where the float maps have no picture.
    """
    targets: dict[str, Any] = {"image": sample.image}
    if sample.label_map is not None:
        targets["mask"] = sample.label_map
    maps = [field for field in ("value_map", "weight_map") if getattr(sample, field) is not None]
    for field in maps:
        targets[field] = getattr(sample, field)
    if maps:
        targets["outside"] = np.zeros(sample.image.shape[:2], np.uint8)
    if sample.boxes is not None:
        height, width = sample.image.shape[:2]
        inside = np.clip(sample.boxes.xyxy, 0, [width, height, width, height])
        targets["bboxes"] = np.column_stack([inside, np.arange(sample.boxes.count)])
    return targets, maps


def _maps_after(result: Mapping[str, Any], maps: list[str]) -> dict[str, np.ndarray]:
    changed = {"label_map": np.ascontiguousarray(result["mask"])} if "mask" in result else {}
    for field in maps:
        array = np.array(result[field], np.float32)
        array[result["outside"] != 0] = np.nan if field == "value_map" else 0.0
        changed[field] = array
    return changed


def _boxes_after(sample: Sample, result: Mapping[str, Any]) -> Any:
    if sample.boxes is None:
        return None
    rows = np.asarray(result["bboxes"], np.float64).reshape(-1, 5)
    before = sample.boxes.take(rows[:, 4].round().astype(np.int64))
    old, new = (np.prod(np.maximum(b[:, 2:4] - b[:, :2], 0), axis=1) for b in (before.xyxy, rows))
    grown = before._replace(area=(before.area * new / np.maximum(old, 1e-9)).astype(np.float32))
    return cut_boxes(grown, rows[:, :4], result["image"].shape[:2])


def _size_text(sample: Sample) -> str:
    return f"{sample.image.shape[0]}x{sample.image.shape[1]}"


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"), "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt"),
}  # fmt: skip
_TYPES = {
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "float_parsing": "a number", "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "missing_argument": "more values", "too_short": "more values", "too_long": "fewer values",
}  # fmt: skip


def refusals(operation: str, error: Exception) -> list[Problem]:
    """One problem an argument, its name as the place; one without a place when the operation refuses them together."""
    details = _details(error)
    if not details:
        lines = [line.strip() for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
        return [Problem("", f"transform '{operation}': {' '.join(lines)}")]
    by_argument: dict[str, list[Mapping[str, Any]]] = {}
    for detail in details:
        by_argument.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail)
    return [_problem(operation, argument, found) for argument, found in by_argument.items()]


def _details(error: BaseException | None) -> Sequence[Mapping[str, Any]]:
    """pydantic's list of faults, which albumentations wraps in a plain ValueError."""
    for _ in range(4):
        if error is None:
            break
        listed = getattr(error, "errors", None)
        if callable(listed):
            return list(listed())
        error = error.__cause__ or error.__context__
    return []


def _problem(operation: str, argument: str, details: Sequence[Mapping[str, Any]]) -> Problem:
    if not argument:
        return Problem("", f"transform '{operation}': {_sentence(str(details[0]['msg']))}")
    wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
    found = details[0].get("input")
    shown = list(found) if isinstance(found, tuple) else found
    return Problem(argument, f"'{argument}' of transform '{operation}': wanted {' or '.join(wanted)}, found {shown!r}")


def _wanted(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{word} {context[key]}"
    if kind == "literal_error":
        return str(context.get("expected", "one of its choices"))
    return _TYPES.get(kind) or _sentence(str(detail["msg"]))


def _sentence(message: str) -> str:
    """Without pydantic's beginnings, and (for numbers in a pair) without the numbers that are said anyway.

    >>> _sentence("Value error, All values in (90, 200) must be >= 1 and <= 100")
    'all values >= 1 and <= 100'
    """
    text = message.removeprefix("Value error, ").removeprefix("Input should be ").removesuffix(" instead")
    if text.startswith("All values in (") and ") must be " in text:
        return f"all values {text.partition(') must be ')[2]}"
    if text.startswith("First value should be less than the second value"):
        return "a first value that is less than the second"
    return text[:1].lower() + text[1:]

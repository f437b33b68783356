"""The only place where a name becomes an object."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, get_args

from toolkit.config.sections import PartSpec
from toolkit.config.signatures import MISSING, Argument, construct, constructor_arguments
from toolkit.config.source import dotted
from toolkit.errors import ConfigError, DataError, PartsError, Place, Problem, UserError
from toolkit.jobs.part_classes import part_class
from toolkit.ops.class_weights import is_computed
from toolkit.weights.downloads import NeedsDownloadError

_PRETRAINED = ("weights", "pretrained")
"""Arguments by which parts load pretrained weights. They return to their defaults when the weights come from a file."""


def build_part(part: PartSpec, *, pretrained: bool = True, **context: Any) -> Any:
    """The object a PartSpec describes; nested parts first. `context` fills the parameters that follow from the rest.

    Args:
        part: the part as the config describes it, checked.
        pretrained: False makes it with random weights, whatever the config says.
        context: values of the parameters that follow from other parts (`spec`, `num_classes`).
    """
    cls = part_class(part.kind, part.name)
    known = constructor_arguments(cls)
    inner = {} if part.kind == "dataset" else context  # parts of a joined data set have classes of their own
    arguments = {name: _build(value, pretrained, inner) for name, value in part.arguments.items()}
    sections = [name for name, value in arguments.items() if isinstance(value, dict) and name in known]
    arguments |= {name: construct(known[name].annotation, arguments[name]) for name in sections}
    if not pretrained:
        arguments.update({name: known[name].default for name in arguments if _is_filled(name, arguments[name])})
    arguments.update({name: value for name, value in context.items() if name in known and arguments.get(name) is None})
    arguments.update({name: None for name in known if name not in arguments and _may_be_left_open(known[name])})
    missing = [name for name, known_ in known.items() if known_.default is MISSING and name not in arguments]
    if missing:
        message = f"'{part.name}' needs {', '.join(missing)}, which nothing provides"
        own = "name the classes of its own files here: classes: [...], in label order" if "classes" in missing else ""
        raise ConfigError(Problem(dotted(part.path), message, own))
    try:
        return cls(**arguments)
    except UserError as error:
        raise _located(error, part) from error
    except Exception as error:  # arguments of the right types may still be too large, too many, or contradict
        raise ConfigError(
            Problem(dotted(part.path), f"'{part.name}' refuses its arguments: {_reason(error)}")
        ) from error


def _may_be_left_open(argument: Argument) -> bool:
    """Whether an argument without a default may be null: the classes of a data set that may find them itself."""
    return argument.default is MISSING and type(None) in get_args(argument.annotation)


def _reason(error: Exception) -> str:
    """One line of it. torch adds where in its own code an error came from."""
    text = str(error).split("\n")[0].strip()
    return (
        text if isinstance(error, (ValueError, TypeError, RuntimeError)) and text else f"{type(error).__name__} {text}"
    )


def _is_filled(name: str, value: Any) -> bool:
    """Whether an argument only says how a part is filled or weighted for training, which a given file makes needless."""
    return (name in _PRETRAINED and isinstance(value, (str, bool))) or (name == "class_weights" and is_computed(value))


def _build(value: Any, pretrained: bool, context: dict[str, Any]) -> Any:
    if isinstance(value, PartSpec):
        return build_part(value, pretrained=pretrained, **context)
    if isinstance(value, list):
        return [_build(item, pretrained, context) for item in value]
    return value


def _located(error: UserError, part: PartSpec) -> UserError:
    """The same problems with the place in the config in front."""
    prefix, known = dotted(part.path), part.signature.get("properties", {})
    problems = [problem.at(_place_in(problem.place, prefix, known)) for problem in error.problems]
    kind = type(error) if type(error) in (ConfigError, DataError, PartsError, NeedsDownloadError) else UserError
    located = kind(problems)
    located.exit_code = error.exit_code
    return located


def _place_in(place: Place, prefix: str, arguments: Container[str]) -> Place:
    """A place that a part named, within the config: of one of its arguments, of a part inside it, or of what it read."""
    if (place.part or place.key).startswith(prefix):
        return place
    if place.key in arguments and not place.file:
        return Place(key=f"{prefix}.{place.key}")
    return place._replace(part=prefix)

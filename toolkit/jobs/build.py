"""The only place where a name becomes an object."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from toolkit.config.division import follows, makes
from toolkit.config.sections import Config, PartSpec, SplitSection
from toolkit.config.signatures import MISSING, Argument, construct, constructor_arguments
from toolkit.config.source import dotted
from toolkit.contracts import EVALUATORS, Dataset, Evaluator, OptimizerRule, Schedule, Transform
from toolkit.data.classes.choice import by_name, chosen, class_choice
from toolkit.data.classes.frequencies import ComputedWeights
from toolkit.data.classes.tables import class_table
from toolkit.data.images.bands import refuse_value_range
from toolkit.data.loading.class_presence import class_presence
from toolkit.data.loading.sampling import ClassBalanced, Draws, RepeatFactors, aspect_groups, repeat_factors
from toolkit.data.splits.lists import SplitNames
from toolkit.errors import ConfigError, DataError, PartsError, Place, Problem, UserError
from toolkit.jobs.bad_samples import SkipTable, as_before, identity_of, leniently, skipping
from toolkit.jobs.division import Divided, divide, part_of, share_of, usable_in_evaluation
from toolkit.jobs.part_classes import part_class
from toolkit.labels import ClassTable, default_palette
from toolkit.models.vision_model import VisionModel
from toolkit.ops.class_weights import is_computed
from toolkit.samples import PREDICTION_NAMES
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


def classes_of(config: Config, dataset: Dataset | None = None) -> ClassTable:
    """Names and palette of the classes: `data.classes`, else what the training data set says (it is built for that)."""
    if config.data.classes is not None:
        return class_table(config.data.classes)
    dataset = dataset if dataset is not None else build_dataset(config, "train")
    return ClassTable(tuple(dataset.classes), tuple(dataset.palette) or default_palette(len(dataset.classes)))


def build_dataset(
    config: Config, split: str, skips: SkipTable | None = None, parts: SplitNames | None = None
) -> Dataset:
    """The data set of a split. Raises ConfigError when the config has none, DataError for what is wrong on disk.

    With `data.on_bad: skip` it lacks the samples that are wrong.

    Args:
        config: the whole config, checked but not built.
        split: name of the split: "train", "val" or "test".
        skips: samples that were left out before; None reads every sample to find out, or remembers it.
        parts: names of the images of each split where `data.split` divides them; None finds them.
    """
    if config.data.on_bad == "stop":
        return build_whole(config, split, parts)
    dataset, faults = leniently(lambda: build_whole(config, split, parts))
    if skips is not None:
        return as_before(dataset, faults, split, skips)
    return skipping(dataset, faults, identity_of_split(config, split, dataset), split, config.data.workers)


def identity_of_split(config: Config, split: str, dataset: Dataset) -> str:
    """See `usable_samples.identity_of`.

    Args:
        config: the whole config, checked but not built.
        split: name of the split: "train", "val" or "test".
        dataset: the data set that was made of it.
    """
    known = config.data.classes
    own = [repr(known)] if isinstance(known, dict) else []
    if dataset.value_range is not None:
        own.append(f"values {dataset.value_range}")
    return identity_of(split_section(config, split).dataset, [*dataset.classes, *own])


def build_whole(config: Config, split: str, parts: SplitNames | None = None) -> Dataset:
    """The data set of a split with every sample, whatever `data.on_bad` says; raises as `build_dataset` does.

    Args:
        config: the whole config, checked but not built.
        split: name of the split: "train", "val" or "test".
        parts: names of the images of each split where `data.split` divides them; None finds them.
    """
    dataset = _undivided(config, split)
    rule = config.data.split
    if rule is not None and makes(rule, split):
        known = parts if parts is not None else _divided(config, split, dataset)
        dataset = part_of(dataset, known.get(split, ()), split)
    return share_of(dataset, config) if split == "train" else dataset


def _undivided(config: Config, split: str) -> Dataset:
    """With the classes of the config: joined by name with the data's own, or chosen from them."""
    section, classes = split_section(config, split), config.data.classes
    if isinstance(classes, dict):
        choice = class_choice(classes)
        return chosen(_read_as_said(build_part(section.dataset), config), choice)
    if classes is None:
        return _read_as_said(build_part(section.dataset), config)
    names = class_table(classes).names
    dataset = by_name(_read_as_said(build_part(section.dataset, classes=list(names)), config), names)
    if tuple(dataset.classes) != names:
        raise ConfigError(class_lists_differ(f"data.{split}.dataset", dataset.classes, names))
    return dataset


def _read_as_said(dataset: Dataset, config: Config) -> Dataset:
    """A data set whose images are read as `data.channels` and `data.value_range` say."""
    refuse_value_range(config.data.value_range)
    if config.data.channels is not None or config.data.value_range is not None:
        dataset.set_reading(config.data.channels, config.data.value_range)
    return dataset


def _divided(config: Config, split: str, dataset: Dataset) -> Divided:
    assert config.data.split is not None  # who calls it has asked
    return divide(dataset, config.data.split, config.data.group, identity_of_split(config, split, dataset))


def division_of(config: Config) -> Divided | None:
    """The images of each part that `data.split` makes of the training data set; None for a config without it.

    Raises as `build_dataset` does, and DataError for images that cannot be divided so.
    """
    if config.data.split is None:
        return None
    if config.data.on_bad == "stop":
        return _divided(config, "train", _undivided(config, "train"))
    return _divided(config, "train", leniently(lambda: _undivided(config, "train"))[0])


def aspect_groups_of(config: Config, dataset: Dataset) -> np.ndarray | None:
    """Groups of the training images for the loader, or None when the config asks for none.

    Raises ConfigError for a data set that does not know the sizes of its images, and with another `sampling`.
    """
    if not config.data.group_by_aspect:
        return None
    if config.data.sampling != "uniform":
        message = f"sampling '{config.data.sampling}' draws images by their classes, so they cannot be grouped by shape"
        raise ConfigError(Problem("data.group_by_aspect", message, "set it to false, or data.sampling to uniform"))
    if dataset.repeats is not None:
        message = "the weights of the joined data sets draw images, so they cannot be grouped by shape"
        raise ConfigError(Problem("data.group_by_aspect", message, "set it to false, or leave out the weights"))
    sizes = dataset.image_sizes()
    if sizes is None or not np.any(sizes):
        message = "the training data set does not say the sizes of its images, so they cannot be grouped"
        raise ConfigError(Problem("data.group_by_aspect", message, "set it to false"))
    return aspect_groups(sizes)


def class_lists_differ(where: str, found: Sequence[str], wanted: Sequence[str]) -> Problem:
    """What is said when a data set has other classes than the model, both lists named.

    Args:
        where: place in the config or file that the message begins with.
        found: classes of the data set, in label order.
        wanted: classes of the model, in label order.
    """
    return Problem(
        where,
        f"its {len(found)} classes are not the {len(wanted)} of the model: {_names(found)} against {_names(wanted)}",
        "make data.classes and the data agree; to use some classes only, or several as one, write data.classes as "
        "{class: [names in the data], ignore: [...]}",
    )


def _names(names: Sequence[str]) -> str:
    return "[" + ", ".join(names[:30]) + (", ..." if len(names) > 30 else "") + "]"


def joined_by_name(config: Config, datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """The data sets with the classes of `train` in its order, where the config names none and they are the same by name.

    config: says whether the classes are the data's own. datasets: by the name of their split.
    """
    if config.data.classes is not None or "train" not in datasets:
        return dict(datasets)
    names = datasets["train"].classes
    return {split: by_name(dataset, names) for split, dataset in datasets.items()}


def check_classes(dataset: Dataset, model: VisionModel, split: str) -> None:
    """Raises ConfigError, naming both lists, when data and model disagree about names or order of classes.

    Args:
        dataset: the data set whose classes are compared.
        model: the model whose classes are compared.
        split: name of the split for the message.
    """
    if tuple(dataset.classes) != tuple(model.classes):
        raise ConfigError(class_lists_differ(f"data.{split}.dataset", dataset.classes, model.classes))


def split_section(config: Config, split: str) -> SplitSection:
    """`data.train`, `data.val` or `data.test`. Raises ConfigError when the config has none."""
    section = getattr(config.data, split, None)
    if section is None:
        have = [name for name in ("train", "val", "test") if getattr(config.data, name) is not None]
        raise ConfigError(Problem(f"data.{split}", f"the config has no such split; it has {', '.join(have)}"))
    return section


def draws_of(config: Config, dataset: Dataset) -> Draws | None:
    """How often which training image comes, by `data.sampling`; None for each once an epoch.

    Raises DataError for data without classes. Label maps are read, once.
    """
    if config.data.sampling == "uniform":
        return None if dataset.repeats is None else RepeatFactors(dataset.repeats, config.seed)
    if dataset.repeats is not None and config.data.sampling == "class_balanced":
        message = "draws by class, and the weights of the joined data sets draw by data set"
        raise ConfigError(Problem("data.sampling", message, "use uniform or repeat_factor, or leave out the weights"))
    presence = class_presence(dataset)
    if config.data.sampling == "class_balanced":
        return ClassBalanced(presence, config.seed)
    repeats = repeat_factors(presence, config.data.repeat_threshold)
    return RepeatFactors(repeats if dataset.repeats is None else repeats * dataset.repeats, config.seed)


def build_transforms(config: Config, split: str) -> list[Transform]:
    """The transforms of a split, in order; those that go by class names get them.

    Val and test that follow from train (`data.split`) have those of train that evaluation can use.

    Raises ConfigError with the problems of all of them.
    """
    parts = split_section(config, split).transforms
    asked = any("class_names" in part.signature.get("x-injected", ()) for part in parts)
    context: dict[str, Any] = {"class_names": list(classes_of(config).names)} if asked else {}
    built: list[Transform] = []
    problems: list[Problem] = []
    for part in parts:
        try:
            built.append(build_part(part, **context))
        except UserError as error:  # noqa: PERF203 - a handful of transforms
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return usable_in_evaluation(built) if follows(config, split) else built


def transforms_to_measure(config: Config, split: str) -> list[Transform]:
    """The transforms with which a split is measured: its own, and for train those of val.

    A model is measured on its training images as on others; without a val, train's that are random or move pixels are left out.

    Raises ConfigError with the problems of all of them.
    """
    if split != "train":
        return build_transforms(config, split)
    if config.data.val is not None:
        return build_transforms(config, "val")
    return usable_in_evaluation(build_transforms(config, "train"))


def build_model(config: Config, *, pretrained: bool = True, classes: ClassTable | None = None) -> VisionModel:
    """A VisionModel with fresh (or, as the config says, pretrained) weights. No data needed when `data.classes` stands.

    Raises PartsError naming both sides when two parts do not fit.

    Args:
        config: the whole config, checked but not built.
        pretrained: False makes all weights random, whatever the config says.
        classes: names and colours of the labels; None takes those of `data.classes` or of the training data.
    """
    table = classes or classes_of(config)
    section = (with_class_weights(config) if pretrained else config).model
    backbone = build_part(section.backbone, pretrained=pretrained)
    neck = None
    if section.neck is not None:
        neck = build_part(section.neck, pretrained=pretrained, spec=backbone.spec)
    spec = neck.spec if neck is not None else backbone.spec
    head = build_part(section.head, pretrained=pretrained, spec=spec, num_classes=len(table.names))
    model = VisionModel(backbone, neck, head, table.names, table.palette, section.illegal_sizes, section.samples)
    model.value_range = config.data.value_range
    return model


def with_class_weights(config: Config, dataset: Dataset | None = None) -> Config:
    """The config with class weights that have to be computed ("median_frequency") as numbers.

    They come from the training data set, which is built (and its label maps counted, once) only when a loss asks.
    """
    if not any(is_computed(part.arguments.get("class_weights")) for part in nested_parts(config.model.head)):
        return config
    weights = ComputedWeights(dataset if dataset is not None else build_dataset(config, "train"))

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, PartSpec):
            return value
        arguments = {name: replaced(item) for name, item in value.arguments.items()}
        if is_computed(arguments.get("class_weights")):
            arguments["class_weights"] = weights.of(arguments["class_weights"])
        return dataclasses.replace(value, arguments=arguments)

    return dataclasses.replace(config, model=dataclasses.replace(config.model, head=replaced(config.model.head)))


def computed_weights(asked: Config, config: Config) -> list[list[float]]:
    """The numbers `with_class_weights` put in the place of names, in the order of the losses."""
    pairs = zip(nested_parts(asked.model.head), nested_parts(config.model.head), strict=True)
    return [new.arguments["class_weights"] for old, new in pairs if is_computed(old.arguments.get("class_weights"))]


def nested_parts(part: PartSpec) -> list[PartSpec]:
    """A part and all parts among its arguments."""
    inner = [item for value in part.arguments.values() for item in (value if isinstance(value, list) else [value])]
    return [part, *(found for item in inner if isinstance(item, PartSpec) for found in nested_parts(item))]


def build_evaluators(config: Config, classes: Sequence[str]) -> list[Evaluator]:
    """Fresh evaluators, in the config's order.

    Raises ConfigError for those that take another kind of prediction than the head gives, all of them at once.
    """
    problems = [p for part in config.evaluate.evaluators for p in _misfit(config.model.head, part)]
    if problems:
        raise ConfigError(problems)
    built = [build_part(part, classes=list(classes)) for part in config.evaluate.evaluators]
    for evaluator in built if config.evaluate.exclude else []:
        evaluator.exclude(config.evaluate.exclude)
    return built


def _misfit(head: PartSpec, evaluator: PartSpec) -> list[Problem]:
    """What is wrong with an evaluator behind a head: nothing, or that it takes what the head does not give."""
    if not head.name:  # it is at fault itself
        return []
    gives, takes = (
        getattr(part_class(part.kind, part.name), word, None) for part, word in ((head, "gives"), (evaluator, "takes"))
    )
    if gives is None or takes is None or issubclass(gives, takes):
        return []
    message = f"'{evaluator.name}' takes {PREDICTION_NAMES[takes]}, but the head '{head.name}' gives {PREDICTION_NAMES[gives]}"
    fitting = [name for name, cls in EVALUATORS.items() if cls.takes is gives]
    remedy = f"use {' or '.join(fitting)}" if fitting else "use an evaluator made for them"
    return [Problem(dotted(evaluator.path), message, remedy)]


def build_optimizer_rule(config: Config) -> OptimizerRule:
    """The rule that builds the optimizer once the parameters are known."""
    rule: OptimizerRule = build_part(config.train.optimizer)
    return rule


def build_schedule(config: Config) -> Schedule | None:
    """The learning-rate schedule; None keeps the rate constant."""
    return build_part(config.train.schedule) if config.train.schedule is not None else None


def with_train_settings(config: Config, **train: Any) -> Config:
    """A config whose train section has other values."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **train))

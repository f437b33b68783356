"""What a config's model, losses, evaluators and training are made of, as objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from toolkit.config.sections import Config, PartSpec
from toolkit.config.source import dotted
from toolkit.contracts import EVALUATORS, Dataset, Evaluator, OptimizerRule, Schedule
from toolkit.data.classes.frequencies import ComputedWeights
from toolkit.errors import ConfigError, Problem
from toolkit.jobs.build_data import build_dataset, classes_of
from toolkit.jobs.build_part import build_part
from toolkit.jobs.part_classes import part_class
from toolkit.labels import ClassTable
from toolkit.models.vision_model import VisionModel
from toolkit.ops.class_weights import is_computed
from toolkit.samples import PREDICTION_NAMES


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

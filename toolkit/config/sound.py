"""The sections of a faulty config that are sound by themselves, so that a check can go on with them."""

from __future__ import annotations

from typing import Any

from toolkit.config.checker import Checker
from toolkit.config.schema import LiveSignatures
from toolkit.config.sections import (
    Config,
    DataSection,
    EvaluateSection,
    ModelSection,
    PartSpec,
    SplitSection,
    TrainSection,
)
from toolkit.config.source import Path_, Source
from toolkit.contracts import OPTIMIZERS
from toolkit.errors import ConfigError

SECTIONS = frozenset({"model", "data.train", "data.val", "data.test", "train", "evaluate"})
_NOBODY = PartSpec("", object, {})
"""Stands where a section is at fault; never built."""


def sound_sections(source: Source) -> tuple[Config, frozenset[str]]:
    """A config that holds the sound sections, and their names (of `SECTIONS`); the others are stand-ins.

    A section with a fault anywhere in it is left out: what it would do without the faulty key is not what was meant.
    A split that the config does not have is sound.
    """
    values: dict[Any, Any] = source.values if isinstance(source.values, dict) else {}
    given = values.get("data")
    data: dict[Any, Any] = given if isinstance(given, dict) else {}
    model = _checked(source, ModelSection, values.get("model"), ("model",))
    train = _checked(source, TrainSection, values.get("train"), ("train",))
    evaluate = _checked(source, EvaluateSection, values.get("evaluate", {}), ("evaluate",))
    splits = {name: _checked(source, SplitSection, data.get(name), ("data", name)) for name in ("train", "val", "test")}
    classes = data.get("classes")
    listed = isinstance(classes, str) or (
        isinstance(classes, list) and all(isinstance(name, str) for name in classes) and bool(classes)
    )
    whole = {"model": model, "train": train, "evaluate": evaluate} | {f"data.{key}": s for key, s in splits.items()}
    config = Config(
        model=model or ModelSection(_NOBODY, _NOBODY),
        data=DataSection(
            train=splits["train"] or SplitSection(_NOBODY),
            val=splits["val"],
            test=splits["test"],
            classes=classes if listed else None,
            root=data.get("root") if isinstance(data.get("root"), str) else None,
        ),
        train=train or TrainSection(steps=1, optimizer=PartSpec("sgd", OPTIMIZERS.find("sgd"), {"lr": 0.1})),
        evaluate=evaluate or EvaluateSection(),
    )
    absent = {f"data.{name}" for name in ("val", "test") if data.get(name) is None}
    return config, frozenset(name for name, section in whole.items() if section is not None) | absent


def _checked(source: Source, cls: type, value: Any, path: Path_) -> Any:
    """The section, or None when it is missing or anything in it is wrong."""
    if value is None:
        return None
    checker = Checker(source, LiveSignatures())
    data = source.values.get("data")
    checker.data_root = data.get("root") if isinstance(data, dict) else None
    try:
        section = checker.section(cls, value, path)
    except (ConfigError, TypeError):
        return None
    return None if checker.problems else section

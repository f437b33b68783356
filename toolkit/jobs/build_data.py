"""The data of a config: data sets of its splits, their classes, groups and transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.config.division import follows, makes
from toolkit.config.sections import Config, SplitSection
from toolkit.contracts import Dataset, Transform
from toolkit.data.classes.choice import by_name, chosen, class_choice
from toolkit.data.classes.tables import class_table
from toolkit.data.images.bands import refuse_value_range
from toolkit.data.loading.class_presence import class_presence
from toolkit.data.loading.sampling import ClassBalanced, Draws, RepeatFactors, aspect_groups, repeat_factors
from toolkit.data.splits.lists import SplitNames
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.jobs.bad_samples import SkipTable, as_before, identity_of, leniently, skipping
from toolkit.jobs.build_part import build_part
from toolkit.jobs.division import Divided, divide, part_of, share_of, usable_in_evaluation
from toolkit.labels import ClassTable, default_palette
from toolkit.models.vision_model import VisionModel


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

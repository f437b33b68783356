"""Classes chosen from a data set's own by name: some of them, several as one, others left out of everything.

`classes: {vehicle: [car, truck], person: [person], ignore: [bicycle]}` makes labels 0 and 1 of three names of the data; a
bicycle counts neither for nor against. What no entry names is background: boxes are left out, pixels go to the class
"background", which has to be there for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.contracts import LEFT_OUT, Dataset
from toolkit.data.classes.relabelled import with_classes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.errors import ConfigError, DataError, Problem, Where, listed
from toolkit.labels import IGNORE_INDEX

IGNORE = "ignore"
"""The entry whose classes do not count."""

BACKGROUND = "background"
"""The class that takes the pixels of all classes that no entry names."""


class ClassChoice(NamedTuple):
    """Classes, and which of a data set's own names each is made of.

    Args:
        names: names of the labels 0..K-1.
        sources: label of each of the data's own names; `IGNORE_INDEX` for those that do not count.
    """

    names: tuple[str, ...]
    sources: dict[str, int]


def class_choice(classes: Mapping[str, str | Sequence[str]], where: Where = "data.classes") -> ClassChoice:
    """The choice that a mapping says. Raises ConfigError for a name in two entries, and when no class is left.

    Args:
        classes: {class: name or names of the data}, with "ignore" for those that do not count.
        where: place of the mapping, for messages.

    >>> class_choice({"vehicle": ["car", "truck"], "person": "person", "ignore": ["bicycle"]})
    ClassChoice(names=('vehicle', 'person'), sources={'car': 0, 'truck': 0, 'person': 1, 'bicycle': 255})
    """
    names = tuple(name for name in classes if name != IGNORE)
    sources: dict[str, int] = {}
    problems = [] if names else [Problem(where, "names no class", "wanted {class: [names in the data], ...}")]
    for name, own in classes.items():
        for source in [own] if isinstance(own, str) else own:
            if source in sources:
                first = IGNORE if sources[source] == IGNORE_INDEX else names[sources[source]]
                problems.append(Problem(where, f"'{source}' stands in '{first}' and in '{name}'", "leave it in one"))
            sources[source] = IGNORE_INDEX if name == IGNORE else names.index(name)
    if problems:
        raise ConfigError(problems)
    return ClassChoice(names, sources)


def chosen(dataset: Dataset, choice: ClassChoice, where: Where = "data.classes") -> Dataset:
    """The data set with the chosen classes. Names that it does not have are its `absent_classes`.

    Args:
        dataset: a data set with its own classes.
        choice: the classes that are wanted, and what they are made of.
        where: place of the choice in the config, for messages.

    Raises:
        DataError: for pixels of classes that no entry names, where no class "background" takes them; for a choice
            that has nothing to do with the data.
    """
    own = dataset.classes
    absent = tuple(name for name in choice.sources if name not in own)
    if len(absent) == len(choice.sources):
        message = f"none of {listed(choice.sources, 20)} is a class of the data, which has {listed(own, 20)}"
        raise DataError(Problem(where, message, "write {class: [names in the data], ...}"))
    rest = [name for name in own if name not in choice.sources]
    labels = np.array([choice.sources.get(name, LEFT_OUT) for name in own], np.int64)
    if rest and _has_pixels(dataset):
        labels[labels == LEFT_OUT] = _rest_of_pixels(choice, rest, where)
    made = with_classes(dataset, choice.names, labels)
    made.absent_classes, made.own_classes = absent, own
    made.notes = (*_said(dataset, choice, rest), *dataset.notes)
    return made


def by_name(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with its classes in the order of `names`; as it is where they are not the same by name.

    A class that the data set lists and of which it has no box is left out, with a note; one that it lacks has none here.
    """
    own = dataset.classes
    if own == tuple(names):
        return dataset
    extra = [name for name in own if name not in names]
    if extra and not (isinstance(dataset, BoxDataset) and not _numbers(dataset)[[own.index(n) for n in extra]].any()):
        return dataset
    if not set(own) & set(names):
        return dataset
    places = [names.index(name) if name in names else LEFT_OUT for name in own]
    made = with_classes(dataset, names, np.array(places, np.int64))
    lacking = [name for name in names if name not in own]
    made.absent_classes = tuple(lacking)
    notes = ["its classes stand in another order and are joined by name"] if not lacking and not extra else []
    notes += [f"its table lacks {listed(lacking, 20)}, of which it has nothing"] if lacking else []
    notes += [f"its table has {listed(extra, 20)} besides, of which it has no box"] if extra else []
    made.notes = (*notes, *dataset.notes)
    return made


def _rest_of_pixels(choice: ClassChoice, rest: Sequence[str], where: Where) -> int:
    """The label of pixels of classes that no entry names."""
    if BACKGROUND in choice.names:
        return choice.names.index(BACKGROUND)
    message = f"does not say what becomes of the pixels of {listed(rest, 20)}"
    remedy = "add them to a class, to ignore, or add background: [], which takes all that is not named"
    raise DataError(Problem(where, message, remedy))


def _has_pixels(dataset: Dataset) -> bool:
    """Whether its samples have label maps, by the first that can be read."""
    if isinstance(dataset, BoxDataset):
        return False
    for index in range(len(dataset)):
        try:
            return dataset[index].label_map is not None
        except DataError:  # noqa: PERF203 - whoever reads it says what is wrong with it
            continue
    return False


def _said(dataset: Dataset, choice: ClassChoice, rest: Sequence[str]) -> list[str]:
    """What becomes of the classes of the data, with the number of boxes where it has boxes."""
    has_pixels = _has_pixels(dataset)
    numbers = _numbers(dataset) if isinstance(dataset, BoxDataset) else None

    def told(names: Sequence[str]) -> str:
        if numbers is None:
            return listed(names, 20)
        return listed((f"{name} ({numbers[dataset.classes.index(name)]})" for name in names), 20)

    merged = {
        label: [name for name in dataset.classes if choice.sources.get(name) == label]
        for label in range(len(choice.names))
    }
    notes = [f"class '{choice.names[label]}' is made of {told(own)}" for label, own in merged.items() if len(own) > 1]
    ignored = [name for name in dataset.classes if choice.sources.get(name) == IGNORE_INDEX]
    if ignored:
        what = "their pixels do not count" if has_pixels else "a detection there is neither right nor wrong"
        notes.append(f"ignored: {told(ignored)}: {what}, and nothing is learned there")
    if rest:
        what = "their pixels are background" if has_pixels else "left out"
        notes.append(f"not chosen: {told(rest)}: {what}")
    return notes


def _numbers(dataset: BoxDataset) -> np.ndarray:
    return dataset.index.class_counts(len(dataset.classes))

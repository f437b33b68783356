"""`data.split` written out: the sections `val` and `test` that follow from the one of `train`. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from toolkit.config.plain import to_plain
from toolkit.config.sections import Config, DivisionSection, SplitSection
from toolkit.errors import ConfigError, Place, Problem

_HELD_OUT = ("val", "test")


def with_splits(config: Config, where: Callable[[tuple[str | int, ...]], Place]) -> Config:
    """The config with a section for each part that `data.split` makes; one without it as it is.

    A section that follows has the data set and all transforms of train: those that evaluation cannot use are left out
    where they are built. Raises ConfigError for shares and folds that cannot be, and data sets of two kinds.

    Args:
        config: the checked config, whose data.split says what is divided.
        where: the place in its file of a key, given as a path.
    """
    rule = config.data.split
    if rule is None:
        return config
    problems = [*_impossible(rule, where), *_of_other_data(config, rule, where)]
    if problems:
        raise ConfigError(problems)
    wanted = {split for split in _HELD_OUT if makes(rule, split)}
    made: dict[str, Any] = {split: config.data.train for split in wanted if getattr(config.data, split) is None}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **made)) if made else config


def makes(rule: DivisionSection, split: str) -> bool:
    """Whether a division gives images to a split: by its shares, or by its lists as far as they can be looked at."""
    if rule.lists is not None:
        return split != "test" or _lists_test(Path(rule.lists))
    return split == "train" or (rule.test > 0 if split == "test" else rule.folds is not None or rule.val > 0)


def follows(config: Config, split: str) -> bool:
    """Whether the section of `val` or `test` follows from that of train, instead of standing in the config."""
    section: SplitSection | None = getattr(config.data, split)
    return split != "train" and section is not None and section.dataset.path[:2] == ("data", "train")


def _lists_test(path: Path) -> bool:
    try:
        if path.is_dir():
            return (path / "test.txt").is_file()
        return "test" in path.read_text("utf-8", errors="replace").lower()
    except OSError:  # reading it for real says what is wrong
        return False


def _impossible(rule: DivisionSection, where: Callable[[tuple[str | int, ...]], Place]) -> Iterator[Problem]:
    if rule.lists is not None:
        return
    if rule.folds is None:
        if rule.val + rule.test >= 1:
            message = f"val {rule.val:g} and test {rule.test:g} together leave nothing to train on"
            yield Problem(where(("data", "split")), message, "they are shares of all images, 0.2 and 0.1 for example")
        elif rule.val + rule.test == 0:
            yield Problem(where(("data", "split")), "val and test are both 0, which divides nothing", "remove it")
        if rule.fold:
            message = "says which fold, but data.split.folds does not say how many there are"
            yield Problem(where(("data", "split", "fold")), message, "add folds: 5")
    elif rule.fold >= rule.folds:
        message = f"there are {rule.folds} folds, counted from 0: wanted 0 to {rule.folds - 1}, found {rule.fold}"
        yield Problem(where(("data", "split", "fold")), message)


def _of_other_data(
    config: Config, rule: DivisionSection, where: Callable[[tuple[str | int, ...]], Place]
) -> Iterator[Problem]:
    """A part that the division makes and that has a section with another data set."""
    for split in _HELD_OUT:
        section: SplitSection | None = getattr(config.data, split)
        if section is None or not makes(rule, split):
            continue
        if to_plain(section.dataset) != to_plain(config.data.train.dataset):
            message = f"has a data set of its own, but data.split divides that of data.train into {split} as well"
            remedy = f"remove data.{split}, give it the data set of data.train, or set data.split.{split}: 0"
            yield Problem(where(("data", split, "dataset")), message, remedy)

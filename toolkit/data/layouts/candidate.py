"""What a recogniser answers: a layout, how sure it is and why, and how its data is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolkit.data.layouts.tree import Tree

Task = Literal["segmentation", "detection", "classification"]

WHOLE = ""
"""The split of data that is in one piece: it is divided by `data.split`."""


@dataclass(frozen=True)
class Candidate:
    """One way to read a folder.

    Args:
        layout: name of the layout, as `--layout` takes it.
        task: what can be learned from it.
        confidence: 0 to 1: the share of what was looked at that fits, less for names and contents that leave doubt.
        evidence: what was seen, in sentences, the most telling first.
        root: the data set's folder, relative to the one that was looked at.
        splits: arguments of the data set of each split, "name" among them, by "train", "val", "test", or `WHOLE`.
        pictures: number of pictures in all splits.
        classes: names of the labels where the files say them in order; None where the masks, or the reader, say.
        masks: paths of the mask files, relative to the folder that was looked at, for formats whose masks tell classes.
        annotations: folders and files of the annotation, by which two readings of the same files are told.
        notes: what of the folder is left unused, or was guessed.
    """

    layout: str
    task: Task
    confidence: float
    evidence: tuple[str, ...]
    root: str
    splits: Mapping[str, Mapping[str, Any]]
    pictures: int
    classes: tuple[str, ...] | None = None
    masks: tuple[str, ...] = field(default=(), repr=False)
    annotations: frozenset[str] = field(default=frozenset(), repr=False)
    notes: tuple[str, ...] = ()


Recogniser = Callable[[Tree], Iterable[Candidate]]

RECOGNISERS: list[Recogniser] = []
"""All that are asked; each stands in a file of its own."""


def recogniser(function: Recogniser) -> Recogniser:
    """Decorator: the function is asked of every folder. It looks at names, and opens few files."""
    RECOGNISERS.append(function)
    return function

"""From what a mask file stores to class ids: tables of values or of colours, and refusal of everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.label_maps import read_color_map, read_label_map
from toolkit.errors import ConfigError, Problem, did_you_mean, listed
from toolkit.samples import IGNORE_INDEX

_UNKNOWN = 254
"""Marks values outside a table while mapping; as a class id it would be the 255th class, which tables refuse."""

MAX_NAMED = 254
"""Classes that fit beside the two values above."""

_TALLIED = 50
"""Colours of a wrong mask that are counted one by one."""


class LabelReader:
    """Reads a mask file into class ids 0..K-1 and `IGNORE_INDEX`. Base: ids are stored as they are."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        if len(self.classes) > MAX_NAMED:
            raise ConfigError(Problem("classes", f"{len(self.classes)} classes; at most {MAX_NAMED} fit"))
        self._table = _lookup({value: value for value in (*range(len(self.classes)), IGNORE_INDEX)})

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8. Raises DataError naming the values outside the table and how many pixels have each."""
        return self.labels_of(read_label_map(path), path)

    def labels_of(self, stored: np.ndarray, path: Path) -> np.ndarray:
        """The (H, W) uint8 labels of stored values that are read already. Raises DataError as a call does.

        Args:
            stored: (H, W) values, uint8 or uint16.
            path: where they were read, for messages.
        """
        labels = _apply(self._table, stored)
        if (labels == _UNKNOWN).any():
            raise self._outside(path, stored, labels == _UNKNOWN)
        self._refuse_ambiguous(path, labels)
        return labels

    def values_of(self, label: int) -> np.ndarray:
        """The stored values, 0..65535, that mean a label (or `IGNORE_INDEX`), rising."""
        return np.flatnonzero(self._table == label)

    def _refuse_ambiguous(self, path: Path, labels: np.ndarray) -> None:
        """Two classes and only the values 0 and 255: nobody can tell a second class from pixels to ignore."""
        if len(self.classes) > 2 or not (labels == IGNORE_INDEX).any() or (labels == 1).any():
            return
        message = "holds only the values 0 and 255: a binary mask, or class 0 and pixels to ignore?"
        remedy = "say label_values: {0: 0, 255: 1} for a binary mask, or {0: 0, 1: 1, 255: ignore}"
        raise FileError("binary_mask", Problem(path, message, remedy))

    def _outside(self, path: Path, stored: np.ndarray, unknown: np.ndarray) -> FileError:
        values, counts = np.unique(stored[unknown], return_counts=True)
        found = ", ".join(f"{value} ({count} pixels)" for value, count in list(zip(values, counts, strict=True))[:12])
        more = f" and {len(values) - 12} more" if len(values) > 12 else ""
        message = f"holds values outside the table: {found}{more}; {self.describe()}"
        tally = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
        problem = Problem(path, message, self._advice(stored))
        return FileError("unknown_label", problem, tally, self.describe())

    def _advice(self, stored: np.ndarray) -> str:
        present = [int(value) for value in np.unique(stored)]
        if present == [0, 255] or present == [255]:
            return "values 0 and 255: a binary mask? label_values: {0: 0, 255: 1}"
        if len(present) > len(self.classes) + 20:
            tables = (
                "instance ids (label_values: {0: 0, 1-65535: 1}), a soft mask (label_values: {0-127: 0, 128-255: 1})"
            )
            return f"so many values: {tables}, or a photograph instead of class ids?"
        if 0 not in present and max(present) == len(self.classes):
            return (
                f"ids that start at 1? label_values: {{1: 0, 2: 1, ..., {len(self.classes)}: {len(self.classes) - 1}}}"
            )
        return "name the missing classes, or map the values with label_values: {stored value: class id or ignore}"

    def describe(self) -> str:
        """The table in words."""
        return f"wanted 0..{len(self.classes) - 1} for the {len(self.classes)} classes, or {IGNORE_INDEX} (ignore)"


LabelValues = Mapping[Any, int | Literal["ignore"]]
"""What stored values mean: class ids, or "ignore", by a value (7), a range ("1-65535"), a bound (">127"), or "default"."""


_BOUND = re.compile(r"(<=|>=|<|>)\s*(\d+)")


def _values_of(key: int | str) -> range | None:
    """The stored values a key of a table names; None for a key that names none.

    >>> _values_of(7), _values_of("128-255"), _values_of(">= 128"), _values_of("<1"), _values_of("high")
    (range(7, 8), range(128, 256), range(128, 65536), range(0, 1), None)
    """
    if isinstance(key, int):
        return range(key, key + 1)
    bound = _BOUND.fullmatch(key.strip())
    if bound is not None:
        sign, value = bound[1], int(bound[2])
        above = value + (sign == ">")
        return range(above, 65536) if sign.startswith(">") else range(value + (sign == "<="))
    first, dash, last = (part.strip() for part in key.partition("-"))
    if not first.isdecimal() or (dash and not last.isdecimal()):
        return None
    return range(int(first), int(last if dash else first) + 1)


def _in_order(key: Any) -> tuple[int, str]:
    """By the first value that a key names; what names none comes last."""
    values = _values_of(key)
    return (values[0] if values else 65536, str(key))


class MappedLabelReader(LabelReader):
    """Stored values are mapped by a table: a value (7), a range ("1-65535", ">127") or "default" to a class id or "ignore".

    A value of its own goes before a range that holds it, and a range before "default".
    """

    def __init__(self, classes: Sequence[str], label_values: LabelValues) -> None:
        super().__init__(classes)
        table = {key: _values_of(key) for key in label_values if key != "default"}
        problems = []
        if not label_values:
            problems.append(Problem("label_values", "the table is empty"))
        for stored, label in label_values.items():
            if label != "ignore" and (isinstance(label, str) or not 0 <= label < len(self.classes)):
                message = f"value {stored} maps to {label!r}; wanted a class id 0..{len(self.classes) - 1} or 'ignore'"
                problems.append(Problem("label_values", message))
        for stored, values in table.items():
            if not values:
                message = f"entry '{stored}' names no values; wanted a value 7, a range '1-65535', a bound '>127', or 'default'"
                problems.append(Problem("label_values", message))
            elif not 0 <= values[0] <= values[-1] <= 65535:
                problems.append(Problem("label_values", f"no mask can hold the value {stored}; wanted 0..65535"))
        if problems:
            raise ConfigError(problems)
        self.label_values = dict(label_values)
        ids = {key: IGNORE_INDEX if label == "ignore" else int(label) for key, label in label_values.items()}
        spread = sorted(((values, ids[key]) for key, values in table.items() if values), key=lambda one: -len(one[0]))
        self._table = _lookup({value: label for values, label in spread for value in values})
        if "default" in ids:
            self._table[self._table == _UNKNOWN] = ids["default"]

    def _refuse_ambiguous(self, path: Path, labels: np.ndarray) -> None:
        """The table says what every value means."""

    def describe(self) -> str:
        """The table in words."""
        return f"label_values names {listed(sorted(self.label_values, key=_in_order), 20)}"


class ColorLabelReader(LabelReader):
    """Colour-coded masks. colors: class name (or "ignore") -> [r, g, b] for every class; other colours are refused."""

    def __init__(self, classes: Sequence[str], colors: Mapping[str, Sequence[int]]) -> None:
        super().__init__(classes)
        self.colors = {name: tuple(color) for name, color in colors.items()}
        problems = _color_problems(self.classes, self.colors)
        if problems:
            raise ConfigError(problems)
        codes = {_code(np.array(color)): name for name, color in self.colors.items()}
        self._codes = np.array(sorted(codes), np.int32)
        labels = [self.classes.index(codes[c]) if codes[c] in self.classes else IGNORE_INDEX for c in sorted(codes)]
        self._labels = np.array(labels, np.uint8)

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8. Raises DataError naming the colours outside the table and how many pixels have each."""
        codes = _code(read_color_map(path))
        places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        known = self._codes[places] == codes
        if not known.all():
            raise self._outside(path, codes, ~known)
        return self._labels[places]

    def _outside(self, path: Path, stored: np.ndarray, unknown: np.ndarray) -> FileError:
        values, counts = np.unique(stored[unknown], return_counts=True)
        order = np.argsort(-counts)
        shown = [f"{_rgb(values[i])} ({counts[i]} pixels)" for i in order[:6]]
        more = f" and {len(values) - 6} more colours" if len(values) > 6 else ""
        table = ", ".join(f"{name} {list(color)}" for name, color in list(self.colors.items())[:8])
        message = f"holds colours outside the table: {', '.join(shown)}{more}; the table has {table}"
        tally = {str(_rgb(values[i])): int(counts[i]) for i in order[:_TALLIED]}
        problem = Problem(path, message, self._color_advice(values, counts))
        return FileError("unknown_color", problem, tally, f"the table has {table}")

    def _color_advice(self, values: np.ndarray, counts: np.ndarray) -> str:
        unknown = np.array([_rgb(value) for value in values[:4096]], np.int64)
        table = np.array(list(self.colors.values()), np.int64)
        near = np.abs(unknown[:, None] - table[None]).max(2).min(1) <= 30
        if len(values) > 20 and near.mean() > 0.5:
            return "most are near a colour of the table: the masks went through JPEG or were smoothed when resized"
        return "add the missing classes, or 'ignore: [r, g, b]', to colors"


def label_reader(
    classes: Sequence[str],
    label_values: LabelValues | None = None,
    colors: Mapping[str, Sequence[int]] | None = None,
) -> LabelReader:
    """The reader for what a data set says of its masks. Raises ConfigError for a table that makes no sense.

    Args:
        classes: names of the labels 0..K-1.
        label_values: stored value -> class id or "ignore"; None means values are class ids.
        colors: class name (or "ignore") -> [r, g, b], for colour-coded masks; None for masks of values.

    >>> label_reader(["wall", "cell"], {0: 0, 255: 1}).describe()
    'label_values names 0, 255'
    >>> type(label_reader(["wall", "cell"], colors={"wall": [0, 0, 0], "cell": [255, 0, 0]})).__name__
    'ColorLabelReader'
    """
    if label_values is not None and colors is not None:
        raise ConfigError(Problem("colors", "and label_values exclude one another: masks hold colours or values"))
    if colors is not None:
        return ColorLabelReader(classes, colors)
    return LabelReader(classes) if label_values is None else MappedLabelReader(classes, label_values)


def _lookup(table: Mapping[int, int]) -> np.ndarray:
    lookup = np.full(65536, _UNKNOWN, np.uint8)
    for stored, label in table.items():
        lookup[stored] = label
    return lookup


def _apply(lookup: np.ndarray, stored: np.ndarray) -> np.ndarray:
    if stored.dtype == np.uint8:
        return cv2.LUT(stored, lookup[:256])  # ten times faster than indexing
    return np.take(lookup, stored)


def _code(colors: np.ndarray) -> np.ndarray:
    wide = colors.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _rgb(code: int) -> list[int]:
    return [int(code) >> 16, int(code) >> 8 & 255, int(code) & 255]


def _color_problems(classes: tuple[str, ...], colors: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    problems = []
    for name, color in colors.items():
        if name not in classes and name != "ignore":
            suggestion = did_you_mean(name, [*classes, "ignore"])
            problems.append(Problem("colors", f"'{name}' is no class of the data set", suggestion))
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            problems.append(Problem("colors", f"'{name}' has colour {list(color)}; wanted [r, g, b], each 0..255"))
    missing = [name for name in classes if name not in colors]
    if missing:
        problems.append(Problem("colors", f"no colour for: {', '.join(missing)}"))
    if len(set(colors.values())) < len(colors):
        problems.append(Problem("colors", "two classes have the same colour"))
    return problems

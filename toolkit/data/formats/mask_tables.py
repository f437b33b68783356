"""What masks store, told by a table of classes that lies beside them: colours or values, and the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.classes.tables import class_table
from toolkit.data.formats.class_files import CLASS_FILES, ClassFile, find_class_file
from toolkit.data.formats.label_values import ColorLabelReader, LabelReader, LabelValues, label_reader
from toolkit.data.images.label_maps import read_color_map
from toolkit.errors import DataError, Problem
from toolkit.labels import ClassTable


class MaskTable(NamedTuple):
    """How the masks of a data set are read.

    Args:
        table: names and colours of the labels 0..K-1.
        reader: makes an (H, W) uint8 label map of a mask file.
        notes: sentences about what was taken from a file beside the data.
    """

    table: ClassTable
    reader: LabelReader
    notes: tuple[str, ...] = ()


def mask_table(
    classes: Sequence[str] | None,
    folders: Sequence[Path],
    first: Path,
    label_values: LabelValues | None = None,
    colors: Mapping[str, Sequence[int]] | None = None,
) -> MaskTable:
    """The names and the reader of masks, from what the config says and, for the rest, from a table beside the data.

    Args:
        classes: names of the labels 0..K-1 as the config gives them, or None.
        folders: where a table may lie, in the order in which they are looked through.
        first: one of the masks, which shows whether they hold the colours of a table.
        label_values: stored value -> class id or "ignore", as the config gives it; None: nothing is said.
        colors: class name (or "ignore") -> [r, g, b], as the config gives it; None: nothing is said.

    Raises:
        DataError: without names, and for a table that is none.
        ConfigError: for a table in the config that makes no sense.
    """
    if colors is not None and classes is None:
        classes = [name for name in colors if name != "ignore"]
    if colors is not None or label_values is not None:
        names, notes = _names(classes, folders)
        return _with_colors(names, label_reader(names, label_values, colors), notes)
    found = _found(classes, folders)
    if found is None or (classes is not None and not set(classes) <= set(found.names)):
        names, notes = _names(classes, folders, found)
        return MaskTable(class_table(names), label_reader(names), notes)
    names = found.names if classes is None else tuple(classes)
    if found.colors is not None and _holds_colors(first, found.colors):
        own = {name: color for name, color in found.colors.items() if name in names}
        return _with_colors(names, ColorLabelReader(names, own), (f"{found.path}: classes and colours of the masks",))
    if found.values is not None:
        values: LabelValues = {value: names.index(name) for name, value in found.values.items() if name in names}
        return MaskTable(class_table(names), label_reader(names, values), (f"{found.path}: classes and stored values",))
    return MaskTable(class_table(names), label_reader(names), (found.said(),) if classes is None else ())


def _found(classes: Sequence[str] | None, folders: Sequence[Path]) -> ClassFile | None:
    """A table beside the data; where the config names the classes, one that cannot be read is somebody else's."""
    try:
        return find_class_file(*folders)
    except DataError:
        if classes is None:
            raise
        return None


def _names(
    classes: Sequence[str] | None, folders: Sequence[Path], found: ClassFile | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if classes is not None:
        return tuple(class_table(list(classes)).names), ()
    found = found or find_class_file(*folders)
    if found is None:
        message = f"no class names: data.classes says none, and none of {', '.join(CLASS_FILES)} is there"
        raise DataError(
            Problem(folders[0], message, "set data.classes: [background, ...], in the order of the class ids")
        )
    return found.names, (found.said(),)


def _with_colors(names: Sequence[str], reader: LabelReader, notes: tuple[str, ...]) -> MaskTable:
    """The table with the colours of the masks, where they have some."""
    table = class_table(list(names))
    if isinstance(reader, ColorLabelReader):
        palette = tuple(reader.colors[name] for name in table.names)
        table = ClassTable(table.names, palette)  # type: ignore[arg-type]
    return MaskTable(table, reader, notes)


def _holds_colors(first: Path, colors: Mapping[str, Sequence[int]]) -> bool:
    """Whether a mask holds colours of the table and no others; palettes are expanded."""
    try:
        pixels = read_color_map(first).reshape(-1, 3)
    except DataError:
        return False
    found = {tuple(color) for color in np.unique(pixels, axis=0).tolist()}
    return found <= {tuple(color) for color in colors.values()}

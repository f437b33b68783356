"""Tables of classes that tools leave beside the data: names, and the colours or stored values of masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from toolkit.data.formats.name_lists import read_lines
from toolkit.data.formats.yolo_files import names_of_yaml
from toolkit.errors import DataError, Problem


class ClassFile(NamedTuple):
    """A table of classes as it lies beside the data.

    Args:
        path: the file it was read from.
        names: names of the classes in the order of the file.
        colors: (r, g, b) of each in colour-coded masks; None where the file has none.
        values: what masks store for each; None where the file does not say: the place in the file then.
    """

    path: Path
    names: tuple[str, ...]
    colors: dict[str, list[int]] | None = None
    values: dict[str, int] | None = None

    def said(self) -> str:
        """That the names come from this file, for the notes of a data set."""
        shown = ", ".join(self.names[:20]) + (" ..." if len(self.names) > 20 else "")
        return f"{self.path}: its {len(self.names)} class names are used: {shown}"


def find_class_file(*folders: Path) -> ClassFile | None:
    """The first table that lies in one of the folders, of the names in `CLASS_FILES` in their order; None for none.

    Raises DataError for a file of such a name that is no table.
    """
    for folder in folders:
        for name, read in CLASS_FILES.items():
            path = folder / name
            if path.is_file():
                return _checked(read(path))
    return None


def _checked(table: ClassFile) -> ClassFile:
    twice = sorted({name for name in table.names if table.names.count(name) > 1})
    if twice:
        raise DataError(Problem(table.path, f"names {', '.join(twice)} more than once", "remove the repeats"))
    return table


def read_label_colors(path: Path) -> dict[str, list[int]]:
    """The classes and colours of CVAT's `labelmap.txt`, in its order: `name:r,g,b:parts:actions` lines, # comments.

    Raises DataError for a file that is missing, or has a line of another form.
    """
    colors: dict[str, list[int]] = {}
    for line in read_lines(path, "table of colours"):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        if len(numbers) != 3 or not all(number.strip().isdecimal() for number in numbers):
            raise DataError(Problem(path, f"wanted 'name:r,g,b', found '{line}'"))
        colors[name.strip()] = [int(number) for number in numbers]
    return colors


def _label_map(path: Path) -> ClassFile:
    colors = read_label_colors(path)
    return ClassFile(path, tuple(colors), colors)


def _lines(path: Path) -> ClassFile:
    """A name a line; `0 name` and `0: name` lines number them."""
    lines = [line for line in read_lines(path, "table of classes") if not line.startswith("#")]
    parted = [line.replace(":", " ", 1).split(None, 1) for line in lines]
    if lines and all(len(parts) == 2 and parts[0] == str(place) for place, parts in enumerate(parted)):
        lines = [parts[1].strip() for parts in parted]
    return ClassFile(path, tuple(lines))


def _yaml(path: Path) -> ClassFile:
    return ClassFile(path, tuple(names_of_yaml(path)))


def _csv(path: Path) -> ClassFile:
    """Roboflow's `Pixel Value, Class` rows, the value that a mask stores for each class."""
    rows = list(csv.reader(io.StringIO("\n".join(read_lines(path, "table of classes")))))
    values: dict[str, int] = {}
    for row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if len(cells) < 2 or not cells[0].isdecimal():
            raise DataError(Problem(path, f"wanted rows 'value, class', found '{','.join(row)}'"))
        values[cells[1]] = int(cells[0])
    if not values:
        raise DataError(Problem(path, "has no row 'value, class' after its first line"))
    return ClassFile(path, tuple(values), values=values)


CLASS_FILES: dict[str, Callable[[Path], ClassFile]] = {
    "labelmap.txt": _label_map,
    "_classes.csv": _csv,
    "data.yaml": _yaml,
    "data.yml": _yaml,
    "classes.txt": _lines,
    "class_names.txt": _lines,
    "labels.txt": _lines,
    "obj.names": _lines,
}
"""Files that are looked for and who reads them: CVAT's and Roboflow's masks, YOLO, LabelMe, darknet."""

"""What mask files store, and the classes that follow: ids, colours, two values, soft edges or numbered objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from toolkit.data.layouts.class_names import IGNORED, NameTable
from toolkit.errors import DataError, Problem, listed
from toolkit.labels import IGNORE_INDEX, Color, default_palette

MOST_CLASSES = 64
"""Values or colours from which on a picture is a photograph, a soft mask or numbered objects, where no table names them."""

_SOFT, _SOFT_SHARE = 32, 0.7
"""How near to 0 or 255 a value of a soft mask is, and the share of the pixels that must be so near."""

_MOST_KEPT = 4096
"""Colours that are remembered of all masks together."""


class Stored(NamedTuple):
    """The contents of some mask files.

    Args:
        values: pixels by stored value, of files with one channel, or several that are equal.
        colors: pixels by colour, of files whose channels differ.
        palette: colours that palette files give their values.
        files: how many mask files were opened.
        wrong: those that could not be, with the reason.
    """

    values: Counter[int]
    colors: Counter[Color]
    palette: dict[int, Color]
    files: int
    wrong: tuple[tuple[str, str], ...] = ()


def look_into(paths: Iterable[Path], told: Callable[[int], None] | None = None) -> Stored:
    """Counts what the files hold; those that cannot be read are named.

    Args:
        paths: the mask files, in any order.
        told: called with the number of files so far.
    """
    values: Counter[int] = Counter()
    colors: Counter[Color] = Counter()
    palette: dict[int, Color] = {}
    wrong, number = [], 0
    for number, path in enumerate(paths, 1):
        try:
            pages = list(_pages(path))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            wrong.append((str(path), str(error) or type(error).__name__))
            continue
        for pixels, own in pages:
            if pixels.ndim == 2:
                values.update(_counted(pixels))
                palette.update(own)
            else:
                found, counts = np.unique(_codes(pixels), return_counts=True)
                pairs = zip(found[:_MOST_KEPT], counts, strict=False)
                colors.update({_color(code): int(count) for code, count in pairs})
        if told is not None:
            told(number)
    return Stored(values, colors, palette, number, tuple(wrong))


def _pages(path: Path) -> Iterator[tuple[np.ndarray, dict[int, Color]]]:
    """(H, W) stored values with the file's palette, or (H, W, 3) colours; of every page where there are several."""
    with Image.open(path) as image:
        for page in range(getattr(image, "n_frames", 1)):
            image.seek(page)
            yield _pixels(image)


def _pixels(image: Image.Image) -> tuple[np.ndarray, dict[int, Color]]:
    pixels = np.asarray(image)
    if image.mode == "P":
        table = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
        present = [int(value) for value in np.unique(pixels) if value < len(table)]
        return pixels, {value: _triple(table[value]) for value in present}
    if image.mode in ("RGB", "RGBA", "LA", "CMYK", "YCbCr"):
        pixels = np.asarray(image.convert("RGB"))
        gray = (pixels[..., :1] == pixels).all()
        return (pixels[..., 0] if gray else pixels), {}
    return (pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint8 if pixels.dtype == bool else np.int64)), {}


def _counted(pixels: np.ndarray) -> dict[int, int]:
    if pixels.dtype == np.uint8:
        counts = np.bincount(pixels.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(pixels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _codes(pixels: np.ndarray) -> np.ndarray:
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _color(code: Any) -> Color:
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _triple(row: np.ndarray) -> Color:
    return int(row[0]), int(row[1]), int(row[2])


def looks_like_masks(stored: Stored) -> bool:
    """Whether these are masks rather than photographs: few values or colours."""
    if not stored.values and not stored.colors:
        return False
    return len(stored.values) <= MOST_CLASSES and len(stored.colors) <= MOST_CLASSES


class MaskClasses(NamedTuple):
    """How masks are read into labels 0..K-1.

    Args:
        names: of the classes, in label order.
        palette: a colour (r, g, b) for each class.
        arguments: what the data set is told beside its folders: `label_values` or `colors`.
        pixels: of each class in the masks that were looked at.
        notes: what was guessed, in sentences.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    arguments: dict[str, Any]
    pixels: tuple[int, ...]
    notes: tuple[str, ...] = ()


def classes_of(stored: Stored, tables: Sequence[NameTable], place: Path) -> MaskClasses:
    """The classes of masks, by the table of classes that fits them best; names are made up where none does, and said.

    Args:
        stored: what the mask files were found to hold.
        tables: tables that lie beside the data, the most telling first.
        place: the masks' folder, for messages.

    Raises:
        DataError: masks that no table of classes can describe.
    """
    if stored.wrong and stored.files == len(stored.wrong):
        path, reason = stored.wrong[0]
        raise DataError(Problem(Path(path), f"cannot be read as a mask: {reason}", "are these the masks?"))
    if stored.colors and stored.values:
        gray = {(value, value, value): count for value, count in stored.values.items()}
        if stored.palette:
            gray = {stored.palette.get(value, (value,) * 3): count for value, count in stored.values.items()}
        return _of_colors(stored.colors + Counter(gray), tables, place)
    if stored.colors:
        return _of_colors(stored.colors, tables, place)
    if stored.palette and not any(table.values for table in tables):
        named = next((one for one in tables if one.colors and set(stored.palette.values()) <= set(one.colors)), None)
        if named is not None:  # a table of colours, and masks that show them by palette
            own: Counter[Color] = Counter()
            for value, count in stored.values.items():
                own[stored.palette[value]] += count
            if len(own) == len(stored.values):
                return _of_colors(own, [named], place)
    return _of_values(stored, tables, place)


def _of_colors(found: Counter[Color], tables: Sequence[NameTable], place: Path) -> MaskClasses:
    fitting = sorted((t for t in tables if t.colors), key=lambda t: -sum(found[c] for c in t.colors or ()))
    table = next((one for one in fitting if any(found[color] for color in one.colors or ())), None)
    known = dict(zip(table.colors or (), table.names, strict=True)) if table else {}
    strange = [color for color in found if color not in known]
    if len(strange) > MOST_CLASSES:
        message = f"the masks hold {len(found)} colours: numbered objects, photographs, or masks that went through JPEG"
        raise DataError(Problem(place, message, "one colour a class is wanted, and a table of them beside the data"))
    notes = []
    if strange and not known and len(strange) <= 2 and (0, 0, 0) in strange:
        known = {(0, 0, 0): "background", **{color: "foreground" for color in strange if any(color)}}
        notes.append("the masks hold one colour on black, called 'foreground': name it as you like")
    elif strange:
        ordered = sorted(strange, key=lambda color: (color != (0, 0, 0), color))
        known |= {color: _name_of(color, known.values()) for color in ordered}
        what = f"not in {table.source}" if table else "in no table beside the data"
        notes.append(f"{len(strange)} colours are {what}; their classes are named by them: name them as you like")
    ignored = table.ignored if table else frozenset[str]()
    kept = {name: color for color, name in known.items() if name not in ignored}
    void = [color for color, name in known.items() if name in ignored]
    colors: dict[str, list[int]] = {name: list(color) for name, color in kept.items()}
    if void:
        colors["ignore"] = list(void[0])
    return MaskClasses(
        tuple(kept), tuple(kept.values()), {"colors": colors}, tuple(found[c] for c in kept.values()), tuple(notes)
    )


def _name_of(color: Color, taken: Iterable[str]) -> str:
    name = "background" if color == (0, 0, 0) else "color_{:02x}{:02x}{:02x}".format(*color)
    return name if name not in taken else f"color_{color[0]:02x}{color[1]:02x}{color[2]:02x}"


def _of_values(stored: Stored, tables: Sequence[NameTable], place: Path) -> MaskClasses:
    present = sorted(stored.values)
    table = _table_of(present, tables)
    if table is not None:
        return _named(stored, table)
    lists = [one.names for one in tables if one.values is None]
    alone = next((names[0] for names in lists if len(names) == 1), None)
    two = next((names for names in lists if len(names) == 2), None)
    notes = [] if alone or two else ["no table of classes lies beside the masks: name them as you like"]
    pair = two or ("background", alone or "foreground")
    if set(present) <= {0, 255} or set(present) <= {0, 1}:
        arguments = {"label_values": {0: 0, 255: 1}} if 255 in present else {}
        return _made(stored, pair, arguments, notes)
    if len(present) > MOST_CLASSES and _is_soft(stored.values):
        notes.append("the masks hold shades between 0 and 255 (soft edges): 128 and above count as the class")
        return _made(stored, pair, {"label_values": {"0-127": 0, "128-255": 1}}, notes)
    if len(present) > MOST_CLASSES and 0 in present:
        notes.append(f"the masks hold {len(present)} values, taken for numbered objects of one class on background 0")
        return _made(stored, pair, {"label_values": {0: 0, "1-65535": 1}}, notes)
    if len(present) > MOST_CLASSES:
        message = f"the masks hold {len(present)} values, {present[0]} to {present[-1]}, and no table names them"
        raise DataError(Problem(place, message, "are these the masks? a table of values and names beside them helps"))
    ids = [value for value in present if value != IGNORE_INDEX or IGNORE_INDEX - 1 in present]
    ids = list(range(ids[-1] + 1)) if ids[0] == 0 and ids[-1] < 2 * len(ids) else ids
    names = [f"class{value}" for value in ids]
    values: dict[int | str, int | str] = {value: label for label, value in enumerate(ids)}
    if IGNORE_INDEX in present and IGNORE_INDEX not in ids:
        values[IGNORE_INDEX] = "ignore"
        notes.append("value 255 is taken for pixels that do not count")
    return _made(stored, names, {} if ids == list(range(len(ids))) else {"label_values": values}, notes)


def _table_of(present: Sequence[int], tables: Sequence[NameTable]) -> NameTable | None:
    """The table that names the most of the values, with a value for each name; None where none names them all."""
    ids = [value for value in present if value != IGNORE_INDEX]
    for table in tables:
        if table.values is not None and set(ids) <= set(table.values):
            return table
    for table in tables:
        if table.values is not None or not ids:
            continue
        count = len(table.names)
        if ids[-1] < count and (count > 2 or present[-1] != IGNORE_INDEX or len(ids) == 2):
            return table._replace(values=tuple(range(count)))
        has_background = any(name.lower() in ("background", "bg", "_background_") for name in table.names)
        if ids[-1] == count and not has_background and ids[0] == 0:
            return table._replace(names=("background", *table.names), values=tuple(range(count + 1)), colors=None)
        if ids[-1] == count and ids[0] == 1:
            return table._replace(values=tuple(range(1, count + 1)))
    return None


def _named(stored: Stored, table: NameTable) -> MaskClasses:
    """Classes by a table that has a value for every name."""
    rows = dict(zip(table.values or (), table.names, strict=True))
    kept = {value: name for value, name in rows.items() if name not in table.ignored}
    values: dict[int | str, int | str] = {value: label for label, value in enumerate(kept)}
    void = [value for value in rows if value not in kept]
    if IGNORE_INDEX in stored.values and IGNORE_INDEX not in rows:
        void.append(IGNORE_INDEX)
    plain = list(kept) == list(range(len(kept))) and set(void) <= {IGNORE_INDEX}
    arguments = {} if plain else {"label_values": values | dict.fromkeys(void, "ignore")}
    colors = dict(zip(table.values or (), table.colors, strict=True)) if table.colors else stored.palette
    palette = _palette([colors.get(value) for value in kept])
    notes = (f"class names come from {table.source}",)
    return MaskClasses(tuple(kept.values()), palette, arguments, tuple(stored.values[v] for v in kept), notes)


def _made(stored: Stored, names: Sequence[str], arguments: Mapping[str, Any], notes: Sequence[str]) -> MaskClasses:
    """Classes by values that the masks hold, counted by the table in the arguments."""
    table = arguments.get("label_values") or {value: value for value in range(len(names))}
    pixels = [0] * len(names)
    for key, label in table.items():
        first, _, last = str(key).partition("-")
        if label != "ignore":
            span = range(int(first), int(last or first) + 1)
            pixels[int(label)] += sum(count for value, count in stored.values.items() if value in span)
    colors = [stored.palette.get(key) if isinstance(key, int) else None for key in list(table)[: len(names)]]
    return MaskClasses(tuple(names), _palette(colors), dict(arguments), tuple(pixels), tuple(notes))


def _palette(colors: Sequence[Color | None]) -> tuple[Color, ...]:
    """The files' own colours where all classes have one of their own, else the default ones."""
    own = [color for color in colors if color is not None]
    gray = all(len(set(color)) == 1 for color in own) and len(own) > 2
    return tuple(own) if len(set(own)) == len(colors) and not gray else default_palette(len(colors))


def _is_soft(values: Counter[int]) -> bool:
    if max(values) > 255:
        return False
    near = sum(count for value, count in values.items() if value <= _SOFT or value >= 255 - _SOFT)
    return near >= _SOFT_SHARE * sum(values.values())


def refuse_confused(names: Sequence[str], where: Path) -> None:
    """Raises DataError for class names that differ only by case or blanks: one class, written twice.

    >>> refuse_confused(["car", "bus"], Path("classes.txt"))
    """
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(" ".join(name.lower().replace("_", " ").split()), []).append(name)
    clashes = [sorted(own) for own in by_key.values() if len(own) > 1]
    if clashes:
        told = "; ".join(" and ".join(repr(name) for name in own) for own in clashes[:5])
        message = f"class names differ only by case or blanks: {told}{'' if len(clashes) < 6 else '; and more'}"
        raise DataError(Problem(where, message, "give each class one spelling in the annotation"))
    blank = [name for name in names if not name.strip()]
    if blank:
        raise DataError(Problem(where, f"a class has an empty name among {listed(names)}", "name it in the annotation"))


__all__ = ["IGNORED", "MaskClasses", "Stored", "classes_of", "look_into", "looks_like_masks", "refuse_confused"]

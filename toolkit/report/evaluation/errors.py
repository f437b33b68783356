"""The split of errors by kind, as the page shows it: for every kind what it costs, and for every class a bar of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from toolkit.labels import Color
from toolkit.report.evaluation.box_cards import BOX_KIND_WORDS, box_kind_legend
from toolkit.report.evaluation.label_cards import KIND_WORDS, kind_legend


class KindRow(NamedTuple):
    """A kind of error.

    Args:
        name: what the kind is called for people.
        color: (r, g, b) of its bars, 0..255.
        lost: points of the metric that it costs.
        mended: the metric if it alone were mended, in per cent, or None.
        number: how many pixels or boxes it is.
    """

    name: str
    color: Color
    lost: float
    mended: float | None
    number: int


class Piece(NamedTuple):
    """A piece of a class's bar.

    Args:
        width: its length in per cent of the room that a bar has.
        color: (r, g, b) of its kind of error, 0..255.
        words: its kind and number, shown by the pointer.
    """

    width: float
    color: Color
    words: str


@dataclass(frozen=True)
class ErrorSplit:
    """What the section about errors shows.

    Args:
        metric: what is lost ("mIoU", "AP50").
        adds_up: whether the losses of the kinds add up to all that is lost.
        unit: what is counted, in the plural ("pixels").
        kinds: a row for each kind of error.
        classes: name of each class, its pieces, and its total for people.
    """

    metric: str
    adds_up: bool
    unit: str
    kinds: tuple[KindRow, ...]
    classes: tuple[tuple[str, tuple[Piece, ...], str], ...]


def error_split(section: Mapping[str, Any] | None, classes: Sequence[str]) -> ErrorSplit | None:
    """What to show of a record's section `errors`; None without one."""
    if not section:
        return None
    return _of_pixels(section, classes) if "pixels" in section else _of_boxes(section, classes)


def _of_pixels(section: Mapping[str, Any], classes: Sequence[str]) -> ErrorSplit:
    colors = {key: entry.color for key, entry in kind_legend()}
    kinds = tuple(
        KindRow(KIND_WORDS[kind], colors[kind], 100 * (section["lost"][kind] or 0), _percent(section["mended"][kind]),
                section["pixels"][kind])
        for kind in section["kinds"]
    )  # fmt: skip
    rows = []
    for name in classes:
        own = section["by_class"].get(name) or {}
        if own.get("IoU") is None:
            continue
        lost = {kind: 100 * (own["lost"][kind] or 0) for kind in section["kinds"]}
        pieces = tuple(Piece(lost[kind], colors[kind], f"{KIND_WORDS[kind]}: {lost[kind]:.1f} points") for kind in lost)
        rows.append((name, pieces, f"{sum(lost.values()):.1f}"))
    return ErrorSplit("mIoU", True, "pixels", kinds, tuple(rows))


def _of_boxes(section: Mapping[str, Any], classes: Sequence[str]) -> ErrorSplit:
    colors = {key: entry.color for key, entry in box_kind_legend()}
    kinds = tuple(
        KindRow(BOX_KIND_WORDS[kind], colors[kind], 100 * section["lost"][kind], 100 * (section["AP"] + section["lost"][kind]),
                section["count"][kind])
        for kind in section["kinds"]
    )  # fmt: skip
    counts = {name: section["by_class"].get(name) or {} for name in classes}
    most = max((sum(own.values()) for own in counts.values()), default=0) or 1
    rows = tuple(
        (
            name,
            tuple(
                Piece(100 * number / most, colors[kind], f"{BOX_KIND_WORDS[kind]}: {number:,}")
                for kind, number in own.items()
            ),
            f"{sum(own.values()):,}",
        )
        for name, own in counts.items()
    )
    return ErrorSplit(f"AP{100 * section['overlap']:.0f}", False, "boxes", kinds, rows)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value

"""The page of a comparison: what differs between predictions of the same images, how sure that is, and where to see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.drawing import LegendEntry
from toolkit.report.evaluation.box_cards import box_card, box_kind_legend
from toolkit.report.evaluation.choice import Chosen, choose_changed
from toolkit.report.evaluation.label_cards import change_legend, class_entries, label_card
from toolkit.report.evaluation.pictures import Reader, class_table, readable, thresholds, unpainted_in
from toolkit.report.gallery import Card, Gallery, View, card_picture, within_budget
from toolkit.report.page import render, write_page
from toolkit.results.record import Record
from toolkit.results.small_maps import unpacked_map

PAGE_FILE = "compare.html"
_OTHERS = 40
"""Metrics without a class up to which all are shown; the deciding one always is."""


UNDECIDED = "nothing can be said"
"""In the place of a verdict, where there are too few groups of images for an interval."""


class DifferenceRow(NamedTuple):
    """A metric of two predictions, ready to be shown.

    Args:
        pair: what is held against what ("b against a").
        metric: name of the metric, with its class.
        values: the value of each of the two for people.
        difference: the second minus the first for people, with its sign.
        interval: its interval for people, or why there is none.
        verdict: "better", "worse" or "within noise"; `UNDECIDED` where there is no interval.
        number: the difference as it stands, for sorting; None where undefined.
    """

    pair: str
    metric: str
    values: tuple[str, str]
    difference: str
    interval: str
    verdict: str
    number: float | None


def write_comparison_page(
    folder: str | Path,
    comparison: Mapping[str, Any],
    records: Sequence[Record],
    read: Reader | None = None,
    never_in: Iterable[str | Path] = (),
) -> Path:
    """Writes `compare.html`; returns its path. Raises UserError when it cannot be written there.

    Args:
        folder: folder of the page, made if need be.
        comparison: everything the comparison says, as plain JSON (`results.comparison.Comparison.as_json`).
        records: the records that were compared, with their images in one order; pictures are of the first and the last.
        read: reads an image and its annotation by its name; None leaves the pictures out.
        never_in: folders of the user's data, into which nothing is ever written.
    """
    return write_page(Path(folder) / PAGE_FILE, comparison_page(comparison, records, read), never_in)


def comparison_page(comparison: Mapping[str, Any], records: Sequence[Record], read: Reader | None = None) -> str:
    """The whole page as HTML.

    Args:
        comparison: everything the comparison says, as plain JSON.
        records: the records that were compared, with their images in one order.
        read: reads an image and its annotation by its name; None leaves the pictures out.
    """
    rows = [_row(found, comparison) for found in comparison["differences"]]
    metric = comparison["metric"]
    gallery = _gallery(comparison, records, read) if read is not None else None
    within = comparison.get("within") or {}
    return render(
        "comparison.html",
        names=comparison["names"],
        said=comparison["said"],
        notes=comparison.get("notes") or (),
        metric=metric,
        unit="points" if comparison.get("percent", True) else "",
        headlines=[row for row in rows if row.metric == metric],
        rows=[row for row in rows if "/" not in row.metric][:_OTHERS],
        by_class=[row for row in rows if "/" in row.metric],
        within_said=within.get("said"),
        within=[_row(found, comparison) for found in within.get("differences") or () if found["metric"] == metric],
        gallery=gallery if gallery is not None and gallery.cards else None,
        records=comparison.get("records") or (),
        weights=comparison.get("weights") or (),
    )


def _row(found: Mapping[str, Any], comparison: Mapping[str, Any]) -> DifferenceRow:
    percent = bool(comparison.get("percent", True))
    first, second = found.get("pair") or (0, 1)
    names, change = comparison["names"], found.get("difference")
    low, high = found.get("low"), found.get("high")
    interval = (
        f"{_text(low, percent, True)} to {_text(high, percent, True)}" if low is not None and high is not None else ""
    )
    return DifferenceRow(
        f"{names[second]} against {names[first]}",
        found["metric"],
        (_text(found["a"], percent), _text(found["b"], percent)),
        _text(change, percent, True),
        interval or str(found.get("why") or ""),
        UNDECIDED if found.get("why") else found["verdict"],
        change,
    )


def _text(value: float | None, percent: bool, signed: bool = False) -> str:
    if value is None:
        return "–"
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.4g}"


# --------------------------------------------------------------------------- pictures


def _gallery(comparison: Mapping[str, Any], records: Sequence[Record], read: Reader) -> Gallery:
    """The images that changed most between the first and the last record."""
    first, last = records[0], records[-1]
    names = comparison["names"][0], comparison["names"][-1]
    changes: dict[int, Mapping[str, Any]] = {image["place"]: image for image in comparison["images"]}
    worth = [(changes.get(place) or {}).get("difference") for place in range(len(first))]
    missing: list[str] = []
    kept, cut = within_budget(_cards(comparison, changes, choose_changed(worth), (first, last), read, missing))
    note = f"{len(kept)} of {len(first)} images are shown, those that changed most."
    note += f" {cut} more would have been, but the page would be too large for mail." if cut else ""
    note += f" {len(missing)} could not be read." if missing else ""
    views, kinds = _views(last, names)
    note += f" {thresholds(last, first.classes)[1]}" if "detection_scores" in last.arrays else ""
    present = sorted({label for card in kept for label in card.labels})
    orders = ("became worse first", "became better first")
    return Gallery(
        views,
        tuple(kept),
        class_entries(class_table(first), present),
        kinds,
        note,
        orders,
        unpainted=unpainted_in(first),
    )


def _views(record: Record, names: tuple[str, str]) -> tuple[tuple[View, ...], tuple[tuple[str, LegendEntry], ...]]:
    """The pictures of each card and the kinds of errors in them, as far as a record has any."""
    image, truth = View("image", "image"), View("truth", "truth")
    answers = View("before", names[0]), View("after", names[1])
    if "map_bytes" in record.arrays:
        return (image, truth, *answers, View("error", "what changed")), change_legend()
    if "detection_scores" in record.arrays:
        return (image, truth, *answers, View("error", f"errors of {names[1]}")), box_kind_legend()
    return (image,), ()


def _cards(
    comparison: Mapping[str, Any],
    changes: Mapping[int, Mapping[str, Any]],
    chosen: Sequence[Chosen],
    records: tuple[Record, Record],
    read: Reader,
    missing: list[str],
) -> Iterator[Card]:
    """Cards of the images that changed; names of those that cannot be read go to `missing`."""
    first, last = records
    percent, table = bool(comparison.get("percent", True)), class_table(first)
    for one in chosen:
        name = first.images[one.place]
        sample = readable(read, name)
        if sample is None:
            missing.append(name)
            continue
        change = changes[one.place]
        before, after = (_text(change["values"][side], percent) for side in (0, -1))
        words = f"{_text(change['difference'], percent, True)} ({before} → {after})"
        size = (int(first.sizes[one.place, 0]), int(first.sizes[one.place, 1]))
        maps = [unpacked_map(record.arrays, one.place, size) for record in records]
        order = change["difference"]
        if sample.label_map is not None and maps[0] is not None and maps[1] is not None:
            own = {"before": maps[0], "after": _in_classes_of(first, last, maps[1])}
            yield label_card(one, sample, own, table, words, order)
        elif "detection_scores" in last.arrays:
            arrays = {"before": first.arrays, "after": _boxes_in_classes_of(first, last)}
            yield box_card(one, sample, arrays, thresholds(last, first.classes)[0], table, words, order)
        else:
            yield Card(name, words, order, one.part, card_picture(sample.image), sample.original_size, {})


def _labels_in(first: Record, last: Record) -> np.ndarray:
    """(256,) uint8: labels of the first record for labels of the last, by the names of the classes."""
    table = np.arange(256, dtype=np.uint8)
    for label, name in enumerate(last.classes):
        table[label] = first.classes.index(name)
    return table


def _in_classes_of(first: Record, last: Record, labels: np.ndarray) -> np.ndarray:
    return labels if first.classes == last.classes else _labels_in(first, last)[labels]


def _boxes_in_classes_of(first: Record, last: Record) -> Mapping[str, np.ndarray]:
    if first.classes == last.classes:
        return last.arrays
    table = _labels_in(first, last).astype(np.int64)
    changed = {name: table[last.arrays[name]] for name in ("detection_labels", "truth_labels")}
    return {**last.arrays, **changed}

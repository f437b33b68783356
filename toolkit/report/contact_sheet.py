"""The page of a prediction: its drawings as a gallery to filter, sort and enlarge. It lies beside them and shows the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolkit.drawing import LegendEntry, shown_colors
from toolkit.labels import ClassTable, Color
from toolkit.report.gallery import Card, Gallery, View
from toolkit.report.page import render

CARDS = 500
"""Pictures that the page shows at most: a browser loads them all."""
FAILURES = 100
"""Failures that are listed at most."""


class Shown(NamedTuple):
    """One picture of the sheet.

    Args:
        name: of the picture, below its folder.
        address: of its drawing, relative to the page, as a URL.
        size: (height, width) of the drawing in pixels.
        words: what was found, for people.
        score: mean score 0..1; None where there is none.
        labels: classes that occur in the answer.
    """

    name: str
    address: str
    size: tuple[int, int]
    words: str
    score: float | None
    labels: Sequence[int]


def contact_sheet(
    shown: Sequence[Shown],
    done: int,
    failed: Sequence[tuple[str, str]],
    classes: ClassTable,
    facts: Sequence[tuple[str, str]],
) -> str:
    """The text of the page.

    Args:
        shown: the pictures it has, at most `CARDS`, in order.
        done: how many pictures there are results of.
        failed: name and reason of each picture that there is none of.
        classes: names and colours of the labels.
        facts: word and text of what else is told: weights, options.
    """
    colors = shown_colors(classes.palette, len(classes.names))
    present = sorted({label for one in shown for label in one.labels})
    entries = tuple((label, LegendEntry(_color(colors[label]), classes.name_of(label))) for label in present)
    cards = tuple(
        Card(one.name, one.words, one.score, "", one.address, one.size, {}, frozenset(one.labels)) for one in shown
    )
    note = f"{len(shown)} of {done} pictures, evenly spread over the listing; the others lie beside this page." * (
        len(shown) < done
    )
    lead = f"{done} pictures done" + (f", {len(failed)} not" if failed else "")
    gallery = Gallery((View("drawing", "drawing"),), cards, entries, (), note, ("unsure first", "sure first"), True)
    return render(
        "predictions.html",
        lead=lead,
        gallery=gallery if cards else None,
        failed=failed[:FAILURES],
        more_failed=max(0, len(failed) - FAILURES),
        facts=facts,
    )


def _color(color: np.ndarray) -> Color:
    red, green, blue = color.tolist()
    return red, green, blue

"""Drawings of an evaluation's page, made of the sections of its record: training curves, confusion, precision over recall."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.drawing import shown_colors
from toolkit.labels import ClassTable, Color
from toolkit.report.curves import Curve, curves
from toolkit.report.heat_map import confusion_heat_map
from toolkit.report.quantities import percent

_TRAIN, _VAL = (63, 114, 184), (196, 102, 44)
_MOST_CURVES = 24
"""Classes whose curves are drawn; of more, the first ones are, and the page says so."""
_MIX_UPS = 6


def read_training(metrics: Path) -> list[dict[str, Any]]:
    """The events of a training's metrics.jsonl; [] when it is missing. A line that cannot be read is left out."""
    if not metrics.is_file():
        return []
    events = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("step"), (int, float)):
            events.append(event)
    return events


def training_curves(events: Sequence[Mapping[str, Any]], metric: str) -> list[Markup]:
    """Loss over steps, in training and validation, and the metric over steps; what has no points is left out."""
    losses = [
        Curve("training loss", _points(events, "loss"), _TRAIN),
        Curve("validation loss", _points(events, "val/loss"), _VAL),
    ]
    losses = [curve for curve in losses if curve.points]
    values = _points(events, f"val/{metric}")
    found = []
    if losses:
        found.append(curves(losses, "Loss by step", ("step", "loss")))
    if values:
        found.append(curves([Curve(metric, values, _VAL)], f"{metric} on val by step", ("step", f"{metric} on val")))
    return found


def _points(events: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float | None]]:
    return [(float(event["step"]), event[key]) for event in events if isinstance(event.get(key), (int, float))]


def precision_recall(points: Mapping[str, Any], classes: ClassTable) -> Markup | None:
    """Precision over recall of each class with its operating point; None for a record without such curves."""
    by_class, found = points.get("by_class") or {}, []
    colors = shown_colors(classes.palette, len(classes.names))
    for name, curve in (points.get("curves") or {}).items():
        if name not in classes.names:
            continue
        red, green, blue = colors[classes.names.index(name)].tolist()
        pairs = [(r, p) for r, p in zip(curve["recall"], curve["precision"], strict=True) if r is not None]
        if len(pairs) > 1:
            found.append(_with_point(name, pairs, (red, green, blue), by_class.get(name) or {}))
    if not found:
        return None
    return curves(found[:_MOST_CURVES], "Precision by recall", ("recall", "precision"), high=(1.0, 1.0))


def _with_point(
    name: str, pairs: Sequence[tuple[float, float | None]], color: Color, point: Mapping[str, Any]
) -> Curve:
    recall, precision, threshold = (point.get(key) for key in ("recall", "precision", "threshold"))
    if recall is None or precision is None or threshold is None:
        return Curve(name, pairs, color)
    words = f"{name}: score {threshold:.3f} and above, precision {percent(precision)}, recall {percent(recall)}"
    return Curve(name, pairs, color, (recall, precision), words)


def confusion_picture(section: Mapping[str, Any], unit: str) -> Markup:
    """The confusion matrix of a record, each row as shares of its true class; an empty last column is left out."""
    rows, columns, counts = _cut(section)
    return confusion_heat_map(_shares(counts), counts, rows, columns, "Confusion matrix", unit)


def mix_ups(section: Mapping[str, Any], unit: str) -> list[str]:
    """The largest confusions as sentences, by their share of the true class's row."""
    rows, columns, counts = _cut(section)
    classes = len(rows) if "overlap" not in section else len(rows) - 1  # the last row of boxes is no class
    found = [
        (share, counts[i][j], rows[i], "" if j == classes else columns[j])
        for i, row in enumerate(_shares(counts)[:classes])
        for j, share in enumerate(row)
        if share and i != j
    ]
    found.sort(key=lambda entry: (-entry[0], -entry[1]))
    nothing = "is missed" if "overlap" in section else "is given no class"
    return [
        f"{percent(share)} of {true} {f'is taken for {answer}' if answer else nothing} ({count:,.0f} {unit})"
        for share, count, true, answer in found[:_MIX_UPS]
    ]


def _cut(section: Mapping[str, Any]) -> tuple[list[str], list[str], list[list[float]]]:
    rows, columns, counts = list(section["rows"]), list(section["columns"]), [list(row) for row in section["counts"]]
    if len(columns) > len(rows) and not any(row[-1] for row in counts):
        columns, counts = columns[:-1], [row[:-1] for row in counts]
    return rows, columns, counts


def _shares(counts: Sequence[Sequence[float]]) -> list[list[float | None]]:
    totals = [sum(row) for row in counts]
    return [[count / total if total else None for count in row] for row, total in zip(counts, totals, strict=True)]

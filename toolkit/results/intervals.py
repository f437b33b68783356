"""The intervals of an evaluation: every number of a record made a function of its groups of images, and drawn again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.contracts import Evaluator
from toolkit.results.bootstrap import FEWEST_GROUPS, Numbers, Together, spread
from toolkit.results.box_numbers import VOC_MEAN, CocoNumbers, limits_of, voc_numbers
from toolkit.results.evaluator_numbers import EvaluatorNumbers
from toolkit.results.neighbours import neighbours
from toolkit.results.pixel_numbers import PixelNumbers
from toolkit.results.record import Record

Makers = Sequence[Callable[[], Evaluator]]


def numbers_of(record: Record, makers: Makers = (), groups: np.ndarray | None = None) -> Numbers | None:
    """All numbers of a record at any weights of its groups; None when its arrays give none.

    Args:
        record: what an evaluation counted, image by image.
        makers: give the evaluators anew whose numbers have no quick way; without them only the quick ones are made.
        groups: (N,) int64 numbers 0..G-1 of the groups; the record's own if not given.
    """
    groups = record.group_numbers if groups is None else groups
    excluded = tuple(record.about.get("excluded") or ())
    parts: list[Numbers] = []
    if "confusion_cells" in record.arrays:
        parts.append(PixelNumbers(record.class_pixels, groups, record.classes, excluded))
    limits = limits_of(tuple(record.numbers.get("metrics", {})))
    if "truth_boxes" in record.arrays and limits:
        parts.append(CocoNumbers(record.arrays, groups, record.classes, limits, excluded))
    metrics = record.numbers.get("metrics", {})
    if "truth_boxes" in record.arrays and VOC_MEAN in metrics:
        voc = voc_numbers(record.arrays, groups, record.classes, excluded, metrics[VOC_MEAN])
        parts += [voc] if voc is not None else []
    known = {name for part in parts for name in part.names}
    for make in makers:
        missing = [name for name in make().compute() if name not in known]
        if missing:
            parts.append(EvaluatorNumbers(make, record.arrays, groups, missing))
            known |= set(missing)
    if not len(record) or not parts:
        return None
    return Together(parts) if len(parts) > 1 else parts[0]


def interval_sections(record: Record, makers: Makers = (), *, resamples: int | None = None) -> dict[str, Any]:
    """The sections of a record's numbers that say how sure they are; {} when its arrays give no numbers.

    `intervals`: {name: {"value", "low", "high", "groups"}}, with "why" where there is no interval. Where there are fewer
    than eight independent groups, `within` says what the images themselves allow: {"blocks", "said", "intervals"}, from
    drawing blocks of neighbouring images. It is no statement on other clips or series.

    Args:
        record: what an evaluation counted, image by image.
        makers: give the evaluators anew whose numbers have no quick way.
        resamples: how many times the groups are drawn; None: 10,000 of label maps, 1,000 of boxes.
    """
    numbers = numbers_of(record, makers)
    if numbers is None:
        return {}
    found = spread(numbers, resamples=resamples).intervals()
    told: dict[str, Any] = {"intervals": {name: interval.as_json() for name, interval in found.items()}}
    if numbers.groups < FEWEST_GROUPS and (blocks := neighbours(record.images, record.groups)):
        inside = numbers_of(record, makers, blocks.numbers)
        assert inside is not None  # the same record gave numbers above
        found = spread(inside, resamples=resamples).intervals(fewest=2)
        by_metric = {name: interval.as_json() for name, interval in found.items()}
        told["within"] = {"blocks": inside.groups, "said": blocks.said, "intervals": by_metric}
    return told


def interval_said(record: Record) -> str:
    """How sure the deciding metric of a record is, in a sentence; "" where its arrays give no numbers.

    record: with its sections `metrics`, `intervals` and, where there are few groups, `within`.
    """
    metric, percent = str(record.about["metric"]), bool(record.about.get("percent", True))
    found = record.numbers.get("intervals", {}).get(metric)
    if found is None or found["value"] is None:
        return ""
    said = f"{metric} {_text(found['value'], percent)}"
    if found["low"] is not None:
        images = "images" if found["groups"] == len(record) else f"groups of the {len(record)} images"
        return f"{said}, 95 % interval {_ends(found, percent)}, by drawing the {found['groups']} {images} again"
    within = record.numbers.get("within") or {}
    inside = within.get("intervals", {}).get(metric, {})
    beside = f"; {_ends(inside, percent)} {within['said']}" if inside.get("low") is not None else ""
    return f"{said}, {found['why']}{beside}"


def _ends(found: Mapping[str, Any], percent: bool) -> str:
    return f"{_text(found['low'], percent)} to {_text(found['high'], percent)}"


def _text(value: float, percent: bool) -> str:
    return f"{100 * value:.2f}" if percent else f"{value:.4g}"

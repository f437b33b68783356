"""The page of a comparison says what the comparison says, and shows the images that changed."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
from tiny_record import CLASSES, box_record, box_samples, comparison_of, label_record, label_samples

from toolkit.labels import ClassTable
from toolkit.report.evaluation.choice import Chosen
from toolkit.report.evaluation.comparison import comparison_page
from toolkit.report.evaluation.label_cards import label_card


def words(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def test_every_difference_has_its_verdict() -> None:
    samples = label_samples(3)
    records = [label_record(samples, shift) for shift in (3, 1)]
    page = comparison_page(comparison_of(records, [0.1, -0.2, 0.0]), records, {one.name: one for one in samples}.get)
    text = words(page)
    assert "second against first" in text
    assert "+10.00 points +2.00 to +18.00 better 50.00 → 60.00" in text
    assert f"IoU/{CLASSES[3]} 50.00 60.00 -1.00 no interval: 1 group nothing can be said" in text
    assert "<b>cow" not in page
    assert "mind the <gap>" in text
    assert "2 of 3 images are shown" in text
    assert "-20.00 (50.00 → 30.00)" in text


def test_without_images_the_numbers_stay() -> None:
    records = [label_record(label_samples(3), shift) for shift in (3, 1)]
    text = words(comparison_page(comparison_of(records, [0.1, -0.2, 0.0]), records))
    assert "Not on this page: pictures" in text
    assert "+10.00" in text


def test_what_became_of_each_pixel() -> None:
    (sample,) = label_samples(1)
    truth = np.full(sample.original_size, 1, np.uint8)
    truth[:, 0] = 255
    before, after = truth.copy(), truth.copy()
    before[:, 10:30] = 2  # wrong, and right afterwards but for the last columns
    after[:, 25:40] = 3  # of which the first are still wrong, the last have become wrong
    card = label_card(Chosen(0, "better"), sample._replace(label_map=truth), {"before": before, "after": after},
                      ClassTable(tuple(CLASSES), ()), "", None)  # fmt: skip
    assert set(card.layers) == {"truth", "before", "after", "error"}
    assert card.errors == {(1, "mended"), (1, "broken"), (1, "left"), (3, "broken"), (3, "left")}


def test_classes_in_another_order_are_joined_by_name() -> None:
    samples = box_samples(2)
    record = box_record(samples)
    order = [0, 2, 1, 3]
    labels = {name: np.array(order)[record.arrays[name]] for name in ("detection_labels", "truth_labels")}
    other = replace(record, about={**record.about, "classes": [CLASSES[label] for label in order]},
                    arrays={**record.arrays, **labels})  # fmt: skip
    read = {one.name: one for one in samples}.get
    told = comparison_of([record, other], [0.1, -0.2])
    assert comparison_page(told, [record, other], read) == comparison_page(told, [record, record], read)

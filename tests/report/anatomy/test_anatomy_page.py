"""The page of an anatomy: every layer and number on it, and a diagram that says what flows where."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from page_reader import read_page
from tiny_anatomy import tiny_anatomy

from toolkit.analysis.effective_field import EffectiveField
from toolkit.report.anatomy.field_picture import Theory
from toolkit.report.anatomy.growth import growth
from toolkit.report.anatomy.page import ShownField, anatomy_page, bars_of
from toolkit.report.anatomy.stages import board

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&"


def test_every_layer_and_total_is_on_the_page() -> None:
    anatomy = tiny_anatomy()
    page = read_page(anatomy_page(anatomy))
    for row in anatomy.layers:
        assert row.name in page.words
    for words in ("460 in all", "78,336 in all", "296", "416 parameters, 69,120 MACs", "hand made", "a note",
                  "vgg → unpool → pixel; RGB images of 16×24 (height × width), 2 classes", "3–8", "41,472", "112",
                  "1.83 KiB", "96 KiB", "24 KiB"):  # fmt: skip
        assert any(words in piece for piece in page.words), words


def test_stages_are_a_part_and_a_resolution_each() -> None:
    found = board(tiny_anatomy())
    assert [(stage.key, stage.level, stage.output) for stage in found.stages] == [
        ("backbone@1", 0, (4, 16, 24)), ("backbone@2", 1, (8, 8, 12)), ("neck@1", 0, (12, 16, 24)),
        ("head", 0, (2, 16, 24)),
    ]  # fmt: skip
    assert [stage.parameters for stage in found.stages] == [120, 296, 0, 44]
    assert {(link.source, link.target, link.kind) for link in found.links} == {
        ("image", "backbone@1", "flow"), ("backbone@1", "backbone@2", "flow"), ("backbone@2", "neck@1", "flow"),
        ("backbone@1", "neck@1", "skip"), ("backbone@1", "neck@1", "indices"), ("neck@1", "head", "flow"),
    }  # fmt: skip


def test_indices_alone_are_no_skip_connection() -> None:
    anatomy = tiny_anatomy()
    rows = [row for row in anatomy.layers if row.kind != "concat"]
    rows[4] = dataclasses.replace(rows[4], sources=("backbone.conv2", "backbone.norm1"))
    rows[5] = dataclasses.replace(rows[5], sources=("neck.unpool",))
    found = board(dataclasses.replace(anatomy, layers=tuple(rows)))
    assert [link.kind for link in found.links if (link.source, link.target) == ("backbone@1", "neck@1")] == ["indices"]


def test_bars_add_up_to_the_totals() -> None:
    anatomy = tiny_anatomy()
    parameters, macs = (bars_of(anatomy.layers, field) for field in ("parameters", "macs"))
    assert sum(bar.value for bar in parameters) == anatomy.parameters
    assert sum(bar.value for bar in macs) == anatomy.macs
    assert [(bar.name, bar.value) for bar in parameters] == [
        ("backbone.conv1", 120), ("backbone.conv2", 296), ("head.classifier", 26), ("head.auxiliary", 18),
    ]  # fmt: skip
    assert [bar.name for bar in macs] == ["backbone.conv1", "backbone.conv2", "head.classifier"]


def test_growth_marks_every_field_and_the_image() -> None:
    drawn = growth(tiny_anatomy())
    assert drawn is not None
    assert "image 24 px" in drawn
    assert "sees 3×3 to 8×8 px, by position" in drawn
    for name in ("backbone.conv1", "backbone.pool", "neck.unpool", "neck.concat", "head.classifier"):
        assert name in drawn
    assert drawn.count("<polygon") == 1 + 1  # the band and the unpooling, which is a triangle
    blind = tuple(dataclasses.replace(row, receptive_field=None) for row in tiny_anatomy().layers)
    assert growth(dataclasses.replace(tiny_anatomy(), layers=blind)) is None


def test_nothing_from_outside_becomes_markup() -> None:
    anatomy = tiny_anatomy(HOSTILE, (HOSTILE, "b"))
    parts = tuple(dataclasses.replace(part, kind=HOSTILE) for part in anatomy.parts)
    rows = tuple(dataclasses.replace(row, settings={HOSTILE: HOSTILE}) for row in anatomy.layers)
    html = anatomy_page(dataclasses.replace(anatomy, parts=parts, layers=rows, notes=(HOSTILE,)))
    page = read_page(html)
    assert not page.named("img")
    assert "<script" not in html
    assert page.text.count(HOSTILE) >= 5


@pytest.mark.parametrize("image", [None, np.full((16, 24, 1), 200, np.uint8)])
def test_effective_field_with_its_theory(image: np.ndarray | None) -> None:
    gradient = np.zeros((16, 24), np.float32)
    gradient[6:11, 10:15] = 1
    field = EffectiveField("output", (8, 12), (16, 24), gradient, 7)
    page = read_page(anatomy_page(tiny_anatomy(), [ShownField(field, Theory(4, 8, 12, 16), "random weights")], image))
    assert len(page.named("img")) == 1
    assert "over 7 random inputs, with random weights" in page.text
    assert "output: 95 % of the mass in 5 px of 8 px in theory" in page.text

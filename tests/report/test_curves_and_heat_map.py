from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from toolkit.report.curves import Curve, curves
from toolkit.report.heat_map import confusion_heat_map


def places(drawing: str) -> list[list[tuple[float, float]]]:
    """The corners of every line of a drawing."""
    return [
        [tuple(map(float, pair.split(","))) for pair in points.split()]  # type: ignore[misc]
        for points in re.findall(r'<polyline points="([^"]*)"', drawing)
    ]


def test_a_curve_goes_where_its_points_are_and_stops_where_it_is_undefined() -> None:
    curve = Curve("a<b", [(0, 0.0), (5, 1.0), (10, None), (15, 0.5), (20, 0.5)], (255, 0, 0), (5, 1.0), "here")
    drawing = curves([curve], "some", ("x", "y"))
    ElementTree.fromstring(drawing)
    (first, second) = places(drawing)
    assert first[0][1] > first[1][1]  # up is up
    assert second[0][1] == pytest.approx((first[0][1] + first[1][1]) / 2, abs=0.1)
    assert second[1][0] - second[0][0] == pytest.approx(first[1][0] - first[0][0], abs=0.2)
    assert "here" in drawing
    assert "a<b" not in drawing


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    drawing = curves(
        [Curve("a", [(x, x) for x in range(5000)], (0, 0, 0)), Curve("b", [(0, 0)], (0, 0, 0))], "", ("", "")
    )
    (line,) = places(drawing)
    assert len(line) == 400
    assert line[-1][1] < 30


def test_a_heat_map_is_stronger_where_more_went() -> None:
    counts = [[90, 10, 0], [0, 0, 0]]
    shares = [[0.9, 0.1, 0.0], [None, None, None]]
    drawing = confusion_heat_map(
        shares, counts, ["sky", "<road>"], ["sky", "<road>", "no class"], "confusion", "pixels"
    )
    cells = ElementTree.fromstring(drawing).findall("{*}rect") or ElementTree.fromstring(drawing).findall("rect")
    assert [cell.get("class") for cell in cells] == ["right-cell", "wrong-cell"]
    right, wrong = (float(str(cell.get("fill-opacity"))) for cell in cells)
    assert right > 5 * wrong > 0
    assert "sky: 10 % taken for &lt;road&gt; (10 pixels)" in drawing


def test_many_classes_are_drawn_without_numbers() -> None:
    names = [f"class {number}" for number in range(150)]
    shares = [[1.0 if i == j else 0.0 for j in range(150)] for i in range(150)]
    drawing = confusion_heat_map(shares, shares, names, names, "confusion", "boxes")
    assert drawing.count("<rect") == 150
    assert "cell-number" not in drawing

"""The picture of an effective field: squares where they belong, on the image that was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.analysis.effective_field import EffectiveField
from toolkit.errors import UserError
from toolkit.report.anatomy.field_picture import THEORY_COLOR, Theory, field_picture, mass_square, write_field_sheet


def flat(size: tuple[int, int], top: int, left: int, bottom: int, right: int) -> EffectiveField:
    gradient = np.zeros(size, np.float32)
    gradient[top:bottom, left:right] = 1
    return EffectiveField("output", (0, 0), size, gradient, 1)


def bounds(picture: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((picture == THEORY_COLOR).all(2))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_the_mass_of_a_uniform_square_is_that_square() -> None:
    assert mass_square(flat((40, 40), 10, 20, 21, 31), 1.0) == pytest.approx((10, 20, 21, 31))


def test_the_theoretical_square_surrounds_its_pixels() -> None:
    picture = field_picture(flat((400, 500), 190, 240, 200, 250), Theory(100, 150, 300, 350))
    assert picture.shape == (400, 500, 3)
    assert bounds(picture) == (100, 150, 300, 350)


def test_a_square_beyond_the_image_has_room() -> None:
    picture = field_picture(flat((400, 400), 190, 190, 200, 200), Theory(-50, 100, 450, 300))
    assert picture.shape == (400 + 2 * 52, 400, 3)
    assert bounds(picture) == (2, 100, 502, 300)


def test_small_maps_are_enlarged_and_heat_lies_where_the_gradient_is() -> None:
    picture = field_picture(flat((20, 20), 4, 5, 6, 7), None, np.full((20, 20, 3), 100, np.uint8))
    assert picture.shape == (360, 360, 3)
    bright = picture.astype(int).sum(2) > 600
    assert bright[4 * 18 : 6 * 18, 5 * 18 : 7 * 18].mean() > 0.5
    assert tuple(picture[300, 300]) == (80, 80, 80)


def test_sheets_are_pictures_by_their_name(tmp_path: Path) -> None:
    fields = [flat((60, 80), 20, 20, 30, 30)] * 4
    for name, kind in (("new/sheet.png", "PNG"), ("sheet.JPG", "JPEG")):
        path = write_field_sheet(fields, [None] * 4, tmp_path / name, None)
        with Image.open(path) as image:
            assert image.format == kind
    with pytest.raises(UserError, match="PNG or a JPEG"):
        write_field_sheet(fields, [None] * 4, tmp_path / "sheet.gif", None)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["sheet.JPG", "sheet.png"]

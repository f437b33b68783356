from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from toolkit.report.gallery import Card, DrawnBox, box_layer, card_picture, color_layer, within_budget


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([\w+/=]+)", data)[1])))  # type: ignore[index]


def test_a_layer_has_the_colours_of_its_values_and_nothing_elsewhere() -> None:
    values = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    colors = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    pixels = np.asarray(opened(color_layer(values, colors, (0, 255))).convert("RGBA"))
    assert (pixels[..., 3] == np.where(np.isin(values, (0, 255)), 0, 255)).all()
    assert (pixels[..., :3][values == 2] == colors[2]).all()
    assert (pixels[..., :3][values == 1] == colors[1]).all()


def test_names_of_boxes_are_text_and_the_first_box_is_on_top() -> None:
    boxes = [DrawnBox((1, 2, 30, 40), (255, 0, 0), "<script>"), DrawnBox((5, 5, 9, 9), (0, 255, 0), "b", dashed=True)]
    layer = box_layer(boxes, (100, 200))
    assert "<script>" not in layer
    assert layer.index("rgb(0,255,0)") < layer.index("rgb(255,0,0)")
    assert 'viewBox="0 0 200 100"' in layer
    assert 'viewBox="7 3 20 10"' in box_layer(boxes, (10, 20), (7, 3))


def test_pictures_are_small_and_keep_their_shape() -> None:
    picture = opened(card_picture(np.zeros((1000, 2000, 1), np.uint8)))
    assert picture.size == (480, 240)
    assert opened(card_picture(np.zeros((30, 20, 3), np.uint8))).size == (20, 30)


def test_what_a_page_cannot_hold_is_counted() -> None:
    cards = [Card(str(number), "", None, "", "x" * 100, (1, 1), {}) for number in range(10)]
    kept, left_out = within_budget(cards, 350)
    assert [card.name for card in kept] == ["0", "1", "2"]
    assert left_out == 7

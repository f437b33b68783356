from __future__ import annotations

import cv2
import numpy as np
import pytest

from toolkit.data.classes.tables import class_table
from toolkit.drawing import (
    LegendEntry,
    as_rgb,
    blend_labels,
    class_legend,
    draw_boxes,
    draw_detections,
    draw_label_map,
    enlarge,
    enlargement,
    full_palette,
    legend,
    shown_colors,
    text_color,
    title,
)
from toolkit.labels import ClassTable

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_colours_are_mixed_edges_are_white_and_ignored_pixels_stay():
    image = np.full((6, 8, 3), 100, np.uint8)
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 4:] = 1
    labels[5] = 255
    found = blend_labels(image, labels, full_palette([RED, BLUE], 2), opacity=0.4)
    assert found[0, 0].tolist() == [162, 60, 60]
    assert found[0, 7].tolist() == [60, 60, 162]
    assert found[0, 3].tolist() == [255, 255, 255]
    assert found[4, 0].tolist() == [255, 255, 255]
    assert found[5, 0].tolist() == [100, 100, 100]
    assert (image == 100).all()


def test_one_class_has_no_edges():
    labels = np.zeros((5, 5), np.uint8)
    found = blend_labels(np.zeros((5, 5, 3), np.uint8), labels, full_palette([RED], 1), 1.0)
    assert (found == RED).all()


@pytest.mark.parametrize("preset", ["camvid11", "voc21", "cityscapes19", "coco80", "shapes", "bccd"])
def test_classes_are_drawn_in_bright_colours_that_are_told_apart(preset):
    table = class_table(preset)
    count = len(table.names)
    colors = shown_colors(table.palette, count)[:count]
    luma = cv2.cvtColor(colors[None], cv2.COLOR_RGB2GRAY)[0]
    lab = cv2.cvtColor(colors[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(count, dtype=bool)]
    assert luma.min() >= 70
    assert (colors.max(1).astype(int) - colors.min(1)).min() >= 40  # none is gray
    assert apart.min() > (20 if count < 25 else 10)


def test_a_palette_that_is_bright_is_kept():
    palette = class_table("bccd").palette
    assert shown_colors(palette, 3)[:3].tolist() == [list(color) for color in palette]


def test_a_background_is_neither_painted_nor_named():
    image = np.full((400, 400, 3), 90, np.uint8)
    labels = np.zeros((400, 400), np.uint8)
    labels[100:200, 100:200] = 2
    labels[300:] = 255
    drawn = draw_label_map(image, labels, ClassTable(("background", "cat", "dog"), ()))
    assert (drawn[:99, :99] == 90).all()
    assert (drawn[302:400] == 90).all()
    assert (drawn[110:190, 110:190] != 90).any(2).all()
    assert [entry.name for entry in class_legend([2, 0, 255, 1, 2], ClassTable(("void", "cat", "dog"), ()))] == [
        "cat", "dog",
    ]  # fmt: skip


def test_no_box_is_black_and_the_drawn_score_is_stated():
    table = ClassTable(("a", "b"), ((0, 0, 0), (0, 0, 10)))
    image = np.full((400, 400, 3), 128, np.uint8)
    boxes = np.array([[50, 50, 200, 200], [220, 220, 390, 390]], np.float32)
    found = [draw_detections(image, boxes, np.array([0.9, 0.8]), np.array([0, 1]), table, note)
             for note in ("", "2 of 9 boxes: score 0.5 and above")]  # fmt: skip
    colors = shown_colors(table.palette, 2)
    for color in colors[:2]:
        assert (found[0][:400] == color).all(2).sum() > 1000
    assert found[1].shape[0] > found[0].shape[0] > 400  # a legend, and a line below it


def test_boxes_are_drawn_where_they_are_and_wholly_inside():
    image = np.zeros((100, 200, 3), np.uint8)
    found = draw_boxes(image, np.array([[20, 30, 81, 71], [0, 0, 200, 100]], np.float32), [RED, BLUE])
    assert not image.any()
    red = np.argwhere((found == RED).all(2))
    # Lines two pixels wide, on the box's first and last pixel: 20..80 and 30..70.
    assert np.abs(red.min(0) - (30, 20)).max() <= 1
    assert np.abs(red.max(0) - (70, 80)).max() <= 1
    blue = (found == BLUE).all(2)
    assert blue[2:-2, :4].any(1).all()
    assert blue[2:-2, -4:].any(1).all()
    assert blue[:4, 2:-2].any(0).all()
    assert blue[-4:, 2:-2].any(0).all()


def test_the_first_box_is_on_top():
    same = np.array([[5, 5, 50, 50]] * 2, np.float32)
    assert ((draw_boxes(np.zeros((60, 60, 3), np.uint8), same, [RED, BLUE]) == BLUE).all(2)).sum() == 0


@pytest.mark.parametrize("box", [[0, 0, 9, 9], [190, 90, 200, 100], [150, 0, 200, 5]])
def test_tags_stay_in_the_picture(box):
    found = draw_boxes(np.full((100, 200, 3), 40, np.uint8), np.array([box], np.float32), [RED], ["pedestrian 0.93"])
    plain = draw_boxes(np.full((100, 200, 3), 40, np.uint8), np.array([box], np.float32), [RED])
    tag = (found == RED).all(2).sum() - (plain == RED).all(2).sum()
    assert tag > 500  # its whole width and height of about 85 x 15, less the letters


def test_no_boxes_leave_the_picture_alone():
    image = np.full((10, 10, 3), 7, np.uint8)
    assert np.array_equal(draw_boxes(image, np.zeros((0, 4), np.float32), [], []), image)


@pytest.mark.parametrize("width", [320, 480, 2048])
def test_a_legend_shows_every_colour_and_grows_in_lines(width):
    entries = [LegendEntry((10 * i, 255 - 10 * i, 99), f"class number {i}") for i in range(20)]
    strip = legend(entries, width)
    assert strip.shape[1] == width
    for entry in entries:
        swatch = np.argwhere((strip == entry.color).all(2))
        assert len(swatch) > 80
        assert (swatch.max(0) - swatch.min(0)).max() < 20  # one square
    assert legend(entries[:1], width).shape[0] < strip.shape[0]
    assert legend([], width).shape == (0, width, 3)


def test_text_is_readable_on_its_background():
    assert text_color((255, 255, 0)) == (0, 0, 0)
    assert text_color((0, 0, 128)) == (255, 255, 255)
    assert (title("Prediction", 200) < 100).any()


def test_gray_pictures_and_small_ones():
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    assert np.array_equal(as_rgb(gray)[..., 1], gray[..., 0])
    assert [enlargement(size) for size in [(64, 64), (320, 100), (1000, 2000)]] == [5, 1, 1]
    assert enlarge(gray[..., 0], 2).tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2


def test_a_palette_has_all_labels():
    colors = full_palette([RED], 1)
    assert colors.shape == (256, 3)
    assert colors[0].tolist() == list(RED)
    assert len(np.unique(full_palette((), 255), axis=0)) == 256

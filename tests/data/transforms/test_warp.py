"""`warp` against its slow twin: every step by itself, in float64, on coordinates."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as V
from versions import WARP_STEP

from toolkit.data.transforms.augment import largest_share
from toolkit.data.transforms.warp import Warp, recolored, warped
from toolkit.data.transforms.warp_plan import ColorChange, color_matrix
from toolkit.errors import ConfigError
from toolkit.samples import IGNORE_INDEX, Boxes, Sample

KINDS = {
    "usual": {"scale": (0.5, 2.0)},
    "shrinks": {"scale": (0.1, 0.6)},
    "fits": {"scale": (0.3, 1.5), "scale_of": "fit"},
    "fills": {"scale": (1.0, 2.0), "scale_of": "fill", "stretch": 1.5},
    "turns": {"scale": (0.2, 1.5), "rotation": 40.0, "stretch": 1.3},
}


def picture(height: int = 83, width: int = 118, channels: int = 3, seed: int = 0) -> Sample:
    """A smooth picture with edges, and maps of random numbers, so that each pixel of them is known again."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (8, 10, channels)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    image[20:40, 30:70] = random.integers(0, 256, channels)
    labels = random.integers(0, 250, (height, width)).astype(np.uint8)
    boxes = Boxes.of([[10, 12, 60, 44], [70, 5, 110, 80]], [3, 4])
    values = random.random((height, width), np.float32)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Sample(image, "a", 0, (height, width), labels, boxes, None, None, values, values + 1)


def places(plan, size):
    """(y, x) float64 in the picture of the centre of each pixel of the result, the steps taken back one by one."""
    y, x = np.mgrid[: plan.size[0], : plan.size[1]] + 0.5
    rows, columns = plan.rows, plan.columns
    angle = np.deg2rad(plan.degrees)
    y, x = y - rows.made / 2, x - columns.made / 2
    y, x = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y
    y, x = y + rows.made / 2, x + columns.made / 2
    if plan.mirrored:
        x = columns.made - x
    y = rows.start + y * rows.length / rows.made
    x = columns.start + x * columns.length / columns.made
    return y, x  # of the picture after it was halved


def twin_image(image, plan):
    """(H, W, C) float64 before colours, and where there is picture."""
    step = 2**plan.halvings
    height, width = image.shape[0] // step, image.shape[1] // step
    halved = image[: height * step, : width * step].reshape(height, step, width, step, -1).mean((1, 3))
    y, x = places(plan, image.shape)
    if plan.degrees:
        inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
        top, left, bottom, right = 0, 0, height, width
    else:
        inside = np.zeros(plan.size, bool)
        inside[: plan.rows.made, : plan.columns.made] = True
        top, left = plan.rows.start, plan.columns.start
        bottom, right = top + plan.rows.length, left + plan.columns.length
    y, x = np.clip(y - 0.5, top, bottom - 1), np.clip(x - 0.5, left, right - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, bottom - 1), np.minimum(x0 + 1, right - 1)
    fy, fx = (y - y0)[..., None], (x - x0)[..., None]
    upper = halved[y0, x0] * (1 - fx) + halved[y0, x1] * fx
    lower = halved[y1, x0] * (1 - fx) + halved[y1, x1] * fx
    return upper * (1 - fy) + lower * fy, inside


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_image_is_its_slow_twins_to_a_level(kind, channels):
    sample, transform = picture(channels=channels), Warp(64, 72, **KINDS[kind])
    for seed in range(25):
        plan = transform.plan((83, 118), seed)
        made = transform(sample, seed).image.astype(float)
        wanted, inside = twin_image(sample.image, plan)
        sure = inside & ~at_edge(plan) if plan.degrees else inside
        bound = 1 if plan.halvings == 0 else 1.5  # the halved picture is rounded once more
        if plan.degrees:
            bound += WARP_STEP / 2 * steepest(sample.image)
        assert np.abs(made - wanted)[sure].max() <= bound
        assert (made[~inside & ~at_edge(plan)] == 0).all()
        assert made.shape == (64, 72, channels)


def steepest(image):
    """The sum of the largest steps between neighbours of a row and of a column, in levels."""
    return sum(np.abs(np.diff(image.astype(float), axis=axis)).max() for axis in (0, 1))


def at_edge(plan, margin=1 / 128):
    """Pixels whose centre falls so near between two pixels of the picture that rounding decides."""
    step = 2**plan.halvings
    return np.any([np.abs(at * step - np.rint(at * step)) < margin for at in places(plan, None)], axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_their_slow_twins(kind):
    sample, transform = picture(), Warp(64, 72, **KINDS[kind])
    for seed in range(25):
        plan = transform.plan((83, 118), seed)
        step = 2**plan.halvings
        y, x = (np.floor(at * step + 1e-9).astype(int) for at in places(plan, None))
        _, inside = twin_image(sample.image, plan)
        y, x = np.clip(y, 0, 82), np.clip(x, 0, 117)
        made, sure = transform(sample, seed), ~at_edge(plan)
        for field, fill in (("label_map", IGNORE_INDEX), ("value_map", np.nan), ("weight_map", 0)):
            wanted = np.where(inside, getattr(sample, field)[y, x], fill)
            np.testing.assert_array_equal(getattr(made, field)[sure], wanted[sure])


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_their_corners_moved_one_by_one(kind):
    transform = Warp(64, 72, **KINDS[kind])
    sample = picture()._replace(boxes=Boxes.of([[30, 20, 31, 21]], [1]))
    found = 0
    for seed in range(40):
        plan = transform.plan((83, 118), seed)
        y, x = (at * 2**plan.halvings for at in places(plan, None))
        moved = transform(sample._replace(boxes=Boxes.of([[20, 15, 50, 45]], [1])), seed).boxes
        matrix = plan.to_result()
        back = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
        centres = np.stack(np.mgrid[: plan.size[0], : plan.size[1]][::-1], -1) + 0.5
        np.testing.assert_allclose(back, centres, atol=1e-9)  # the matrix is the steps
        corners = np.array([[20, 15], [50, 15], [20, 45], [50, 45]]) @ matrix[:, :2].T + matrix[:, 2]
        box = np.concatenate([corners.min(0), corners.max(0)])
        if (box >= 0).all() and (box <= [72, 64, 72, 64]).all() and moved.count:
            np.testing.assert_allclose(moved.xyxy[0], box, atol=1e-4)
            np.testing.assert_allclose(moved.area[0], 900 * abs(np.linalg.det(matrix[:, :2])), rtol=1e-5)
            found += 1
    assert found > 3


def test_a_quarter_turn_goes_against_the_clock():
    sample = picture(60, 60)
    plan = Warp(60, 60, (1, 1), flip=0, rotation=90).plan((60, 60), 0)._replace(degrees=90.0)
    np.testing.assert_array_equal(warped(sample, plan).label_map, np.rot90(sample.label_map))


@pytest.mark.parametrize("seed", range(8))
def test_colours_are_those_of_the_steps_in_any_order(seed):
    random = np.random.default_rng(seed)
    change = ColorChange(*random.uniform(0.6, 1.4, 3), random.uniform(-0.5, 0.5))
    image = random.integers(0, 256, (40, 50, 3), np.uint8)
    mean = image.reshape(-1, 3).mean(0)
    steps = [ColorChange(**{name: value}) for name, value in change._asdict().items()]
    values = image.reshape(-1, 3).astype(float)
    for place in random.permutation(4):
        matrix = color_matrix(steps[place], values.mean(0))
        values = values @ matrix[:, :3].T + matrix[:, 3]
    wanted = np.clip(values, 0, 255).reshape(image.shape)
    assert np.abs(recolored(image, change, mean) - wanted).max() <= 1


def test_colours_are_torchvisions_where_nothing_is_cut():
    random = np.random.default_rng(0)
    image = random.integers(90, 160, (40, 50, 3), np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    mean = image.reshape(-1, 3).mean(0)
    for name, function in (
        ("brightness", V.adjust_brightness), ("contrast", V.adjust_contrast), ("saturation", V.adjust_saturation),
    ):  # fmt: skip
        wanted = function(tensor, 1.2).permute(1, 2, 0).numpy() * 255
        made = recolored(image, ColorChange(**{name: 1.2}), mean)
        assert np.abs(made - wanted).max() <= 1.05, name


def test_hue_turns_and_keeps_luma():
    matrix = color_matrix(ColorChange(hue=1 / 3), (0, 0, 0))[:, :3]
    np.testing.assert_allclose(matrix @ matrix @ matrix, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(matrix @ np.ones(3), np.ones(3), atol=1e-4)
    np.testing.assert_allclose(np.array([0.299, 0.587, 0.114]) @ matrix, [0.299, 0.587, 0.114], atol=1e-6)


def test_geometry_does_not_depend_on_colours():
    colours = Warp(64, 72, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, rotation=5)
    for seed in range(5):
        plain, coloured = Warp(64, 72, rotation=5).plan((83, 118), seed), colours.plan((83, 118), seed)
        assert plain == coloured._replace(color=ColorChange())
        np.testing.assert_array_equal(
            colours(picture(), seed).label_map, Warp(64, 72, rotation=5)(picture(), seed).label_map
        )


def test_padding_is_black_whatever_the_colours():
    transform = Warp(100, 140, (0.5, 0.5), flip=0, contrast=0.5, brightness=0.5)
    for seed in range(5):
        made = transform(picture(), seed)
        assert (made.image[42:] == 0).all()
        assert (made.label_map[42:] == IGNORE_INDEX).all()
        assert (made.image[:40, :58] != 0).any()


def test_scales_keep_to_what_they_are_of():
    size = (83, 118)
    for seed in range(20):
        fit = Warp(50, 50, (1, 1), scale_of="fit").plan(size, seed)
        assert (fit.rows.made, fit.columns.made) == (35, 50)
        fill = Warp(50, 50, (1, 1), scale_of="fill").plan(size, seed)
        assert (fill.rows.made, fill.columns.made) == (50, 50)
        assert fill.rows.length == 83
    pictures = {Warp(40, 40, (1, 1)).plan(size, seed).columns.start for seed in range(400)}
    assert pictures == set(range(79))  # every place, the first and the last too


@pytest.mark.parametrize("scale", [(0.3, 0.45), (0.9, 1.2)])
def test_parts_of_several_classes_are_shown_at_the_same_scale(scale):
    sample = picture(200, 240)
    columns = np.arange(240)
    labels = np.where((columns < 120) | (columns // 8 % 2 == 0), 3, 7).astype(np.uint8)[None].repeat(200, 0)
    labels[:30] = IGNORE_INDEX
    sample = sample._replace(label_map=labels)
    any_part, several = Warp(24, 32, scale), Warp(24, 32, scale, max_share=0.7)
    shares = {True: [], False: []}
    for seed in range(40):
        assert any_part.plan((200, 240), seed) == several.plan((200, 240), seed)
        for is_several, one in ((False, any_part), (True, several)):
            shares[is_several].append(largest_share(one(sample, seed).label_map))
        if shares[False][-1] <= 0.6:  # the labels that are looked at are those before they are scaled
            assert np.array_equal(several(sample, seed).image, any_part(sample, seed).image)
    assert sum(share > 0.75 for share in shares[False]) >= 8
    assert sum(share > 0.75 for share in shares[True]) <= 1


def test_all_refusals_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        Warp(10, 10, (2.0, 1.0), stretch=0.5, rotation=200, hue=0.6)
    assert [problem.place.key for problem in caught.value.problems] == ["scale", "stretch", "rotation", "hue"]

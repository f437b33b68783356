"""What `describe` writes: pages and pictures where they are wanted, and effective fields inside the theoretical ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from page_reader import read_page
from PIL import Image
from shipped_configs import shipped
from tiny_run import tiny_config

from toolkit.analysis.anatomy import Anatomy
from toolkit.config.sections import Config
from toolkit.errors import UserError
from toolkit.jobs.build import build_model
from toolkit.jobs.describe import data_folders, describe_config, field_lines, field_numbers, write_description
from toolkit.jobs.effective_fields import shown_fields
from toolkit.models.weights import save_weights


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Config, Anatomy]:
    config = tiny_config(tmp_path / "data")
    return config, describe_config(config, (32, 40))


@pytest.mark.parametrize(("name", "size"), [
    ("tiny/unet_shapes", (64, 80)), ("classify/lenet5", (28, 28)), ("tiny/dilated_shapes", (134, 142)),
    ("tiny/segnet_camvid", (90, 120)), ("tiny/faster_rcnn_shapes", (96, 128)),
    pytest.param("tiny/unet_em", (220, 236), marks=pytest.mark.slow),
])  # fmt: skip
def test_nothing_outside_the_theoretical_field_matters(name: str, size: tuple[int, int]) -> None:
    config, anatomy = shipped(name, size)
    shown = shown_fields(config, anatomy, samples=2)
    for each in shown:
        assert each.theory is not None
        inside = np.zeros(each.field.size, bool)
        top, left = math.floor(each.theory.top), math.floor(each.theory.left)
        bottom, right = math.ceil(each.theory.bottom), math.ceil(each.theory.right)
        inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        assert not each.field.gradient[~inside].any(), each.field.name
        assert each.field.side(0.95) <= each.theory.bottom - each.theory.top
        row, column = each.field.cell
        assert (row, column) == (each.field.cells[0] // 2, each.field.cells[1] // 2)
    maps = {"tiny/faster_rcnn_shapes": len(anatomy.parts[1].maps)}
    assert len(shown) == maps.get(name, 1)


@pytest.mark.parametrize(("name", "size", "square"), [
    ("classify/lenet5", (28, 28), (6, 6, 22, 22)),
    # The 2015 U-Net: rows 18 = 2 mod 16 see 188 pixels, columns 26 = 10 mod 16 see 204.
    ("tiny/unet_em", (220, 236), (16, 16, 204, 220)),
])  # fmt: skip
def test_cells_of_unpadded_nets_see_exactly_their_square(
    name: str, size: tuple[int, int], square: tuple[int, int, int, int]
) -> None:
    config, anatomy = shipped(name, size)
    (shown,) = shown_fields(config, anatomy, samples=8)
    assert shown.theory == square
    assert shown.field.extent() == square


def test_page_and_picture_together(tiny: tuple[Config, Anatomy], tmp_path: Path) -> None:
    image = tmp_path / "street.png"
    Image.fromarray(np.full((64, 80, 3), 200, np.uint8)).save(image)
    fields = write_description(*tiny, tmp_path / "new" / "page.html", tmp_path / "new" / "field.png", image)
    page = read_page((tmp_path / "new" / "page.html").read_text(encoding="utf-8"))
    assert len(page.named("img")) == 1
    assert "Effective receptive field" in page.text
    with Image.open(tmp_path / "new" / "field.png") as picture:
        assert picture.size > (100, 100)
    (line,), (numbers,) = field_lines(fields), field_numbers(fields)
    assert f"{numbers['side_95']:.0f} px" in line
    assert numbers["weights"] == "random weights"
    assert not list(tmp_path.glob("data*"))


def test_weights_are_taken_from_a_file(tiny: tuple[Config, Anatomy], tmp_path: Path) -> None:
    config, anatomy = tiny
    model = build_model(config, pretrained=False)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    save_weights(tmp_path / "best.safetensors", model.state_dict(), {"classes": list(anatomy.classes)})
    (random,) = shown_fields(config, anatomy, samples=2)
    (trained,) = shown_fields(config, anatomy, tmp_path / "best.safetensors", samples=2)
    assert trained.about.startswith("best.safetensors: ")
    assert not np.array_equal(random.field.gradient, trained.field.gradient)
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        shown_fields(config, anatomy, tmp_path / "absent.safetensors")


def test_places_and_kinds_that_are_refused_before_any_work(tiny: tuple[Config, Anatomy], tmp_path: Path) -> None:
    config, anatomy = tiny
    (tmp_path / "data").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert tmp_path / "data" in data_folders(config, {})
    for page, erf, words in (
        (tmp_path / "data" / "page.html", None, "lies in the data folder"),
        (None, tmp_path / "data" / "deep" / "field.png", "lies in the data folder"),
        (tmp_path, None, "is a folder"),
        (None, tmp_path / "field.bmp", "PNG or a JPEG"),
    ):
        with pytest.raises(UserError, match=words):
            write_description(config, anatomy, page, erf)
    with pytest.raises(UserError):
        write_description(config, anatomy, tmp_path / "page.html", image=tmp_path / "absent.png")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_small_model_s_page_shows_its_field_unasked(tiny: tuple[Config, Anatomy], tmp_path: Path) -> None:
    assert len(write_description(*tiny, tmp_path / "page.html")) == 1

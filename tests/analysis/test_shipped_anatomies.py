"""Every shipped config described: the published nets to the last number, parts that add up, a whole page and diagram.

All of it in one file, which one process runs: a config is described once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from page_reader import read_page
from shipped_configs import ALIKE, NAMES, shipped

from toolkit.report.anatomy.page import anatomy_page, bars_of
from toolkit.report.anatomy.stages import board

# Image, learnable parameters, multiply-adds, output, receptive field (smallest and largest) along each axis.
PUBLISHED = {
    "segnet_camvid": ((360, 480), 29_449_355, 106_712_432_640, (11, 360, 480), None),
    "segnet_basic_camvid": ((360, 480), 1_416_587, 59_188_838_400, (11, 360, 480), None),
    "bayesian_segnet_camvid": ((360, 480), 29_449_355, 106_712_432_640, (11, 360, 480), None),
    "unet_em": ((572, 572), 31_030_658, 150_428_424_448, (2, 388, 388), (188, 204)),
    "dilated_frontend_voc": ((900, 900), 134_346_581, None, (21, 66, 66), (380, 380)),
    "dilated_context_voc": ((900, 900), 141_149_720, 826_395_410_952, (21, 66, 66), (908, 908)),
    "dilated_context_camvid": ((900, 1100), 134_313_443, 1_053_445_617_792, (11, 66, 91), (908, 908)),
    "dilated_context_kitti": ((852, 1640), 134_312_343, 1_622_029_798_332, (11, 60, 159), (652, 652)),
    "dilated_context_cityscapes": ((1396, 1396), 134_368_179, 2_647_410_518_784, (19, 1024, 1024), None),
    "faster_rcnn_vgg16_voc": ((600, 1000), 137_078_239, 225_573_931_008, (21, 1, 1), None),
    # 177,581,734,144 with 91 outputs: ten fewer classes, five numbers each, of 1024 in 1000 proposals
    "faster_rcnn_r50_fpn_coco": ((800, 1088), 41_704_036, 177_581_734_144 - 10 * 5 * 1024 * 1000, (81, 1, 1), None),
    "classify/lenet5": ((28, 28), 61_706, 416_520, (10, 1, 1), (28, 28)),
    "classify/alexnet": ((224, 224), 61_100_840, 714_188_480, (1000, 1, 1), (224, 224)),
    "classify/vgg16": ((224, 224), 138_357_544, 15_470_264_320, (1000, 1, 1), (224, 224)),
    "classify/vgg16_bn": ((224, 224), 138_365_992, 15_470_264_320, (1000, 1, 1), (224, 224)),
    "classify/googlenet": ((224, 224), 13_004_888, 1_498_376_192, (1000, 1, 1), (224, 224)),
    "classify/resnet18": ((224, 224), 11_689_512, 1_814_073_344, (1000, 1, 1), (224, 224)),
    "classify/resnet50": ((224, 224), 25_557_032, 4_089_184_256, (1000, 1, 1), (224, 224)),
    "classify/densenet121": ((224, 224), 7_978_856, 2_834_161_664, (1000, 1, 1), (224, 224)),
}


SLOW = {
    "bayesian_segnet_camvid",
    "tiny/own_pictures",
    *(f"classify/{name}" for name in ("resnet18", "vgg16_bn", "googlenet", "densenet121")),
}
"""As large as others of their kind."""


def quick_first(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW | ALIKE else name for name in names]


@pytest.mark.parametrize("name", quick_first(PUBLISHED))
def test_published_numbers(name):
    size, parameters, macs, output, field = PUBLISHED[name]
    _, anatomy = shipped(name, size)
    assert anatomy.parameters == parameters
    assert macs is None or anatomy.macs == macs
    assert anatomy.output == output
    assert anatomy.input[1:] == size
    if field is not None:
        assert anatomy.receptive_field_min == (field[0],) * 2
        assert anatomy.receptive_field == (field[1],) * 2
        assert anatomy.position_dependent == (field[0] != field[1])


every_config = pytest.mark.parametrize("name", quick_first(NAMES))


def described(name: str) -> Any:
    """Config and anatomy, at the size of the published numbers where there are some."""
    return shipped(name, PUBLISHED.get(name, (None,))[0])


@every_config
def test_every_config_is_described_and_adds_up(name):
    config, anatomy = described(name)
    assert (
        anatomy.parameters == sum(row.parameters for row in anatomy.layers) == sum(p.parameters for p in anatomy.parts)
    )
    assert anatomy.trainable == sum(row.trainable for row in anatomy.layers)
    assert anatomy.macs == sum(row.macs for row in anatomy.layers) == sum(part.macs for part in anatomy.parts)
    names = [row.name for row in anatomy.layers]
    assert len(set(names)) == len(names)
    places = {layer: place for place, layer in enumerate(names)}
    assert all(places[source] < places[row.name] for row in anatomy.layers for source in row.sources)
    assert not [note for note in anatomy.notes if "guessed" in note]
    for row in anatomy.layers:
        if row.runs and row.receptive_field is not None:
            assert all(
                small <= large for small, large in zip(row.receptive_field_min, row.receptive_field, strict=True)
            )
    assert {kept.images for kept in anatomy.memory.training} <= {1, config.data.batch_size}
    for part in anatomy.parts:
        for row in part.maps:
            assert row.layer in names
            assert all(cells == -(-(n - 2 * row.border) // row.stride) or cells == (n - 2 * row.border) // row.stride
                       for cells, n in zip(row.size, anatomy.input[1:], strict=True))  # fmt: skip


@every_config
def test_the_page_of_every_shipped_config(name: str) -> None:
    _, anatomy = described(name)
    html = anatomy_page(anatomy)
    page = read_page(html)
    words = set(page.words)
    assert not [row.name for row in anatomy.layers if row.name not in words]
    assert not [row.name for row in anatomy.layers if row.macs and f"{row.macs:,}" not in words]
    assert not [row.name for row in anatomy.layers if row.parameters and f"{row.parameters:,}" not in words]
    assert f"Parameters, {anatomy.parameters:,} in all" in words
    assert f"MACs, {anatomy.macs:,} in all" in words
    assert sum(bar.value for bar in bars_of(anatomy.layers, "parameters")) == anatomy.parameters
    assert sum(bar.value for bar in bars_of(anatomy.layers, "macs")) == anatomy.macs
    assert len(html) < 600_000


@every_config
def test_the_diagram_of_every_shipped_config(name: str) -> None:
    """No box hangs in the air: whatever is not the image's is reached, and all but the head goes on."""
    _, anatomy = described(name)
    found = board(anatomy)
    assert sum(stage.parameters for stage in found.stages if stage.part != "head") + sum(
        part.parameters for part in anatomy.parts if part.name == "head"
    ) == anatomy.parameters  # fmt: skip
    assert {link.target for link in found.links} == {stage.key for stage in found.stages}
    assert len(found.of("head")) == 1
    assert len(found.stages) <= 16

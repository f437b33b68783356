"""Image sizes against the model, by hand-worked cases and through whole configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_run import TINY, tiny_config

from toolkit.config.load import load_config, parse_config
from toolkit.contracts import SizeRule
from toolkit.jobs.build_data import classes_of
from toolkit.jobs.check import check_config
from toolkit.jobs.check_parts import meta_model
from toolkit.preflight.data.files import spread
from toolkit.preflight.findings import Fact, Report
from toolkit.preflight.model.geometry_trace import GeometryTrace
from toolkit.preflight.model.sizes import ModelSizes, check_sizes, dense_field

REPOSITORY = Path(__file__).resolve().parents[2]
ANY = ModelSizes(SizeRule(), 16, True, True)


def way(before: tuple[int, int], after: tuple[int, int] | None = None, step: str = "resize") -> GeometryTrace:
    after = after or before
    return GeometryTrace("a.jpg", before, after, ((step, before, after),))


def checked(*batches: list[GeometryTrace], model: ModelSizes = ANY) -> Report:
    report = Report()
    check_sizes(report, batches, model, 2)
    return report


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_ordinary_sizes_are_only_stated() -> None:
    report = checked([way((360, 480))] * 4)
    assert report.findings == []
    assert report.facts == [Fact("sizes", "training images of 360x480, height x width, after the transforms")]


def test_an_image_smaller_than_the_coarsest_stride() -> None:
    report = checked([way((12, 40)), way((64, 64)), way((64, 64))])
    assert kinds(report)[0] == "small_image"
    assert "1 of 3 training images looked at are as small as 12x40" in report.warnings[0].message
    assert "stride 16" in report.warnings[0].message


def test_an_image_below_the_minimum_is_an_error_where_sizes_are_refused() -> None:
    rule = ModelSizes(SizeRule(188, 16, 12), 16, False, True)
    report = checked([way((100, 100))] * 2, model=rule)
    assert next((f.kind, f.severity) for f in report.findings) == ("small_image", "error")
    assert "188" in report.errors[0].message


def test_padding_to_a_legal_size_is_stated_and_warned_of_when_it_costs() -> None:
    # 188 needs 188; 200 goes to 204: 1 - (200 / 204) ** 2 = 3.9 %. 130 goes to 188.
    rule = ModelSizes(SizeRule(188, 16, 12), 16, True, True)
    small = checked([way((200, 200))] * 2, model=rule)
    assert small.findings == []
    assert "padded to 204x204 in every step, 4% of the work; legal are 188x188 or 204x204" in small.facts[-1].text
    large = checked([way((130, 130))] * 2, model=rule)
    assert "padded" in kinds(large)
    assert "52% of the work" in next(f.problem.message for f in large.findings if f.kind == "padded")


@pytest.mark.parametrize(("field", "wanted"), [(44, ["small_field"]), (200, []), (3000, ["large_field"]), (None, [])])
def test_the_receptive_field(field: int | None, wanted: list[str]) -> None:
    report = checked([way((512, 512))], model=ANY._replace(field=field and (field, field)))
    assert kinds(report) == wanted
    if field == 44:
        assert "an answer depends on 44 pixels each way, the images are 512x512" in report.warnings[0].message


def test_a_field_of_one_row_suits_pictures_of_few_rows() -> None:
    """Sequences, one a row: what a step sees of its own row is no padding."""
    report = checked([way((8, 128))], model=ModelSizes(SizeRule(), 1, True, True, (1, 65)))
    assert report.findings == []
    assert [fact.text for fact in report.facts if fact.topic == "field"] == [
        "an answer depends on 1x65 pixels each way; the images are 8x128"
    ]


def test_the_receptive_field_is_of_no_concern_to_a_head_that_pools() -> None:
    assert checked([way((512, 512))], model=ANY._replace(field=(44, 44), dense=False)).findings == []


def test_a_crop_larger_than_its_images() -> None:
    report = checked([way((100, 100), (200, 200), "random_crop")] * 2)
    assert kinds(report) == ["large_crop"]
    assert "'random_crop' cuts 200x200 out of smaller images in 100% of the cases (a.jpg: 100x100); 75% of such" in (
        report.warnings[0].message
    )
    assert checked([way((190, 200), (200, 200), "random_crop")] * 2).findings == []  # 5 % are filled


def test_a_resize_that_stretches() -> None:
    report = checked([way((1080, 1920), (256, 256))] * 3)
    assert kinds(report) == ["stretched"]
    assert "1080x1920 to 256x256, by 1.8" in report.warnings[0].message
    assert checked([way((480, 640), (224, 224))] * 3).findings == []


def test_mixed_sizes_in_a_batch() -> None:
    report = checked([way((200, 100)), way((100, 200))])
    assert kinds(report) == ["mixed_sizes"]
    assert "50% of it is padding" in report.warnings[0].message
    assert checked([way((200, 100)), way((200, 100))], [way((100, 200)), way((100, 200))]).findings == []


def test_spread() -> None:
    assert spread(0, 5) == []
    assert spread(3, 5) == [0, 1, 2]
    assert spread(100, 3) == [0, 50, 99]


# ------------------------------------------------------------------ whole configs


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> None:
    for split in ("train", "val"):
        for number, (height, width) in enumerate(sizes):
            for kind, mode in (("images", "RGB"), ("masks", "L")):
                path = folder / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng([split == "val", number]).integers(0, 2, (height, width, 3), np.uint8)
                Image.fromarray(noise * 90 if mode == "RGB" else noise[:, :, 0]).save(path)


def own(folder: Path, *overrides: str) -> Any:
    text = TINY.replace("classes: shapes", "classes: [a, b]")
    for split in ("train", "val"):
        recipe = f"{{name: shapes, split: {split}, count_train: 6, count_val: 3, image_size: [32, 40]}}"
        text = text.replace(recipe, f"{{name: image_masks, images: images/{split}, masks: masks/{split}}}")
    return parse_config(text, "own.yaml", [f"data.root={folder}", *overrides])


def found(config: Any) -> dict[str, str]:
    return {finding.kind: str(finding.problem) for finding in check_config(config).findings}


def test_a_crop_larger_than_one_image_among_many(tmp_path: Path) -> None:
    pictures(tmp_path, [(64, 80)] * 6 + [(20, 24)])
    problems = found(own(tmp_path, "data.train.transforms=[{name: RandomCrop, height: 32, width: 32}]"))
    assert "20x24" in problems["transforms"]
    assert "RandomCrop" in problems["transforms"]


def test_tiny_images_for_a_deep_net(tmp_path: Path) -> None:
    pictures(tmp_path, [(16, 20)] * 4)
    problems = found(own(tmp_path, "model.backbone={name: resnet, depth: 18}", "model.neck={name: skip}"))
    assert "stride 32" in problems["small_image"]


def test_stretching_and_padding_through_a_config(tmp_path: Path) -> None:
    pictures(tmp_path, [(40, 100)] * 4)
    resize = "data.train.transforms=[{name: resize, height: 48, width: 48}]"
    assert "40x100 to 48x48" in found(own(tmp_path, resize))["stretched"]


def test_validation_images_of_another_size_are_no_fault(tmp_path: Path) -> None:
    report = check_config(
        tiny_config(tmp_path / "d", "data.train.transforms=[{name: random_crop, height: 24, width: 24}]")
    )
    assert report.findings == []
    assert any(
        "validation images of 32x40: another size than training's, which is fine" in fact.text for fact in report.facts
    )


@pytest.mark.parametrize(("name", "wanted"), [("unet_em", 204), ("dilated_frontend_camvid", 380)])
def test_the_receptive_fields_of_published_nets(name: str, wanted: int) -> None:
    """The largest of the 2015 U-Net, whose field depends on the position, and that of Yu and Koltun's front end."""
    config = load_config(REPOSITORY / "configs" / f"{name}.yaml")
    model = meta_model(config, classes_of(config))
    assert model is not None
    assert dense_field(model, (400, 500)) == (wanted, wanted)
    assert model.training


def test_a_net_that_sees_little_of_its_images(tmp_path: Path) -> None:
    pictures(tmp_path, [(256, 320)] * 4)
    shallow = ["model.backbone.depth=2", "data.train.transforms=[]"]
    report = check_config(own(tmp_path, *shallow))
    assert [finding.kind for finding in report.findings] == ["small_field"]
    field = report.statistics["receptive_field"]
    assert f"an answer depends on {field} pixels each way, the images are 256x320" in report.warnings[0].message
    assert field == 5 + 2 * 2 * 2 + 1 + 2 * 2  # two 3x3, a pooling, two 3x3 at half the size, upsampling, two 3x3

"""Parts that do not fit, or promise what they do not give, are named before any weight exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from toolkit.config.sections import Config
from toolkit.data.classes.tables import class_table
from toolkit.errors import ConfigError, ImageSizeError, PartsError, Problem
from toolkit.jobs.build import build_model
from toolkit.jobs.check_parts import meta_model, part_names
from toolkit.preflight.model.meta_pass import MetaPass, _Work, run_meta_pass


def tried(config: Config, size: tuple[int, int] = (64, 64), batch: int = 2, classes: str = "shapes") -> MetaPass:
    model = meta_model(config, class_table(classes))
    assert model is not None
    return run_meta_pass(model, part_names(config), size, batch)


def problem_of(kind: type[Any], config: Config, **options: Any) -> Problem:
    with pytest.raises(kind) as caught:
        tried(config, **options)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def lying(tmp_path: Path, *overrides: str) -> Config:
    return tiny_config(tmp_path / "d", "model.neck=null", *overrides)


def test_multiply_accumulates_are_those_of_one_image(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path / "d", "model.backbone={name: lying_parts:WrongChannels, promised: 6}", "model.neck=null"
    )
    # 3x3 convolution from 3 to 6 channels at half the size, and the head's 1x1 to 7 classes.
    assert tried(config, batch=4) == MetaPass((64, 64), 32 * 32 * (27 * 6 + 6 * 7))


def test_nothing_is_wrong_with_the_tiny_models(tmp_path: Path) -> None:
    assert tried(tiny_config(tmp_path / "d")).size == (64, 64)
    assert tried(tiny_detection_config(tmp_path / "b"), classes="shapes_boxes").macs > 0


def test_a_part_with_other_channels_than_it_promises_is_named(tmp_path: Path) -> None:
    found = problem_of(PartsError, lying(tmp_path, "model.backbone={name: lying_parts:WrongChannels}"))
    assert found.where == "model.backbone 'lying_parts:WrongChannels'"
    assert "promises 8@2, but for images of 64x64 map 0 is 6 channels of 32x32" in found.message


def test_a_part_with_another_stride_than_it_promises_is_named(tmp_path: Path) -> None:
    backbone = "model.backbone={name: lying_parts:WrongChannels, given: 8, stride: 4}"
    found = problem_of(PartsError, lying(tmp_path, backbone))
    assert "map 0 is 8 channels of 16x16, which is stride 4, not 2" in found.message


def test_a_part_that_gives_no_pyramid_is_named(tmp_path: Path) -> None:
    found = problem_of(PartsError, lying(tmp_path, "model.backbone={name: lying_parts:NoPyramid}"))
    assert "gives a Tensor, but a FeaturePyramid was wanted" in found.message


def test_a_part_that_stumbles_is_named_with_what_it_was_given(tmp_path: Path) -> None:
    found = problem_of(PartsError, tiny_config(tmp_path / "d", "model.neck={name: lying_parts:Stumbles}"))
    assert found.where == "model.neck 'lying_parts:Stumbles'"
    assert found.message.startswith("does not fit model.backbone 'unet_encoder' (4@1, 8@2, 16@4")
    assert "RuntimeError" in found.message


def test_constructors_that_do_not_fit_name_both_specs(tmp_path: Path) -> None:
    with pytest.raises(PartsError) as caught:
        meta_model(
            tiny_config(tmp_path / "d", "model.neck={name: fpn, strides: [4, 8, 16, 32]}"), class_table("shapes")
        )
    (found,) = caught.value.problems
    assert found.where.startswith("model.neck")
    assert "8" in found.message


def test_batch_normalisation_of_one_value_is_said(tmp_path: Path) -> None:
    resnet = tiny_config(tmp_path / "d", "model.backbone={name: resnet, depth: 18}", "model.neck=null")
    found = problem_of(ConfigError, resnet, size=(32, 32), batch=1)
    assert "batch of 1 image(s) whose map is a single cell" in found.message
    assert "data.batch_size" in found.suggestion
    assert tried(resnet, size=(32, 32), batch=2).size == (32, 32)


def test_a_size_that_is_refused_names_the_legal_ones(tmp_path: Path) -> None:
    valid = tiny_config(
        tmp_path / "d", "model.backbone.padding=valid", "model.neck.padding=valid", "model.illegal_sizes=refuse"
    )
    with pytest.raises(ImageSizeError) as caught:
        tried(valid, size=(65, 65))
    assert "crop or resize to height" in caught.value.problems[0].suggestion


def test_the_meta_model_is_the_real_one_without_numbers(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    ghost, model = meta_model(config, class_table("shapes")), build_model(config)
    assert ghost is not None
    assert [(n, p.shape) for n, p in ghost.named_parameters()] == [(n, p.shape) for n, p in model.named_parameters()]
    assert all(p.device == torch.device("meta") for p in ghost.parameters())


def test_work_is_what_pytorch_counts() -> None:
    with torch.device("meta"):
        convolutions = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, groups=4), nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        )
        tried = [
            (convolutions, torch.zeros(2, 3, 33, 40)),
            (nn.TransformerEncoderLayer(16, 4, batch_first=True), torch.zeros(2, 9, 16)),
        ]
        for net, given in tried:
            with torch.no_grad(), FlopCounterMode(display=False) as wanted, _Work() as found:
                net(given)
            assert found.macs == wanted.get_total_flops() / 2 > 0

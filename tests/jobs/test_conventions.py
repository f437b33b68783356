"""Where anchors lie is noted with the weights; what a file does not note is as it was in the first version, and said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_detection import tiny_detection_config

from toolkit.config.load import load_config
from toolkit.contracts import PyramidSpec
from toolkit.heads.rcnn import RcnnHead
from toolkit.jobs.conventions import as_trained, conventions_of
from toolkit.jobs.restore import restore
from toolkit.jobs.train import run_training
from toolkit.models.torchvision_weights import is_faster_rcnn, keep_torchvision_anchors

FIRST = Path(__file__).resolve().parent.parent / "fixtures" / "first_runs" / "detection"
KEY = "rpn.anchors.style"


def test_a_file_without_the_note_keeps_the_old_rule_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        head = restore(FIRST).model.head
    assert isinstance(head, RcnnHead)
    assert head.rpn.settings.anchors.style == "torchvision_unpadded"
    assert head.pad_multiple == 1
    assert any("older than what model.head.rpn.anchors.style means today" in line for line in caplog.messages)


def test_the_rule_is_noted_with_the_weights_and_comes_back_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_detection_config(tmp_path / "data", "train.steps=1", "model.head.rpn.anchors.style=torchvision")
    run_training(config, tmp_path / "run", quiet=True)
    with safe_open(tmp_path / "run" / "last.safetensors", "pt") as file:
        assert '"rpn.anchors.style": "torchvision"' in file.metadata()["conventions"]
    with caplog.at_level(logging.WARNING):
        head = restore(tmp_path / "run" / "last.safetensors").model.head
    assert isinstance(head, RcnnHead)
    assert head.rpn.settings.anchors.style == "torchvision"
    assert head.pad_multiple == 32
    assert not [line for line in caplog.messages if "anchors" in line]


def test_the_note_decides_and_the_command_line_over_it() -> None:
    config = load_config(FIRST / "config.yaml")

    def style(noted: dict[str, str], *overrides: str) -> object:
        return as_trained(config, noted, overrides=overrides).model.head.arguments["rpn"]["anchors"]["style"]

    assert style({}) == "torchvision_unpadded"
    assert style({KEY: "stride"}) == "stride"
    assert style({KEY: "torchvision"}) == "torchvision"
    assert style({}, f"model.head.{KEY}=torchvision") == "torchvision"


def test_torchvisions_weights_bring_their_rule() -> None:
    with torch.device("meta"):
        head = RcnnHead(PyramidSpec((8, 8, 8, 8), (4, 8, 16, 32)), 2)
    assert conventions_of(head) == {KEY: "stride"}
    keep_torchvision_anchors(head)
    assert conventions_of(head) == {KEY: "torchvision"}
    assert head.pad_multiple == 32
    names = ["rpn.head.bbox_pred.weight", "roi_heads.box_predictor.cls_score.weight"]
    assert is_faster_rcnn(dict.fromkeys(names, torch.zeros(1)))
    assert not is_faster_rcnn(dict.fromkeys(names[:1], torch.zeros(1)))

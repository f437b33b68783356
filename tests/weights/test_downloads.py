"""A check never fetches weights: it says that a training will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config

from toolkit.contracts import BACKBONES
from toolkit.jobs.check import check_config
from toolkit.weights.downloads import NeedsDownloadError, refuse_download, without_downloads

RESNET = "model.backbone={name: resnet, depth: 18, weights: IMAGENET1K_V1}"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetched(*arguments: Any, **named: Any) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", fetched)


def test_only_inside_and_only_once() -> None:
    refuse_download("weights", "these weights")
    with without_downloads(), pytest.raises(NeedsDownloadError, match="these weights are not on this machine"):
        refuse_download("weights", "these weights")
    refuse_download("weights", "these weights")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet", {"depth": 18, "weights": "IMAGENET1K_V1"}),
        ("vgg", {"depth": 16, "weights": "IMAGENET1K_V1"}),
        ("timm", {"model": "test_resnet", "pretrained": True}),
        ("smp", {"encoder": "resnet18", "weights": "imagenet"}),
    ],
)
def test_every_source_of_weights_asks_first(name: str, arguments: dict[str, Any]) -> None:
    with without_downloads(), pytest.raises(NeedsDownloadError):
        BACKBONES.find(name)(**arguments)


def test_a_check_says_what_the_training_will_fetch(tmp_path: Path) -> None:
    report = check_config(tiny_config(tmp_path / "d", RESNET, "model.neck={name: skip}"))
    assert report.errors == []
    (line,) = [fact for fact in report.facts if fact.topic == "start"]
    assert "model.backbone.weights: the weights ResNet18_Weights.IMAGENET1K_V1" in line.text
    assert any(fact.topic == "batch" for fact in report.facts)


def test_a_check_finds_names_that_do_not_exist_and_files_that_do_not_fit(tmp_path: Path) -> None:
    wrong = RESNET.replace("V1}", "V9}")
    report = check_config(tiny_config(tmp_path / "d", wrong, "model.neck={name: skip}"))
    assert "did you mean 'IMAGENET1K_V1'" in report.errors[0].suggestion
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "w.pth")
    own = f"model.backbone={{name: resnet, depth: 18, weights: {tmp_path / 'w.pth'}}}"
    report = check_config(tiny_config(tmp_path / "d", own, "model.neck={name: skip}"))
    assert "model.backbone" in report.errors[0].where
    assert "tensors are" in report.errors[0].message

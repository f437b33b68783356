"""Laws of the engine hold for a detector: sampling of boxes is a function of (seed, step), sizes may differ, AP decides."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_detection import tiny_detection_config

from toolkit.config.sections import Config
from toolkit.engine import step as step_module
from toolkit.engine.interrupt import Interrupted
from toolkit.errors import ConfigError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.heads.rcnn import RcnnHead
from toolkit.jobs.diagnostics import overfit_batch
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.train import run_training
from toolkit.ops import boxes as box_ops

TIMED = ("images_per_second", "data_wait", "memory_mib", "processor_minutes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    run_training(tiny_detection_config(data), run, quiet=True)
    return run


def events(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def assert_same_run(a: Path, b: Path) -> None:
    first, second = (load_file(run / "last.safetensors") for run in (a, b))
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key
    assert events(a) == events(b)


def stopped_at(config: Config, run: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after `step` updates."""
    real = step_module.set_learning_rate

    def stop(optimizer: Any, schedule: Any, at: int, settings: Any) -> float:
        if at == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(optimizer, schedule, at, settings)

    with monkeypatch.context() as patch:
        patch.setattr(step_module, "set_learning_rate", stop)
        with pytest.raises(Interrupted):
            run_training(config, run, quiet=True)


def test_images_of_a_batch_differ_in_size_and_every_term_is_logged(whole: Path) -> None:
    logged = [event for event in events(whole) if "loss" in event]
    assert len(logged) == 3
    for event in logged:
        terms = {name: value for name, value in event.items() if name.startswith("loss/")}
        assert set(terms) == {
            "loss/rpn_objectness", "loss/rpn_boxes", "loss/roi_classes", "loss/roi_boxes",
        }  # fmt: skip
        assert event["loss"] == pytest.approx(sum(terms.values()))


@pytest.mark.slow
def test_the_loss_of_one_batch_falls(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = overfit_batch(tiny_detection_config(data, "model.head.roi.dropout=0.0"), quiet=True, steps=60)
    assert result["ok"]  # about 0.7 of where it began, and 0.9 is asked for


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_resumed_is_the_uninterrupted_run(
    whole: Path, data: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which anchors and proposals the losses look at is drawn anew each step, from the step's own seed."""
    stopped_at(tiny_detection_config(data), tmp_path / "run", step, monkeypatch)
    run_training(tiny_detection_config(data), tmp_path / "run", resume=True, quiet=True)
    assert_same_run(whole, tmp_path / "run")


def test_ap_of_the_first_evaluator_decides_which_weights_are_best(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are made to fall, so the first evaluation is the best, and `best` keeps its weights. The rest is not asked."""
    given = iter([0.5, 0.25])
    monkeypatch.setattr(CocoEvaluator, "compute", lambda self: {"AP": next(given)})
    for method, answer in (("tables", []), ("never_right", []), ("constant_answer", None)):
        monkeypatch.setattr(CocoEvaluator, method, lambda self, answer=answer: answer)
    run_training(tiny_detection_config(data), tmp_path / "run", quiet=True)
    assert [event["val/AP"] for event in events(tmp_path / "run") if "val/AP" in event] == [0.5, 0.25]
    short = tiny_detection_config(data, "train.steps=3", "evaluate.evaluators=[]")
    run_training(short, tmp_path / "short", quiet=True)
    best, third = load_file(tmp_path / "run" / "best.safetensors"), load_file(tmp_path / "short" / "last.safetensors")
    assert all(torch.equal(best[key], third[key]) for key in third)


def test_evaluate_repeats_the_numbers_of_both_evaluators(whole: Path) -> None:
    result = run_evaluation(whole / "last.safetensors", quiet=True)
    last = [event for event in events(whole) if "val/AP" in event][-1]
    measured = {name.removeprefix("val/"): v for name, v in last.items() if name.startswith("val/")}
    assert {**result["metrics"], **result["losses"]} == measured
    assert {"AP", "AP50", "mAP@0.5", "AP/ring", "AP@0.5/ring"} <= set(result["metrics"])


def test_mixed_precision_keeps_boxes_exact(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are bfloat16; logits, proposals, offsets and losses are float32: bfloat16 has 8 bits, and boxes 10 or more."""
    maps: set[torch.dtype] = set()
    exact: set[torch.dtype] = set()
    loss, decode = RcnnHead.loss, box_ops.decode

    def watched_loss(self: RcnnHead, pyramid: Any, batch: Any) -> Any:
        maps.update(one.dtype for one in pyramid.maps)
        losses = loss(self, pyramid, batch)
        exact.update(value.dtype for value in losses.values())
        return losses

    def watched_decode(deltas: torch.Tensor, anchors: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        boxes = decode(deltas, anchors, *rest, **named)
        exact.update((deltas.dtype, anchors.dtype, boxes.dtype))
        return boxes

    monkeypatch.setattr(RcnnHead, "loss", watched_loss)
    monkeypatch.setattr(box_ops, "decode", watched_decode)
    run_training(
        tiny_detection_config(data, "train.precision=bf16-mixed", "train.steps=2"), tmp_path / "run", quiet=True
    )
    assert maps == {torch.bfloat16}
    assert exact == {torch.float32}


# ------------------------------------------------------------------------------------------- groups by aspect


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO data of six landscape and six portrait images, a box each."""
    root = tmp_path_factory.mktemp("mixed")
    images, annotations = [], []
    for number in range(12):
        width, height = (64, 40) if number % 2 else (40, 64)
        cv2.imwrite(str(root / f"{number}.png"), np.full((height, width, 3), 20 * number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        box = {"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
        annotations.append(box)
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "all.json").write_text(json.dumps(coco))
    return root


def grouped_config(root: Path, *overrides: str) -> Config:
    dataset = "{name: coco, annotations: all.json}"
    return tiny_detection_config(
        root, "data.classes=[thing]", f"data.train={{dataset: {dataset}, transforms: [{{name: flip}}]}}",
        f"data.val={{dataset: {dataset}}}", "data.group_by_aspect=true", "evaluate.evaluators=[coco]", *overrides,
    )  # fmt: skip


def test_grouped_batches_have_one_shape_and_obey_the_laws(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    loss = RcnnHead.loss

    def watched(self: RcnnHead, pyramid: Any, batch: Any) -> Any:
        if self.training:
            shapes.append(tuple(batch.images.shape[2:]))
        return loss(self, pyramid, batch)

    with monkeypatch.context() as patch:
        patch.setattr(RcnnHead, "loss", watched)
        run_training(grouped_config(mixed), tmp_path / "whole", quiet=True)
    assert sorted(shapes) == [(40, 64)] * 3 + [(64, 40)] * 3
    run_training(grouped_config(mixed, "data.workers=2"), tmp_path / "workers", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "workers")
    stopped_at(grouped_config(mixed), tmp_path / "resumed", 3, monkeypatch)
    run_training(grouped_config(mixed), tmp_path / "resumed", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "resumed")


def test_images_of_unknown_size_cannot_be_grouped(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.group_by_aspect.*sizes of its images"):
        run_training(tiny_detection_config(data, "data.group_by_aspect=true"), tmp_path / "run", quiet=True)

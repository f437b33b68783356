"""A detector as a program of tensors answers what `predict` answers: any size, any batch, nothing found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_detectors import CLASSES, SIZES, STYLES, noise, tiny_detector
from torch import Tensor
from torchvision.ops import batched_nms

from toolkit.contracts import DetectionTensors
from toolkit.errors import PartsError
from toolkit.export.detector import DetectorGraph, OnnxDetectorGraph, above
from toolkit.export.graph import Cut
from toolkit.export.onnx import write_onnx
from toolkit.export.program import write_down
from toolkit.export.programs import more_of
from toolkit.export.runner import runner_of
from toolkit.heads.pixel import PixelHead
from toolkit.models.vision_model import VisionModel
from toolkit.ops.surviving import ABSENT, surviving
from toolkit.samples import Batch, Detections

INPUTS = ("pictures", "sizes", "file_sizes")


def same_as_predict(found: Sequence[Any], model: VisionModel, batch: Batch, pixels: float) -> int:
    """Compares with `predict`, box by box in order; how many boxes were compared."""
    boxes, scores, labels, counts = (np.asarray(part) for part in found)
    wanted = model.predict(batch)
    assert counts.tolist() == [len(one.scores) for one in wanted if isinstance(one, Detections)]
    for place, (one, number) in enumerate(zip(wanted, counts, strict=True)):
        assert isinstance(one, Detections)
        np.testing.assert_allclose(boxes[place, :number], one.boxes, rtol=0, atol=pixels)
        np.testing.assert_allclose(scores[place, :number], one.scores, rtol=0, atol=1e-4 if pixels else 0)
        assert labels[place, :number].tolist() == one.labels.tolist()
        assert not boxes[place, number:].any()
        assert not scores[place, number:].any()
        assert (labels[place, number:] == -1).all()
    return int(counts.sum())


def given(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return batch.images.permute(0, 2, 3, 1), batch.sizes, batch.original_sizes


@pytest.mark.parametrize("style", STYLES)
def test_the_program_is_predict_for_every_size_and_batch(style: str) -> None:
    """Boxes of pictures that fill their batch are equal to the bit; sums over larger maps may be added otherwise."""
    model = tiny_detector(style)
    with torch.inference_mode():
        numbers = [same_as_predict(DetectorGraph(model)(*given(b)), model, b, 1e-4) for b in map(noise, SIZES)]
    assert min(numbers) > 0


def test_boxes_end_at_their_own_picture_not_at_the_batch_or_an_example() -> None:
    model, batch = tiny_detector("fpn"), noise([(64, 96), (50, 41)], [(64, 96), (50, 41)])
    with torch.inference_mode():
        found = DetectionTensors(*DetectorGraph(model)(*given(batch)))
    assert found.boxes[0, :, 2].max() == 96
    assert found.boxes[1, :, 2].max() == 41
    assert found.boxes[1, :, 3].max() == 50


def test_nothing_found_is_empty_places() -> None:
    model, batch = tiny_detector("fpn"), noise([(64, 96), (50, 41)])
    model.head.test = replace(model.head.test, score=1.0)
    with torch.inference_mode():
        assert same_as_predict(DetectorGraph(model)(*given(batch)), model, batch, 0) == 0


@pytest.mark.parametrize("style", ["fpn", "2015"])
def test_suppressed_boxes_share_in_a_place_as_they_do_in_predict(style: str) -> None:
    model, batch = tiny_detector(style), noise([(64, 96), (50, 41)])
    with torch.inference_mode():
        before = DetectorGraph(model)(*given(batch))[0]
        model.head.test = replace(model.head.test, vote_iou=0.4)
        found = DetectorGraph(model)(*given(batch))
        assert same_as_predict(found, model, batch, 1e-3) > 0
    assert (found[0] - before).abs().max() > 1


def test_thresholds_are_those_of_detections() -> None:
    model, batch, lowest = tiny_detector("fpn"), noise([(64, 96), (50, 41)]), [0.2, 0.9, 0.3, 0.05, 1.5]
    with torch.inference_mode():
        graph = DetectorGraph(model, cut=Cut(tuple(lowest)))
        parts = graph(*given(batch))
    found = DetectionTensors(*parts[:4])
    assert graph.names == (*DetectionTensors._fields, "all_boxes", "all_scores", "all_labels")
    wanted = [one.at_least(lowest) for one in model.predict(batch) if isinstance(one, Detections)]
    assert found.counts.tolist() == [len(one.scores) for one in wanted]
    for place, one in enumerate(wanted):
        number = len(one.scores)
        assert found.labels[place].tolist() == one.labels.tolist() + [-1] * (found.labels.shape[1] - number)
        torch.testing.assert_close(found.boxes[place, :number], one.boxes, rtol=0, atol=1e-4)


def test_thresholds_keep_the_order_of_equal_scores() -> None:
    boxes = torch.arange(12.0).view(1, 3, 4)
    found = DetectionTensors(boxes, torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([[0, 1, 0]]), torch.tensor([3]))
    kept = above(found, torch.tensor([0.5, 0.6]))
    assert kept.boxes[0].tolist() == [boxes[0, 0].tolist(), boxes[0, 2].tolist(), [0.0] * 4]
    assert kept.labels.tolist() == [[0, 0, -1]]
    assert kept.counts.tolist() == [2]


def test_groups_are_suppressed_as_torchvision_suppresses_them() -> None:
    torch.manual_seed(0)
    corner = torch.rand(6, 50, 2) * 100
    boxes = torch.cat((corner, corner + torch.rand(6, 50, 2) * 40), 2)
    scores = torch.where(torch.rand(6, 50) < 0.2, ABSENT, torch.rand(6, 50))
    found = surviving(boxes, scores, 0.5, 50)
    groups, places = (scores > ABSENT).nonzero(as_tuple=True)
    keep = batched_nms(boxes[groups, places], scores[groups, places], groups, 0.5)
    wanted = torch.full_like(scores, ABSENT)
    wanted[groups[keep], places[keep]] = scores[groups[keep], places[keep]]
    assert torch.equal(found, wanted)
    assert 50 < len(keep) < len(groups)


def test_boxes_are_asked_for_in_the_pixels_of_files() -> None:
    pictures, files = np.zeros((2, 4, 5, 3), np.uint8), np.array([[8, 10], [40, 50]])
    assert [one.tolist() for one in more_of(pictures)] == [[[4, 5], [4, 5]]] * 2
    assert more_of(pictures, files)[1].tolist() == files.tolist()


def test_the_runner_of_a_pt2_imports_the_operators_of_detectors() -> None:
    text = runner_of("best.pt2", "torch", detects=True)
    compile(text, "run.py", "exec")
    assert "\nimport torchvision" in text
    assert "pip install torch torchvision" in text
    assert "torchvision" not in runner_of("best.pt2", "torch") + runner_of("best.onnx", "onnx", detects=True)


def test_a_head_without_boxes_says_so() -> None:
    backbone = tiny_detector("fpn").backbone
    model = VisionModel(backbone, None, PixelHead(backbone.spec, 5), CLASSES).eval()
    with pytest.raises(PartsError, match="gives no boxes"):
        DetectorGraph(model)(*given(noise([(64, 96)])))


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_one_onnx_file_serves_every_size_and_batch(style: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = tiny_detector(style)
    write_onnx(write_down(OnnxDetectorGraph(model).eval()), tmp_path / "detector.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    assert [one.name for one in session.get_outputs()] == list(DetectionTensors._fields)
    for batch in map(noise, SIZES):
        feed = {name: part.contiguous().numpy() for name, part in zip(INPUTS, given(batch), strict=True)}
        same_as_predict(session.run(None, feed), model, batch, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("style", "score"), [("fpn", None), ("2015", None), ("2015", 1.0)])
def test_a_saved_program_of_pytorch_serves_every_size_and_batch(
    style: str, score: float | None, tmp_path: Path
) -> None:
    """Where nothing at all is found, too, and where few boxes or none reach a level of the pyramid."""
    model = tiny_detector(style)
    if score is not None:
        model.head.test = replace(model.head.test, score=score)
    program = write_down(DetectorGraph(model).eval())
    torch.export.save(program.exported, tmp_path / "detector.pt2")
    loaded = torch.export.load(tmp_path / "detector.pt2").module()
    for batch in [noise(sizes) for sizes in SIZES if min(map(min, sizes)) >= max(program.smallest)]:
        with torch.no_grad():
            same_as_predict(loaded(*given(batch)), model, batch, 1e-3)

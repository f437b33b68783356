"""A detector's export that answers otherwise is refused, and the message names what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from noise_detectors import CLASSES, tiny_detector
from torch import Tensor

from toolkit.export.comparison import BOUNDS, compared
from toolkit.export.detector import DetectorGraph
from toolkit.export.faults import first_fault
from toolkit.heads import rcnn_tensors
from toolkit.models.vision_model import VisionModel

STATS = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "bgr": False}


def values(model: VisionModel) -> dict[str, np.ndarray]:
    """What a bisection looks at: the picture, blocks, answers."""
    graph = DetectorGraph(model, blocks=True).eval()
    example = graph.example((97, 131), 1)
    with torch.no_grad():
        found = graph(example, *graph.more(example).values())
    named = dict(zip(graph.names, (one.numpy() for one in found), strict=True))
    blocks = {name: named[name] for name in graph.names if name not in graph.answers}
    return {"given": example.numpy(), **blocks, **{name: named[name] for name in graph.answers[::-1]}}


def reorder(model: VisionModel) -> None:
    roi, order = model.head.roi, torch.tensor([1, 0, 2, 3, 4])
    rows = torch.cat((torch.tensor([0]), order + 1))
    for layer, width in ((roi.classes, 1), (roi.deltas, 4)):
        places = (rows[:, None] * width + torch.arange(width)).flatten()
        layer.weight.data, layer.bias.data = layer.weight.data[places], layer.bias.data[places]


def other_nms(model: VisionModel) -> None:
    model.head.test = replace(model.head.test, nms_iou=0.1)


def lower_score(model: VisionModel) -> None:
    model.head.test = replace(model.head.test, score=0.3)


@pytest.mark.parametrize(
    ("plant", "block", "words"),
    [
        (reorder, "head.roi.classes", "stale class order"),
        (other_nms, "counts", "NMS threshold"),
        (lower_score, "counts", "lowest score"),
    ],
)
def test_a_planted_fault_is_refused_and_named(plant: Callable[[VisionModel], None], block: str, words: str) -> None:
    right, wrong = tiny_detector("fpn"), tiny_detector("fpn")
    plant(wrong)
    mine, theirs = values(right), values(wrong)
    assert compared(mine, theirs).problems(BOUNDS["float32"])
    fault = first_fault(mine, theirs, STATS)
    assert fault is not None
    assert fault.block == block
    assert words in fault.why


def test_clipping_to_another_size_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model, own = tiny_detector("fpn"), rcnn_tensors.clip_to
    mine = values(model)

    def to_an_example(boxes: Tensor, sizes: Tensor) -> Tensor:
        return own(boxes, sizes.clamp(max=80))

    monkeypatch.setattr(rcnn_tensors, "clip_to", to_an_example)
    theirs = values(model)
    assert compared(mine, theirs).problems(BOUNDS["float32"])
    fault = first_fault(mine, theirs, STATS)
    assert fault is not None
    assert fault.block.startswith("head.roi.")
    assert "clipped to another size" in fault.why


def test_labels_of_another_order_alone_are_named() -> None:
    mine = values(tiny_detector("fpn"))
    labels = mine["labels"]
    theirs = {**mine, "labels": np.where(labels >= 0, len(CLASSES) - 1 - labels, -1)}
    assert compared(mine, theirs).problems(BOUNDS["float32"])
    fault = first_fault(mine, theirs, STATS)
    assert fault is not None
    assert "stale class order" in fault.why


def test_the_same_detector_has_no_fault() -> None:
    mine = values(tiny_detector("fpn"))
    assert first_fault(mine, mine, STATS) is None
    assert compared(mine, mine).problems(BOUNDS["float32"]) == []

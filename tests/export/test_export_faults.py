"""What a failed certificate says of faults that were planted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from planted_faults import FAULTS, enlarge
from tiny_export import CLASSES, tiny_unet

from toolkit.export.faults import Fault, first_fault, other_classes
from toolkit.export.graph import ExportGraph
from toolkit.models.vision_model import VisionModel


def values(model: VisionModel, given: torch.Tensor, *, half: bool = False) -> dict[str, np.ndarray]:
    graph = ExportGraph(model, blocks=True, half=half)
    with torch.no_grad():
        found = graph(given)
    named = dict(zip(graph.names, (one.numpy() for one in found), strict=True))
    blocks = {name: named[name] for name in graph.names if name not in graph.answers}
    return {"given": given.numpy(), **blocks, **{name: named[name] for name in graph.answers[::-1]}}


def fault(
    make: Callable[[], VisionModel], plant: Callable[[VisionModel], object], *, half: bool = False
) -> Fault | None:
    right, wrong = make(), make()
    plant(wrong)
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(0, 256, (1, 37, 51, 3), dtype=torch.uint8, generator=generator)
    stats = {"mean": right.pixel_stats.mean, "std": right.pixel_stats.std, "bgr": right.pixel_stats.bgr}
    return first_fault(values(right, given), values(wrong, given, half=half), stats)


@pytest.mark.parametrize(("make", "plant", "block", "words"), FAULTS)
def test_a_planted_fault_is_named(make, plant, block: str, words: str) -> None:
    found = fault(make, plant)
    assert found is not None
    assert found.block == block
    assert words in found.why


def test_an_overflow_of_half_precision_is_named_with_its_layer() -> None:
    right = tiny_unet()
    enlarge(right)
    given = torch.full((1, 37, 51, 3), 200, dtype=torch.uint8)
    stats = {"mean": right.pixel_stats.mean, "std": right.pixel_stats.std, "bgr": False}
    found = first_fault(values(right, given), values(right, given, half=True), stats, tolerance=0.05)
    assert found is not None
    assert found.block.startswith("backbone.")
    assert "half precision overflows" in found.why


def test_the_same_model_has_no_fault() -> None:
    assert fault(tiny_unet, lambda model: None) is None


def test_class_names_in_another_order_are_stale() -> None:
    assert other_classes(CLASSES, CLASSES) is None
    found = other_classes(CLASSES, ("road", "sky", "car"))
    assert found is not None
    assert "stale class order" in found.why


def test_labels_between_two_equal_classes_are_called_that() -> None:
    maps = np.random.default_rng(0).normal(size=(1, 3, 8, 10)).astype(np.float32)
    maps[0, 1] = maps[0, 0] = maps[0].max(0)
    labels = maps.argmax(1).astype(np.uint8)
    other = labels.copy()
    other[0, 2, 3] = 1
    mine = {"logits": maps, "labels": labels}
    found = first_fault(mine, {"logits": maps, "labels": other}, {})
    assert found is not None
    assert "1.2 % of labels, where two classes are equal but for rounding" in found.why
    other[0, 2, 3] = 2
    apart = {"logits": maps - np.array([0, 0, 9], np.float32).reshape(1, 3, 1, 1), "labels": labels}
    found = first_fault(apart, apart | {"labels": other}, {})
    assert found is not None
    assert "upsampling" in found.why

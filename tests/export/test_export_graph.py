"""The graph that exports are made of answers as `VisionModel.predict` does, before any exporter has seen it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_export import tiny_coarse, tiny_image, tiny_segnet, tiny_unet

from toolkit.export.graph import Cut, ExportGraph
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Sample, collate

SIZES = [(32, 40), (37, 51), (61, 33)]
DENSE = {
    "unet": tiny_unet,
    "valid": lambda: tiny_unet("valid"),
    "segnet": tiny_segnet,
    "coarse": tiny_coarse,
    "corner": lambda: tiny_coarse("corner"),
    "ends": lambda: tiny_coarse("ends"),
    "probabilities": lambda: tiny_coarse("corner", "probabilities"),
}


def pictures(model: VisionModel, size: tuple[int, int], count: int = 2) -> torch.Tensor:
    shape = (count, *size, model.in_channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def predicted(model: VisionModel, given: torch.Tensor) -> list:
    model.head.with_scores = True
    samples = [Sample(one.numpy(), str(place), place, tuple(one.shape[:2])) for place, one in enumerate(given)]
    return model.predict(collate(samples))


def named(graph: ExportGraph, given: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        values = graph(given)
    return dict(zip(graph.names, values, strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
def test_label_maps_are_those_of_predict(make: Callable[[], VisionModel], size: tuple[int, int]) -> None:
    model = make()
    given = pictures(model, size)
    found = named(ExportGraph(model), given)
    wanted = predicted(model, given)
    assert found["labels"].shape == (2, *size)
    assert found["labels"].dtype == torch.uint8
    for place, one in enumerate(wanted):
        assert (found["labels"][place] == one.labels).float().mean() >= 0.999
        assert one.scores is not None
        torch.testing.assert_close(found["scores"][place], one.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["image", "image_values"])
def test_answers_for_a_picture_are_those_of_predict(head: str) -> None:
    model = tiny_image(head)
    given = pictures(model, (40, 44))
    found = named(ExportGraph(model), given)
    name = "scores" if head == "image" else "values"
    wanted = torch.stack([torch.from_numpy(one.numpy()) for one in model.predict(as_batch(given))])
    torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)


def as_batch(given: torch.Tensor):
    return collate([Sample(one.numpy(), str(n), n, tuple(one.shape[:2])) for n, one in enumerate(given)])


def test_thresholds_are_applied_inside() -> None:
    model = tiny_unet()
    given = pictures(model, (32, 40))
    plain = named(ExportGraph(model), given)
    cut = named(ExportGraph(model, cut=Cut((0.5, 0.4, 1.1), 1)), given)
    lowest = torch.tensor((0.5, 0.4, 1.1))[plain["labels"].long()]
    assert torch.equal(cut["labels"], torch.where(plain["scores"] >= lowest, plain["labels"], 1).to(torch.uint8))


def test_a_raw_graph_takes_pixels_and_gives_logits() -> None:
    model = tiny_unet("valid")
    given = pictures(model, (37, 51))
    whole, raw = ExportGraph(model), ExportGraph(model, raw=True)
    assert named(raw, whole.prepared(given.permute(0, 3, 1, 2))).keys() == {"logits"}
    torch.testing.assert_close(
        named(raw, whole.prepared(given.permute(0, 3, 1, 2)))["logits"], named(whole, given)["logits"]
    )

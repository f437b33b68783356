"""Windows with two equal maxima are ties of an export that unpools; with other choices it agrees with the model that makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import other_windows, tiny_segnet

from toolkit.export.graph import MEAN, RAW, ExportGraph
from toolkit.export.inside import values_inside
from toolkit.export.pooling_ties import choices_of, unpooled
from toolkit.export.program import write_down
from toolkit.export.torch_program import write_program
from toolkit.models.vision_model import VisionModel

SIZE = (64, 96)


def flat() -> torch.Tensor:
    return torch.full((1, *SIZE, 3), 200, dtype=torch.uint8)


def noisy() -> torch.Tensor:
    return torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def answered(model: VisionModel, given: torch.Tensor) -> dict:
    graph = ExportGraph(model, blocks=True, samples=model.samples)
    with torch.no_grad():
        found = graph(given)
    return {name: one.numpy() for name, one in zip(graph.names, found, strict=True)}


def again(export: VisionModel, given: torch.Tensor) -> tuple:
    """How far the model is from an export: as it is, and with its choices, of which the number and the widest are told."""
    model, theirs = tiny_segnet(export.samples), answered(export, given)
    answer = RAW if export.samples == 1 else MEAN
    before = abs(answered(model, given)[answer] - theirs[answer]).max()
    with choices_of(model, {name: theirs[name] for name in unpooled(model)}) as chosen:
        after = abs(answered(model, given)[answer] - theirs[answer]).max()
    return before, after, chosen


def test_an_export_that_takes_the_other_of_two_equals_agrees_with_the_model_that_does() -> None:
    before, after, chosen = again(other_windows(tiny_segnet()), flat())
    assert before > 1e-2
    assert after <= 1e-6
    assert chosen.windows > 0
    assert chosen.gap <= 1e-4


def test_each_sample_has_choices_of_its_own() -> None:
    model = tiny_segnet(samples=3)
    assert len(set(unpooled(model))) == 6
    assert set(unpooled(model)) <= set(answered(model, flat()))
    before, after, chosen = again(other_windows(tiny_segnet(samples=3)), flat())
    assert before > 1e-3
    assert after <= 1e-6
    assert chosen.windows > 0
    assert chosen.gap <= 1e-4


def test_a_value_beside_a_true_maximum_is_no_tie() -> None:
    _, _, chosen = again(other_windows(tiny_segnet()), noisy())
    assert chosen.windows > 0
    assert chosen.gap > 1e-2


def test_the_model_itself_has_no_ties() -> None:
    before, after, chosen = again(tiny_segnet(), noisy())
    assert before == after == 0
    assert (chosen.windows, chosen.gap) == (0, 0.0)


@pytest.mark.slow
def test_the_choices_of_a_pytorch_file_are_seen(tmp_path: Path) -> None:
    model, given = tiny_segnet(), noisy()
    write_program(write_down(ExportGraph(model).eval(), SIZE), tmp_path / "model.pt2", {})
    found = values_inside(tmp_path / "model.pt2", unpooled(model), given.numpy())
    wanted = answered(model, given)
    assert set(found) == set(unpooled(model))
    for name, mine in found.items():
        np.testing.assert_allclose(mine, wanted[name], rtol=0, atol=1e-5)

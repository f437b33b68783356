"""A difference of logits is rounding where the model itself is as far from the net in float64, and else a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_export import other_windows, tiny_segnet, tiny_unet

from toolkit.export import certificate
from toolkit.export import exact as rounding
from toolkit.export.comparison import BOUNDS, Difference, compared, total
from toolkit.export.exact import exact_model, explained
from toolkit.export.graph import RAW, ExportGraph
from toolkit.export.pooling_ties import choices_of
from toolkit.export.reference import Reference, reference, shown
from toolkit.samples import LabelMap


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)).save(path)
    return path


def judged(picture: Path, times: float, more: float = 0.0) -> Difference:
    """What is said of an export that is `times` as far from float64 as the model, on its other side, and of one fault."""
    model = tiny_unet()
    exact = exact_model(model)
    mine = reference(model, picture).arrays
    batch, _ = shown(exact, picture)
    with torch.inference_mode():
        wanted = exact(exact.prepared(batch)).numpy()
    theirs = {RAW: wanted - times * (mine[RAW] - wanted)}
    theirs[RAW].flat[7] += more
    strict = BOUNDS["float32"]._replace(logit=0.0)
    found = explained(exact, picture, mine, theirs, compared(mine, theirs, strict), raw=False)
    assert bool(found.problems(strict)) == (found.left != 0)
    return found


@pytest.mark.parametrize("times", [0.5, 1.5])
def test_a_model_that_is_as_far_from_float64_explains_the_difference(picture: Path, times: float) -> None:
    found = judged(picture, times)
    assert found.exact is not None
    assert found.exact[1] == pytest.approx(times * found.exact[0], rel=1e-6)
    assert found.left == 0.0


@pytest.mark.parametrize(("times", "more"), [(3.0, 0.0), (1.0, 1e-3)])
def test_an_export_that_is_farther_is_not_explained(picture: Path, times: float, more: float) -> None:
    found = judged(picture, times, more)
    assert found.left == found.logit
    assert "in float64 the model itself is" in found.problems(BOUNDS["float32"]._replace(logit=0.0))[0]


@pytest.mark.parametrize(("times", "explains"), [(1.5, True), (4.0, False)])
def test_rounding_is_measured_beside_other_choices_of_equal_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float, explains: bool
) -> None:
    picture = tmp_path / "flat.png"
    Image.fromarray(np.full((64, 96, 3), 200, np.uint8)).save(picture)
    model, export = tiny_segnet(), ExportGraph(other_windows(tiny_segnet()), blocks=True)
    with torch.inference_mode():
        made = export(torch.full((1, 64, 96, 3), 200, dtype=torch.uint8))
    inside = {name: one.numpy() for name, one in zip(export.names, made, strict=True)}
    with choices_of(model, inside):
        mine = reference(model, picture).arrays
    exact = exact_model(model)
    batch, _ = shown(exact, picture)
    with torch.inference_mode(), choices_of(exact, inside):
        wanted = exact(exact.prepared(batch)).numpy()
    theirs = {RAW: wanted - times * (mine[RAW] - wanted)}
    monkeypatch.setattr(certificate, "with_blocks", lambda *given: None)
    monkeypatch.setattr(certificate, "run_fresh", lambda *given: (iter([inside]), {}, []))
    strict = BOUNDS["float32"]._replace(logit=0.0)
    pair = compared(reference(model, picture).arrays, theirs, strict)
    found = certificate._with_its_choices(model, picture, "onnx", picture, theirs, pair, strict, cut=None, raw=False)
    assert pair.problems(strict)
    if explains:
        assert found.ties == found.unmatched > 0
        assert found.left == 0.0
        assert not found.problems(strict)
        assert found.exact is not None
        assert found.exact[1] == pytest.approx(times * found.exact[0], rel=1e-6)
    else:
        assert found == pair


def test_a_picture_that_is_explained_hides_no_other() -> None:
    bounds = BOUNDS["float32"]
    rounding = Difference(5e-3, 10.0, exact=(4e-3, 3e-3), left=0.0)
    assert total([rounding, Difference(5e-5, 10.0)]).problems(bounds) == []
    assert total([rounding, Difference(2e-3, 10.0)]).problems(bounds) != []
    assert total([rounding, Difference(2e-3, 10.0, exact=(1e-4, 2e-3), left=2e-3)]).problems(bounds) != []


@pytest.mark.parametrize(
    ("times", "lost", "explains"), [(1.5, 0, True), (4.0, 0, False), (1.5, 1, False)], ids=["near", "far", "lost"]
)
def test_boxes_are_compared_with_those_of_float64(
    monkeypatch: pytest.MonkeyPatch, times: float, lost: int, explains: bool
) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (1, 6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 100, (1, 6, 2))], 2)
    off, score = rng.uniform(-0.004, 0.004, boxes.shape), np.full((1, 6), 0.5)

    def answers(error: float) -> dict:
        return {"boxes": boxes + error * off, "scores": score + error * 4e-5, "labels": np.arange(6)[None]}

    wanted, mine, theirs = answers(0), answers(1), answers(-times)
    theirs = {name: one[:, lost:] for name, one in theirs.items()} | {"given": np.zeros((1, 300, 300, 3))}
    monkeypatch.setattr(rounding, "reference", lambda *given: Reference(wanted, LabelMap(torch.zeros(1, 1)), 0))
    bounds = BOUNDS["float32"]
    pair = compared(mine, theirs, bounds)
    assert pair.boxes is not None
    assert pair.boxes > bounds.boxes
    found = rounding.explained_boxes(tiny_unet(), Path(), mine, theirs, pair)
    assert (not found.problems(bounds)) == explains
    assert (found.left_boxes == 0) == (times < 2)
    assert (not total([found, found]).problems(bounds)) == explains
    if not explains and not lost:
        assert "in float64 the model's are" in " ".join(found.problems(bounds))

"""A detector's exported file behind `predict`: its limits are inside, so that some can be asked for and some are refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_detectors import noise, tiny_detector
from tiny_export import tiny_unet

from toolkit.contracts import TRANSFORMS
from toolkit.errors import CheckpointError, ConfigError
from toolkit.export.detector import DetectorGraph
from toolkit.export.engine_model import EngineModel
from toolkit.export.graph import Cut, ExportGraph
from toolkit.export.metadata import EXPORT
from toolkit.export.programs import Run, more_of
from toolkit.inference.several_looks import several_looks
from toolkit.inference.tiling.boxes import TiledBoxes, unlimited
from toolkit.models.monte_carlo import seeded_monte_carlo
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Detections, LabelMap


class GraphRun(Run):
    """A graph in the place of an engine that runs its file."""

    engine = "graph"

    def __init__(self, graph: ExportGraph, **notes: Any) -> None:
        super().__init__(Path("model.onnx"))
        self.graph = graph.eval()
        more = ["sizes", "file_sizes"] if isinstance(graph, DetectorGraph) else []
        self.metadata = {EXPORT: {"input": {"name": graph.input_name}, "more_inputs": more, **notes}}

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        more = more_of(given, files)[: len(self.metadata[EXPORT]["more_inputs"])]
        with torch.no_grad():
            found = self.graph(torch.from_numpy(given), *map(torch.from_numpy, more))
        return {name: value.numpy() for name, value in zip(self.graph.names, found, strict=True)}


def file_of(style: str, cut: Cut | None = None) -> EngineModel:
    return EngineModel(tiny_detector(style), GraphRun(DetectorGraph(tiny_detector(style), cut=cut)))


def answers(model: VisionModel, batch: Batch) -> list[Detections]:
    return [one for one in model.predict(batch) if isinstance(one, Detections)]


def same(mine: list[Detections], theirs: list[Detections]) -> int:
    for one, other in zip(mine, theirs, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-5)
    return sum(len(one.scores) for one in mine)


@pytest.mark.parametrize("style", ["fpn", "2015"])
def test_a_file_answers_in_the_pixels_of_files_and_each_picture_as_if_it_were_alone(style: str) -> None:
    alone = [noise([size]) for size in ((64, 96), (50, 41))]
    model, file = tiny_detector(style), file_of(style)
    assert sum(same(answers(model, batch), answers(file, batch)) for batch in alone) > 0


def test_fewer_boxes_are_the_best_of_the_file() -> None:
    model, file, batch = tiny_detector("fpn"), file_of("fpn"), noise([(64, 96)])
    for one in (model, file):
        one.head.limit_detections(score=0.1, count=3)
    assert same(answers(model, batch), answers(file, batch)) == 3


def test_what_is_inside_cannot_be_changed() -> None:
    file = file_of("fpn")
    with pytest.raises(ConfigError, match=r"--score: .* below the file's own") as refused:
        file.head.limit_detections(score=0.01, nms_iou=0.3)
    assert [problem.where for problem in refused.value.problems] == ["--score", "--iou"]
    assert "model.head.test.nms_iou=0.3" in str(refused.value)
    file.head.limit_detections(score=0.05, nms_iou=0.5)


def test_a_limit_that_cuts_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_detector("fpn")
    model.head.test = replace(model.head.test, per_image=4)
    own = tiny_detector("fpn")
    own.head.test = model.head.test
    file = EngineModel(own, GraphRun(DetectorGraph(model)))
    with caplog.at_level(logging.WARNING):
        answers(file, noise([(64, 96)]))
        assert not caplog.records
        with unlimited(file.head):
            assert len(answers(file, noise([(64, 96)]))[0].scores) == 4
            answers(file, noise([(64, 96)]))
    assert len(caplog.records) == 1
    assert "per_image" in caplog.text


def test_thresholds_inside_do_not_cut_what_is_measured() -> None:
    batch = noise([(64, 96)])
    cut = Cut((0.9,) * 5)
    assert same(answers(tiny_detector("fpn"), batch), answers(file_of("fpn", cut), batch)) > 0


def test_looks_merge_as_those_of_the_checkpoint() -> None:
    model, file, batch = tiny_detector("fpn"), file_of("fpn"), noise([(64, 96)])
    looks = [several_looks(one, 2, (1.0, 1.25))(batch) for one in (model, file)]
    assert same(*looks) > 0  # type: ignore[arg-type]


def test_a_file_that_resizes_refuses_parts_of_a_picture() -> None:
    model, own = tiny_detector("fpn"), tiny_detector("fpn")
    model.transforms = own.transforms = (TRANSFORMS.find("resize")(height=64, width=96),)
    file = EngineModel(own, GraphRun(DetectorGraph(model)))
    assert answers(file, noise([(64, 96)]))
    with pytest.raises(ConfigError, match="resizes all it is shown to 64x96"):
        file.predict(noise([(50, 41)]))


def test_a_file_for_one_size_refuses_another() -> None:
    run = GraphRun(DetectorGraph(tiny_detector("fpn")))
    run.metadata[EXPORT]["input"] |= {"height": 64, "width": 96}
    file = EngineModel(tiny_detector("fpn"), run)
    assert answers(file, noise([(64, 96)]))
    with pytest.raises(ConfigError, match="is for pictures of 64x96"):
        file.predict(noise([(50, 41)]))


@pytest.mark.parametrize(
    ("make", "graph", "looks", "name"),
    [
        (tiny_unet, ExportGraph, several_looks, "labels"),
        (lambda: tiny_detector("fpn"), DetectorGraph, TiledBoxes, "scores"),
    ],
    ids=["pixels", "boxes"],
)
def test_a_file_for_one_size_is_never_shown_a_smaller_picture(make: Any, graph: Any, looks: Any, name: str) -> None:
    """Not to see how much memory tiles take either."""
    size, model = (260, 288), make()
    run = GraphRun(graph(make()))
    run.metadata[EXPORT]["input"] |= {"height": size[0], "width": size[1]}
    batch = noise([size], [size])
    (wanted,), (found,) = model.predict(batch), looks(EngineModel(make(), run))(batch)
    assert (getattr(wanted, name) == getattr(found, name)).float().mean() >= 0.999


@pytest.mark.parametrize("mirrorings", [1, 2])
def test_a_file_for_one_size_pads_itself_what_looks_pad(mirrorings: int) -> None:
    """Of the mirror image of a picture that is padded at its right the padding is on the left: that cannot be shown to it."""
    size, model = (37, 40), tiny_unet()
    run = GraphRun(ExportGraph(tiny_unet()))
    run.metadata[EXPORT]["input"] |= {"height": size[0], "width": size[1]}
    batch, file = noise([size], [size]), EngineModel(tiny_unet(), run)
    (wanted,), (found,) = (several_looks(one, mirrorings=mirrorings)(batch) for one in (model, file))
    assert (wanted.labels == found.labels).float().mean() >= 0.999
    run.metadata[EXPORT]["input"] |= {"height": 40, "width": 37}
    wide = noise([(40, 37)], [(40, 37)])
    if mirrorings == 2:
        with pytest.raises(ConfigError, match="is for pictures of 40x37"):
            several_looks(file, mirrorings=2)(wide)


def test_an_engine_that_fails_is_told_in_a_line() -> None:
    run = GraphRun(ExportGraph(tiny_unet()))
    run.graph = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="graph cannot run it for 1x32x40x3 uint8"):
        EngineModel(tiny_unet(), run).predict(noise([(32, 40)], [(32, 40)]))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_mean_of_samples_is_that_of_predict(padding: str) -> None:
    model, batch = tiny_unet(padding), noise([(37, 51)], [(37, 51)])
    model.head.with_scores = True
    file = EngineModel(tiny_unet(padding), GraphRun(ExportGraph(tiny_unet(padding), samples=3), samples=3))
    (mine,), (theirs,) = seeded_monte_carlo(model, batch, 3), file.predict(batch)
    assert isinstance(mine, LabelMap)
    assert isinstance(theirs, LabelMap)
    assert mine.uncertainty is not None
    assert float(mine.uncertainty.max()) > 1e-4
    torch.testing.assert_close(theirs.uncertainty, mine.uncertainty, rtol=0, atol=1e-6)
    torch.testing.assert_close(theirs.scores, mine.scores, rtol=0, atol=1e-6)
    assert (theirs.labels == mine.labels).all()
    graph = GraphRun(ExportGraph(tiny_unet(padding), samples=3))
    inside = graph(batch.images.permute(0, 2, 3, 1).contiguous().numpy())
    np.testing.assert_allclose(inside["scores"][0], mine.scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(inside["uncertainty"][0], mine.uncertainty, rtol=0, atol=1e-6)
    assert (inside["labels"][0] == mine.labels.numpy()).mean() >= 0.999


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_file_of_whole_pictures_refuses_tiles(padding: str) -> None:
    samples = 2 if padding == "same" else 1
    run = GraphRun(ExportGraph(tiny_unet(padding), samples=samples), samples=samples)
    file = EngineModel(tiny_unet(padding), run)
    with pytest.raises(ConfigError, match="answers for whole pictures"):
        several_looks(file, 1, tile=64)(noise([(97, 131)], [(97, 131)]))

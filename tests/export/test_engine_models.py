"""A model whose forward pass is handed over answers as itself, whatever its head is and whatever is asked of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_detectors import noise, tiny_detector
from tiny_export import tiny_image, tiny_segnet, tiny_unet

from toolkit.errors import ConfigError, UserError
from toolkit.export.comparison import BOUNDS
from toolkit.export.engine_model import EngineModel
from toolkit.export.engines import Bf16Pass, TorchPass, run_of
from toolkit.export.graph import PICTURES, RAW, ExportGraph
from toolkit.export.metadata import EXPORT
from toolkit.export.programs import Run
from toolkit.inference.several_looks import several_looks
from toolkit.inference.tiling.boxes import TiledBoxes
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections, Sample, collate


def handed_over(model: VisionModel) -> EngineModel:
    other = copy.deepcopy(model)
    return EngineModel(other, TorchPass(other, "torch"))


class Pictures(Run):
    """Stands for an exported file: bytes of pictures in, answers out."""

    engine = "graph"

    def __init__(self, model: VisionModel) -> None:
        super().__init__(Path())
        self.graph = ExportGraph(model)
        self.metadata = {EXPORT: {"input": {"name": PICTURES}, "outputs": [RAW]}}

    def __call__(self, given: np.ndarray, files: np.ndarray | None = None) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = self.graph(torch.from_numpy(given))
        return {name: one.numpy() for name, one in zip(self.graph.names, found, strict=True)}


@pytest.mark.parametrize(
    "options",
    [
        {"mirrorings": 2},
        *(pytest.param(one, marks=pytest.mark.slow) for one in ({"scales": (1.0, 0.75)}, {"tile": 96})),
    ],
    ids=["mirror images", "other sizes", "tiles"],
)
def test_a_file_that_takes_bytes_is_looked_at_more_than_once(options: dict[str, Any]) -> None:
    model = tiny_unet()
    file = EngineModel(tiny_unet(), Pictures(tiny_unet()))
    picture = np.random.default_rng(0).integers(0, 256, (150, 130, 3), np.uint8)
    batch = collate([Sample(picture, "a", 0, picture.shape[:2])])
    (wanted,), (found,) = (several_looks(one, **options)(batch) for one in (model, file))
    assert (wanted.numpy() == found.numpy()).mean() >= 0.999


@pytest.mark.parametrize("style", ["fpn", "2015"])
def test_a_detector_answers_as_itself_whole_in_tiles_and_with_other_limits(style: str) -> None:
    model = tiny_detector(style)
    other, batch = handed_over(model), noise([(64, 96), (50, 41)])
    with torch.inference_mode():
        assert same(model.predict(batch), other.predict(batch)) > 0
        for one in (model, other):
            one.head.limit_detections(count=3)
        assert same(model.predict(batch), other.predict(batch)) <= 6
        single = noise([(160, 200)])
        assert same(TiledBoxes(model, 128, 32)(single), TiledBoxes(other, 128, 32)(single)) > 0


def same(wanted: list, found: list) -> int:
    for mine, theirs in zip(wanted, found, strict=True):
        assert isinstance(mine, Detections)
        assert torch.equal(mine.labels, theirs.labels)
        torch.testing.assert_close(mine.boxes, theirs.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(mine.scores, theirs.scores, rtol=0, atol=1e-5)
    return sum(len(one.scores) for one in found)


@pytest.mark.parametrize("make", [tiny_image, tiny_unet])
def test_other_heads_answer_as_themselves(make: object) -> None:
    model = make()  # type: ignore[operator]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (37, 51, model.in_channels), np.uint8) for _ in range(2)]
    batch = collate([Sample(one, str(place), place, (37, 51)) for place, one in enumerate(pictures)])
    for mine, theirs in zip(model.predict(batch), handed_over(model).predict(batch), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=0, atol=1e-6)


def test_a_decoder_in_bfloat16_answers_within_the_bounds_of_half_precision(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_segnet()
    batch = noise([(64, 96)])
    with torch.inference_mode(), caplog.at_level("INFO"):
        wanted = model(batch.images)
        run = run_of(model, "bf16")
        found = torch.from_numpy(run(model.entering(batch.images).numpy())[RAW])
    apart = float((found - wanted).abs().max() / wanted.std())
    assert 0 < apart <= BOUNDS["half"].logit
    assert "engine bf16: logits differ from float32's by up to" in caplog.text
    assert next(model.neck.parameters()).dtype == torch.float32


def test_a_decoder_beyond_these_bounds_is_refused_and_other_nets_have_none() -> None:
    model = tiny_segnet()
    run = Bf16Pass(model)
    run.graph.model.neck.neck.stages[-1].register_forward_hook(lambda *given: given[2] * 1.5)
    with pytest.raises(UserError, match="bf16 answers otherwise than float32"), torch.inference_mode():
        run(model.entering(noise([(64, 96)]).images).numpy())
    with pytest.raises(ConfigError, match="which this one does not"):
        run_of(tiny_unet(), "bf16")

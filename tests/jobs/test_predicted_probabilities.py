"""Probabilities and uncertainty of a job: of one pass, in tiles, of several looks, of Monte-Carlo samples; in Python too."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from prediction_jobs import dense_model, detector, picture_folder, restored
from scipy import stats

import toolkit
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.errors import ConfigError
from toolkit.heads.pixel import PixelHead
from toolkit.inference.shares import Share
from toolkit.jobs.merge import merge_shares
from toolkit.jobs.predict import run_prediction
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import LabelMap

FORMATS = ["mask", "probabilities", "uncertainty", "heat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("in"), 3, damaged=False)


def bayesian(samples: int) -> VisionModel:
    torch.manual_seed(0)
    backbone = UNetEncoder(3, 4, 2, "same")
    neck = SkipNeck(backbone.spec)
    head = PixelHead(neck.spec, 3, dropout=0.5)
    return VisionModel(backbone, neck, head, ["a", "b", "c"], samples=samples).eval()


def read(out: Path, stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, bits and labels of the files of a picture."""
    with np.load(out / f"{stem}_probabilities.npz") as stored:
        found = stored["probabilities"].astype(np.float64)
    bits = np.asarray(Image.open(out / f"{stem}_uncertainty.png")) / 8192
    return found, bits, np.asarray(Image.open(out / f"{stem}.png"))


@pytest.mark.parametrize(
    ("tile", "tta"),
    [
        (None, None),
        pytest.param(32, None, marks=pytest.mark.slow),
        pytest.param(None, "flips", marks=pytest.mark.slow),
        (32, "flips+scales"),
    ],
)
def test_they_sum_to_one_and_agree_with_labels_and_entropy(
    tile: int | None, tta: str | None, folder: Path, tmp_path: Path
) -> None:
    run_prediction(restored(dense_model()), [folder], tmp_path, FORMATS, tile=tile, tta=tta)
    for stem in ("day/p000", "night/p001", "day/p002"):
        found, bits, labels = read(tmp_path, stem)
        assert found.shape == (3, *labels.shape)
        np.testing.assert_allclose(found.sum(0), 1, atol=2e-3)
        np.testing.assert_allclose(bits, stats.entropy(found, base=2, axis=0), atol=5e-3)
        chosen = np.take_along_axis(found, labels[None].astype(int), 0)[0]
        assert (chosen >= found.max(0) - 1e-3).all()
        assert (tmp_path / f"{stem}_heat.jpg").is_file()


def test_of_one_pass_they_are_the_softmax_of_the_model(folder: Path) -> None:
    model = dense_model()
    (result,) = toolkit.Predictor(model, probabilities=True, uncertainty=True).stream(folder / "day/p000.png")
    assert isinstance(result.prediction, LabelMap)
    assert result.image is not None
    pixels = torch.from_numpy(result.image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model(pixels)[0].softmax(0)
    assert result.prediction.probabilities is not None
    assert result.prediction.entropy is not None
    assert result.prediction.mutual_information is None
    assert (result.prediction.probabilities.float() - expected).abs().max() < 1e-3
    plain = next(iter(toolkit.Predictor(dense_model()).stream(folder / "day/p000.png"))).prediction
    assert isinstance(plain, LabelMap)
    assert (plain.probabilities, plain.entropy) == (None, None)


def test_mutual_information_is_what_samples_disagree_about(folder: Path) -> None:
    samples = 6
    model = bayesian(samples)
    raw: list[torch.Tensor] = []
    model.head.register_forward_hook(lambda _module, _inputs, output: raw.append(output[0].double()))
    (result,) = toolkit.Predictor(model, probabilities=True, uncertainty=True).stream(folder / "day/p000.png")
    found = result.prediction
    assert isinstance(found, LabelMap)
    assert len(raw) == samples
    drawn = torch.stack(raw).softmax(1).numpy()
    total = stats.entropy(drawn.mean(0), base=2, axis=0)
    within = stats.entropy(drawn, base=2, axis=1).mean(0)
    assert found.probabilities is not None
    assert found.entropy is not None
    assert found.mutual_information is not None
    np.testing.assert_allclose(found.probabilities, drawn.mean(0), atol=1e-3)
    np.testing.assert_allclose(found.entropy, total, atol=1e-4)
    np.testing.assert_allclose(found.mutual_information, total - within, atol=1e-4)
    assert 0 < float(found.mutual_information.max()) <= math.log2(3)


def test_files_of_samples(folder: Path, tmp_path: Path) -> None:
    names = ["uncertainty", "information", "deviation"]
    run_prediction(restored(bayesian(3)), [folder], tmp_path / "out", names)
    assert len(list((tmp_path / "out").rglob("*_information.png"))) == 3
    for wrong in (["information"], ["mask", "deviation"]):
        with pytest.raises(ConfigError, match=r"this model predicts in one pass.*model\.samples above 1"):
            run_prediction(restored(dense_model()), [folder], tmp_path / "one", wrong)
    assert not (tmp_path / "one").exists()


def test_shares_are_one_run(folder: Path, tmp_path: Path) -> None:
    formats = [*FORMATS, "probabilities8", "geojson"]
    run_prediction(restored(dense_model()), [folder], tmp_path / "one", formats)
    for number in (1, 2):
        run_prediction(restored(dense_model()), [folder], tmp_path / "two", formats, share=Share(number, 2))
    merge_shares(tmp_path / "two")
    names = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_they_are_of_label_maps_and_columns_of_ray(folder: Path) -> None:
    with pytest.raises(ConfigError, match="this model gives no label maps"):
        list(toolkit.Predictor(detector(), probabilities=True).stream(folder / "day/p000.png"))
    found = toolkit.Predictor(dense_model(), probabilities=True)({"path": np.array([str(folder / "day/p000.png")])})
    assert found["probabilities"][0].shape[0] == 3
    assert "entropy" not in found

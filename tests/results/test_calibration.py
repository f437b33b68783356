"""Calibration error against torchmetrics, temperatures against scipy and planted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torchmetrics.functional.classification import binary_calibration_error

from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.calibration import calibration, calibration_error, fit_temperature
from toolkit.results.image_rows import ImageRow
from toolkit.results.record import Record
from toolkit.samples import LabelMap, Truth


@pytest.mark.parametrize("seed", range(5))
def test_the_error_is_that_of_torchmetrics(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, right = random.random(500), random.random(500) < 0.6
    other = binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(right.astype(int)), n_bins=15)
    assert calibration_error(scores, right) == pytest.approx(float(other), abs=1e-6)
    halves = np.concatenate([scores, scores])
    assert calibration_error(halves, np.concatenate([right, right]), np.full(1000, 0.5)) == pytest.approx(float(other))


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_most_likely_one(planted: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (4000, 5))
    labels = np.array([random.choice(5, p=row) for row in softmax(logits / planted, 1)])

    def loss(temperature: float) -> float:
        return -float(log_softmax(logits / temperature, 1)[np.arange(4000), labels].mean())

    found = fit_temperature(logits, labels)
    assert found == pytest.approx(
        minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x, rel=1e-4
    )
    assert found == pytest.approx(planted, rel=0.1)


def test_a_temperature_mends_the_scores_of_an_overconfident_map() -> None:
    random = np.random.default_rng(2)
    logit = np.abs(random.normal(0, 2, (50, 80)))
    right = random.random((50, 80)) < 1 / (1 + np.exp(-logit))
    scores = (1 / (1 + np.exp(-3 * logit))).astype(np.float32)  # three times too sure
    truth = random.integers(0, 2, (50, 80)).astype(np.uint8)
    answer = LabelMap(torch.from_numpy(np.where(right, truth, 1 - truth).astype(np.uint8)), torch.from_numpy(scores))
    rows = SemanticEvaluator(["sky", "car"]).rows([answer], [Truth("a.png", 0, (50, 80), truth)])
    about = {"task": "segmentation", "classes": ["sky", "car"]}
    section = calibration(Record.of([ImageRow("a.png", 0, (50, 80), rows[0])], about))
    assert section["what"] == "pixels"
    assert section["answers"] == 4000
    assert section["temperature"] == pytest.approx(3.0, rel=0.15)
    assert section["ece"] == pytest.approx(calibration_error(scores.reshape(-1), right.reshape(-1)), abs=2e-3)
    assert section["ece_after"] < section["ece"] / 3


def test_a_record_without_scores_has_no_calibration() -> None:
    assert calibration(Record.of([], {"task": "segmentation", "classes": []})) == {}

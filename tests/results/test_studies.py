"""Intervals and curves of a study against scipy, and how often they hold the truth in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from toolkit.results.studies import learning_curve, mean_interval


def test_the_interval_of_independent_runs_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.05, 7)
    found = mean_interval([*values.tolist(), None])
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert found["groups"] == 7


def test_folds_widen_it_and_one_run_has_none() -> None:
    values = [0.5, 0.55, 0.62, 0.58, 0.51]
    plain, folds = mean_interval(values), mean_interval(values, held_out=0.25)
    ratio = (folds["high"] - folds["low"]) / (plain["high"] - plain["low"])
    assert ratio == pytest.approx(np.sqrt(1 + 5 * 0.25))
    one = mean_interval([0.5])
    assert (one["value"], one["low"]) == (0.5, None)
    assert one["why"]
    assert mean_interval([0.01, 0.3])["low"] == 0.0  # a fraction ends there


def test_an_exact_power_law_is_found_and_continued() -> None:
    images = [100, 200, 400]
    values = [1 - 2 * n**-0.4 for n in images]
    found = learning_curve(images, values)
    assert found["doubling"]["value"] == pytest.approx(2 * 400**-0.4 - 2 * 800**-0.4)
    assert [row["images"] for row in found["band"]] == [100, 200, 400, 800]
    assert found["band"][-1]["value"] == pytest.approx(1 - 2 * 800**-0.4)


def test_the_slope_and_its_interval_are_scipys() -> None:
    rng = np.random.default_rng(1)
    images = np.repeat([50, 100, 200], 3)
    errors = 3 * images**-0.5 * np.exp(rng.normal(0, 0.05, 9))
    found = learning_curve(images.tolist(), errors.tolist(), larger_is_better=False, fraction=False)
    fit = stats.linregress(np.log2(images), np.log(errors))
    fitted = np.exp(fit.intercept + fit.slope * np.log2(200))
    ends = [fit.slope + sign * stats.t.ppf(0.975, 7) * fit.stderr for sign in (-1, 1)]
    gain = found["doubling"]
    assert gain["value"] == pytest.approx(fitted * (np.exp(fit.slope) - 1))
    assert sorted([gain["low"], gain["high"]]) == pytest.approx(sorted(fitted * (np.exp(end) - 1) for end in ends))
    assert gain["low"] < gain["value"] < gain["high"]


def test_the_band_holds_the_line_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    images, held = np.repeat([64, 128, 256], 2), 0
    for _ in range(400):
        errors = 0.9 * images**-0.3 * np.exp(rng.normal(0, 0.1, 6))
        row = learning_curve(images.tolist(), (1 - errors).tolist())["band"][1]
        held += row["low"] <= 1 - 0.9 * 128**-0.3 <= row["high"]
    assert 0.91 < held / 400 < 0.985


def test_what_cannot_be_fitted_says_why() -> None:
    assert "why" in learning_curve([10, 10], [0.5, 0.6])
    assert "why" in learning_curve([10, 20], [0.5, 1.0])
    two = learning_curve([10, 20], [0.5, 0.6])
    assert two["doubling"]["low"] is None
    assert two["doubling"]["value"] > 0

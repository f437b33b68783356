"""When there is an interval, what stands in its place, and what is drawn together."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import populations
import pytest

from toolkit.results.bootstrap import Numbers, draws, spread
from toolkit.results.comparison import NOISE, differences, holm
from toolkit.results.evaluator_numbers import EvaluatorNumbers
from toolkit.results.intervals import interval_said, interval_sections, numbers_of
from toolkit.results.pixel_numbers import PixelNumbers
from toolkit.results.record import Record


class Mean(Numbers):
    """The mean of one value a group."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(["mean"], len(values), fractions=False)
        self.of_groups = values

    def at(self, weights: np.ndarray) -> np.ndarray:
        return (weights @ self.of_groups / weights.sum(axis=1))[:, None]

    def support(self) -> np.ndarray:
        return np.array([self.groups])


def record_of(images: int, names: list[str] | None = None, groups: list[str] | None = None) -> Record:
    rng = np.random.default_rng(images)
    truths = populations.label_maps(rng, images)
    made = populations.record(truths, populations.answers(rng, truths, populations.skills(rng, images)))
    own = tuple(names or made.images)
    return Record(made.about, own, made.image_ids, made.sizes, tuple(groups or own), arrays=made.arrays)


def test_a_mean_of_normal_values_has_the_interval_of_students_test() -> None:
    from scipy import stats

    values = np.random.default_rng(0).normal(3, 2, 200)
    found = spread(Mean(values)).intervals()["mean"]
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.02 * (expected[1] - expected[0]))


def test_resamples_are_draws_of_as_many_groups_whatever_the_tables_size(monkeypatch) -> None:
    whole = np.concatenate(list(draws(7, 50)))
    assert (whole.sum(axis=1) == 7).all()
    assert abs(whole.mean(axis=0) - 1).max() < 0.4
    monkeypatch.setattr("toolkit.results.bootstrap._WEIGHTS_AT_ONCE", 21)
    np.testing.assert_array_equal(np.concatenate(list(draws(7, 50))), whole)


@pytest.mark.parametrize(("images", "said"), [(1, "1 independent group"), (7, "7 independent groups"), (8, "")])
def test_below_eight_groups_there_is_no_interval_but_a_sentence(images: int, said: str) -> None:
    found = interval_sections(record_of(images))["intervals"]["mIoU"]
    assert found["groups"] == images
    assert (found["low"] is None) == (found["high"] is None) == bool(said)
    assert found.get("why", "") == (f"no interval: {said}" if said else "")


def test_a_class_that_few_groups_hold_has_no_interval() -> None:
    counts = np.full((30, 3, 2), 5)
    counts[:, 0] = np.random.default_rng(0).integers(1, 5, (30, 2))
    counts[4:, :, 1] = 0
    numbers = PixelNumbers(counts, np.arange(30), ["sky", "car"])
    found = spread(numbers).intervals()
    assert found["IoU/car"].why == "no interval: 4 independent groups of 30 hold it"
    assert found["IoU/sky"].low < found["IoU/sky"].value < found["IoU/sky"].high


def test_a_number_that_never_changes_has_no_interval() -> None:
    perfect = np.full((20, 3, 2), 5)
    found = spread(PixelNumbers(perfect, np.arange(20), ["sky", "car"])).intervals()["mIoU"]
    assert (found.value, found.low, found.why) == (1.0, None, "no interval: every resample gives the same")


def test_frames_of_one_clip_are_told_within_it_by_seconds() -> None:
    names = [f"0016E5_{number:05}.png" for number in range(7959, 8160, 2)]
    told = interval_sections(record_of(101, names, ["0016E5"] * 101), resamples=200)
    assert told["intervals"]["mIoU"]["why"] == "no interval: 1 independent group"
    assert told["within"]["blocks"] == 7
    assert "one second" in told["within"]["said"]
    inside = told["within"]["intervals"]["mIoU"]
    assert inside["low"] < inside["value"] < inside["high"]


def test_how_sure_the_deciding_metric_is_stands_in_a_sentence() -> None:
    def said(made: Record) -> str:
        sections = interval_sections(made, resamples=100)
        metrics = {name: found["value"] for name, found in sections["intervals"].items()}
        return interval_said(
            replace(made, about={**made.about, "metric": "mIoU"}).with_numbers(metrics=metrics, **sections)
        )

    assert re.fullmatch(
        r"mIoU [\d.]+, 95 % interval [\d.]+ to [\d.]+, by drawing the 20 images again", said(record_of(20))
    )
    grouped = said(record_of(20, groups=[str(number // 2) for number in range(20)]))
    assert grouped.endswith("by drawing the 10 groups of the 20 images again")
    few = said(record_of(5, [f"{number}.png" for number in range(5)]))
    assert re.match(
        r"mIoU [\d.]+, no interval: 5 independent groups; [\d.]+ to [\d.]+ within the series, by 5 folds", few
    )


def test_sections_of_one_stack_are_told_by_folds_of_neighbours() -> None:
    names = [f"images/{number:02}.png" for number in (5, 12, 20, 27)]
    told = interval_sections(record_of(4, names), resamples=200)
    assert told["intervals"]["mIoU"]["why"] == "no interval: 4 independent groups"
    assert told["within"]["blocks"] == 4
    assert "folds of neighbouring images" in told["within"]["said"]


def test_the_quick_way_and_evaluating_again_give_the_same() -> None:
    record = record_of(9)
    quick = numbers_of(record)
    slow = EvaluatorNumbers(lambda: populations.SemanticEvaluator(populations.NAMES), record.arrays, np.arange(9))
    (weights,) = draws(9, 5)
    assert sorted(slow.names) == sorted(quick.names)
    order = [quick.names.index(name) for name in slow.names]
    np.testing.assert_allclose(slow.at(weights), quick.at(weights)[:, order], atol=1e-12)
    np.testing.assert_array_equal(slow.support(), quick.support()[order])


def test_holm_adjusts_like_statsmodels() -> None:
    """Values of `multipletests(..., method="holm")` of statsmodels 0.14."""
    assert holm([0.001, 0.04, 0.03, 0.005]) == pytest.approx([0.004, 0.06, 0.06, 0.015])


def test_a_prediction_beside_itself_is_within_noise() -> None:
    numbers = numbers_of(record_of(20))
    found = differences([numbers, numbers], resamples=100)
    assert {one.verdict for one in found} == {NOISE}
    assert {one.why for one in found} == {"no interval: every resample gives the same"}


def test_what_is_better_is_named_by_the_sign_and_the_kind_of_metric() -> None:
    rng = np.random.default_rng(0)

    def named(metric: str, shift: float) -> Numbers:
        numbers = Mean(base + shift + rng.normal(0, 0.01, 30))
        numbers.names = (metric,)
        return numbers

    base = rng.normal(1, 0.3, 30)
    for metric, expected in (("mIoU", "better"), ("RMSE", "worse")):
        (found,) = differences([named(metric, 0), named(metric, 0.05)])
        assert (found.verdict, found.pair) == (expected, (0, 1))
        assert found.low < 0.05 < found.high
        (found,) = differences([named(metric, 0.05), named(metric, 0)])
        assert found.verdict == {"better": "worse", "worse": "better"}[expected]

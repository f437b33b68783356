"""95 % intervals hold the true number in about 95 of 100 samples, verdicts are right as often as they say.

The pictures of a population are counted once by the evaluator; a sample is the record of some of them, drawn at random,
and the true number is that of the whole population.
"""

from __future__ import annotations

import numpy as np
import populations
import pytest

from toolkit.results.bootstrap import draws
from toolkit.results.comparison import NOISE, Difference, differences
from toolkit.results.intervals import interval_sections, numbers_of
from toolkit.results.record import Record

RESAMPLES = 400
SETS = [pytest.param(200, 0.04), pytest.param(1000, 0.0, marks=pytest.mark.slow)]
"""How many samples, and how much farther from 95 % their share may be than that of 1,000."""


@pytest.fixture(scope="module")
def population() -> Record:
    rng = np.random.default_rng(0)
    truths = populations.label_maps(rng, 1500)
    return populations.record(truths, populations.answers(rng, truths, populations.skills(rng, 1500)))


def truth_of(record: Record) -> dict[str, float]:
    numbers = numbers_of(record)
    return dict(zip(numbers.names, numbers.values().tolist(), strict=True))


def held(record: Record, truth: dict[str, float]) -> np.ndarray:
    """Which intervals hold the true number, in the order of `truth`."""
    found = interval_sections(record, resamples=RESAMPLES)["intervals"]
    return np.array([found[name]["low"] <= value <= found[name]["high"] for name, value in truth.items()])


def by_percentiles(record: Record, truth: dict[str, float]) -> bool:
    numbers = numbers_of(record)
    drawn = np.concatenate([numbers.at(weights)[:, 0] for weights in draws(numbers.groups, RESAMPLES)])
    return bool(np.quantile(drawn, 0.025) <= truth["mIoU"] <= np.quantile(drawn, 0.975))


@pytest.mark.parametrize(("sets", "slack"), SETS)
@pytest.mark.parametrize("images", [15, pytest.param(40, marks=pytest.mark.slow)])
def test_intervals_hold_the_truth_of_independent_images(population, images, sets, slack) -> None:
    truth, rng = truth_of(population), np.random.default_rng(images)
    share = np.mean(
        [held(population.take(rng.integers(0, len(population), images)), truth) for _ in range(sets)], axis=0
    )
    by_name = dict(zip(truth, share.tolist(), strict=True))
    assert 0.93 - slack <= by_name["mIoU"] <= 0.97 + slack, by_name
    assert min(share) >= 0.92 - slack, by_name
    assert max(share) <= 0.98 + slack, by_name


def test_percentiles_of_the_resamples_are_too_narrow(population) -> None:
    """Why intervals are not simply these."""
    truth, rng = truth_of(population), np.random.default_rng(15)
    assert np.mean([by_percentiles(population.take(rng.integers(0, 1500, 15)), truth) for _ in range(300)]) < 0.925


@pytest.fixture(scope="module")
def clusters() -> Record:
    """200 clips of 8 frames; a clip's frames are alike in what they show and in how well it is known."""
    rng = np.random.default_rng(1)
    skill = np.repeat(populations.skills(rng, 200, strength=5.0), 8, axis=0)
    truths = populations.label_maps(rng, 1600)
    return populations.record(truths, populations.answers(rng, truths, skill))


@pytest.mark.parametrize(("sets", "slack"), SETS)
def test_groups_hold_the_truth_where_single_images_fail(clusters, sets, slack) -> None:
    truth, rng = truth_of(clusters), np.random.default_rng(2)
    grouped, naive = [], []
    for _ in range(sets):
        clips = rng.integers(0, 200, 24)
        frames = clusters.take((clips[:, None] * 8 + np.arange(8)).ravel())
        names = tuple(f"clip {number // 8}" for number in range(len(frames)))
        together = Record(frames.about, frames.images, frames.image_ids, frames.sizes, names, arrays=frames.arrays)
        apart = Record(frames.about, frames.images, frames.image_ids, frames.sizes,
                       tuple(map(str, range(len(frames)))), arrays=frames.arrays)  # fmt: skip
        grouped.append(held(together, truth)[0])
        naive.append(held(apart, truth)[0])
    assert np.mean(grouped) >= 0.92 - slack
    assert np.mean(naive) < 0.75


def compared(a: Record, b: Record) -> Difference:
    return differences([numbers_of(a), numbers_of(b)], resamples=RESAMPLES, metrics=["mIoU"])[0]


@pytest.fixture(scope="module")
def rivals() -> tuple[Record, Record, Record]:
    """Three predictions of 1500 images: two as good as one another, and one that is 3 points of mIoU better."""
    rng = np.random.default_rng(3)
    truths = populations.label_maps(rng, 1500)
    skill = populations.skills(rng, 1500)
    found = [populations.answers(rng, truths, skill) for _ in range(2)]
    better = populations.answers(rng, truths, skill + 0.12 * (1 - skill))
    a, b, c = (populations.record(truths, maps) for maps in (*found, better))
    return a, b, c


@pytest.mark.parametrize(("pairs", "fewest"), [(100, 93), pytest.param(1000, 930, marks=pytest.mark.slow)])
def test_exchangeable_predictors_are_within_noise(rivals, pairs, fewest) -> None:
    rng = np.random.default_rng(4)
    two, same = both(rivals), 0
    for _ in range(pairs):
        chosen = rng.integers(0, 1500, 30)
        swapped = rng.random(30) < 0.5
        places = np.where(swapped, chosen + 1500, chosen), np.where(swapped, chosen, chosen + 1500)
        a, b = (two.take(place) for place in places)
        same += compared(a, b).verdict == NOISE
    assert same >= fewest


def both(rivals: tuple[Record, Record, Record]) -> Record:
    """The first two predictions one after the other."""
    a, b, _ = rivals
    arrays = {name: np.concatenate([a.arrays[name], b.arrays[name]]) for name in a.arrays}
    return Record(a.about, a.images * 2, np.arange(2 * len(a)), np.tile(a.sizes, (2, 1)),
                  tuple(map(str, range(2 * len(a)))), arrays=arrays)  # fmt: skip


@pytest.mark.parametrize(("pairs", "fewest"), [(100, 95), pytest.param(1000, 950, marks=pytest.mark.slow)])
def test_three_points_more_are_found_on_eighty_images(rivals, pairs, fewest) -> None:
    """n = 80 images; the two predictions' mIoUs of an image correlate by 0.85."""
    rng = np.random.default_rng(5)
    a, _, c = rivals
    planted = truth_of(c)["mIoU"] - truth_of(a)["mIoU"]
    assert 0.028 < planted < 0.032
    of_image = [numbers_of(record).alone()[:, 0] for record in (a, c)]
    assert 0.8 < np.corrcoef(*of_image)[0, 1] < 0.9
    found = 0
    for _ in range(pairs):
        chosen = rng.integers(0, 1500, 80)
        found += compared(a.take(chosen), c.take(chosen)).verdict == "better"
    assert found >= fewest

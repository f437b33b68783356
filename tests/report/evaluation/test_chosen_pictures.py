from __future__ import annotations

import numpy as np
import pytest

from toolkit.report.evaluation.choice import choose, choose_changed


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 35, 36, 37, 500])
def test_every_image_is_chosen_once_and_the_extremes_are_among_them(count: int) -> None:
    scores = np.random.default_rng(count).permutation(count).astype(float).tolist()
    chosen = choose(scores)
    places = [one.place for one in chosen]
    assert len(set(places)) == len(places) == min(count, 36) or count < 36
    if count:
        assert scores[places[0]] == 0
        assert scores[places[-1]] == count - 1 or count < 3
    parts = {part: [scores[one.place] for one in chosen if one.part == part] for part in ("worst", "median", "best")}
    if count >= 36:
        assert [len(values) for values in parts.values()] == [12, 12, 12]
        assert np.median(parts["median"]) == pytest.approx((count - 1) / 2, abs=1)
    assert max(parts["worst"], default=0) <= min(parts["best"], default=count)


def test_the_worst_of_each_class_is_shown_too() -> None:
    errors = np.zeros((100, 3), int)
    errors[50, 1], errors[20, 2] = 7, 1
    chosen = choose([float(place) for place in range(100)], errors, each=2)
    assert [one.place for one in chosen if one.part == "worst of a class"] == [20]  # 50 is a median one
    assert 50 in [one.place for one in chosen]


def test_what_did_not_change_is_not_shown() -> None:
    assert [one.place for one in choose_changed([0.0, 0.3, None, -0.1, -0.4])] == [4, 3, 1]

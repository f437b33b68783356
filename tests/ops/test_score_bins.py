"""Bins of scores: every pixel once, and counts from an edge on are those of the scores themselves."""

from __future__ import annotations

import numpy as np

from toolkit.ops.score_bins import SCORE_EDGES, bins_of, count_scores, dense_counts


def test_every_edge_belongs_to_its_own_bin_and_a_float_below_it_to_the_one_before() -> None:
    edges = SCORE_EDGES.astype(np.float32)
    assert (edges == SCORE_EDGES).all()
    assert bins_of(edges).tolist() == list(range(len(edges)))
    assert bins_of(np.nextafter(edges[1:], np.float32(0))).tolist() == list(range(len(edges) - 1))
    assert bins_of(np.array([1.0], np.float32)).tolist() == [len(edges) - 1]


def test_counts_from_an_edge_on_are_those_of_the_scores() -> None:
    random = np.random.default_rng(0)
    truth, answer = (random.integers(0, 4, (60, 70)).astype(np.uint8) for _ in range(2))
    truth[random.random(truth.shape) < 0.1] = answer[random.random(truth.shape) < 0.1] = 255
    scores = (1 - random.random((60, 70)) ** 4).astype(np.float32)
    counts = dense_counts(*count_scores(truth, answer, scores, 4), 4)
    counted = (truth != 255) & (answer != 255)
    for label in range(4):
        for place in (0, 100, 255, 262, 270):
            above = counted & (answer == label) & (scores >= np.float32(SCORE_EDGES[place]))
            assert counts[label, place:].sum(0).tolist() == [
                int((above & (truth != label)).sum()), int((above & (truth == label)).sum())
            ]  # fmt: skip

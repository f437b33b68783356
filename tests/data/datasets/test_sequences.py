"""Synthetic sequences: what each asks, and that less of the past does not answer it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.data.datasets.sequences import SyntheticSequences
from toolkit.data.shapes.sequences import GLIDES, automaton, glide, parity
from toolkit.errors import ConfigError, DataError
from toolkit.samples import IGNORE_INDEX


def test_parity_compares_with_the_bit_of_long_ago_and_one_bit_alone_tells_nothing() -> None:
    made = parity(np.random.default_rng(0), rows=40, steps=200, delay=30)
    assert made.label_map is not None
    bits = made.image[:, :, 0] > 128
    assert (made.label_map[:, :30] == IGNORE_INDEX).all()
    labels = made.label_map[:, 30:]
    np.testing.assert_array_equal(labels, bits[:, 30:] ^ bits[:, :-30])
    for alone in (bits[:, 30:], bits[:, :-30], bits[:, 29:-1]):
        assert abs((labels == alone).mean() - 0.5) < 0.03  # 6,800 steps: five standard deviations


def test_every_row_of_an_automaton_follows_from_the_one_above() -> None:
    made = automaton(np.random.default_rng(1), rows=12, steps=20)
    bits = np.pad((made.image[:, :, 0] > 128).astype(int), ((0, 0), (1, 1)))
    rule = np.array([30 >> code & 1 for code in range(8)])  # Wolfram's numbering: bit 4l + 2c + r of 30
    code = 4 * bits[:-1, :-2] + 2 * bits[:-1, 1:-1] + bits[:-1, 2:]
    np.testing.assert_array_equal(bits[1:, 1:-1], rule[code])
    assert made.label_map is not None
    np.testing.assert_array_equal(made.label_map[1:], bits[1:, 1:-1])


def test_how_often_a_band_sounds_tells_no_glide() -> None:
    drawn = [glide(np.random.default_rng(seed), 32) for seed in range(600)]
    loud = np.array([(one.image[0] > 128).sum(0) for one in drawn])
    labels = np.array([one.label for one in drawn])
    means = np.array([loud[labels == label].mean(0) for label in range(len(GLIDES))])
    assert np.ptp(means) < 0.5  # of about three steps a band


@pytest.mark.parametrize("task", ["parity", "automaton", "glides"])
def test_what_is_made_is_read_and_known_again(tmp_path: Path, task: str) -> None:
    arguments = {"task": task, "count_train": 3, "count_val": 2, "rows": 4, "steps": 50}
    made = SyntheticSequences(str(tmp_path / "s"), "train", **arguments)  # type: ignore[arg-type]
    again = SyntheticSequences(str(tmp_path / "s"), "train", make=False, **arguments)  # type: ignore[arg-type]
    assert len(made) == len(again) == 3
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.image.shape == ((1, 50, 3) if task == "glides" else (4, 50, 1))
    with pytest.raises(DataError, match="made with other parameters: seed 0"):
        SyntheticSequences(str(tmp_path / "s"), "val", seed=1, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="make: true makes it"):
        SyntheticSequences(str(tmp_path / "none"), "val", make=False, **arguments)  # type: ignore[arg-type]


def test_sequences_shorter_than_the_delay_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than the delay"):
        SyntheticSequences(str(tmp_path / "s"), "train", steps=40, delay=40)

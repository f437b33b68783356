from __future__ import annotations

from itertools import pairwise

import pytest

from toolkit.report.quantities import bytes_of, round_ticks, short


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (7, "7"), (999, "999"), (1000, "1 k"), (1049, "1.05 k"), (999_499, "999 k"), (999_500, "1 M"),
    (29_449_355, "29.4 M"), (106_712_432_640, "107 G"), (826e9, "826 G"), (1.5e12, "1.5 T"), (0.5, "0.5"),
])  # fmt: skip
def test_short(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(("number", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (117_797_420, "112 MiB"), (2**30, "1 GiB"),
    (1023.9 * 1024, "1 MiB"),
])  # fmt: skip
def test_bytes_of(number: float, text: str) -> None:
    assert bytes_of(number) == text


@pytest.mark.parametrize("high", [0.003, 1, 7, 13, 99, 100, 101, 2071, 5e9])
def test_ticks_are_round_inside_and_of_a_readable_number(high: float) -> None:
    ticks = round_ticks(0, high)
    assert 3 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] <= high * (1 + 1e-9)
    steps = {round(b - a, 12) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"

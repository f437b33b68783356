"""A package that is not needed looks absent for as long as somebody else is imported, and is found again afterwards."""

from __future__ import annotations

import importlib
import sys

import pytest

from toolkit.unneeded import without


def test_it_cannot_be_imported_within_and_can_be_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_one_that_is_there_already_stays() -> None:
    colorsys = importlib.import_module("colorsys")
    with without("colorsys"):
        assert importlib.import_module("colorsys") is colorsys
    assert sys.modules["colorsys"] is colorsys

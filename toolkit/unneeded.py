"""Packages that others import where they find them, and can do without: imports that take seconds and serve nothing here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """While a library is imported, a package looks as if it were not installed; one that is imported already stays.

    package: its top name.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # what Python's import statement takes for "not there"
    try:
        yield
    finally:
        del sys.modules[package]

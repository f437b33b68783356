"""Packages that only exports need, asked for by the line that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from toolkit.errors import ConfigError, Problem


def needed(*packages: str) -> None:
    """Raises ConfigError, with the pip line, when one of the packages is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigError(
            Problem("", f"{' and '.join(missing)} {verb} not installed", f"pip install {' '.join(missing)}")
        )

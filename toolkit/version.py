"""The version, apart so that `toolkit --version` reads nothing else, and those of other packages."""

from __future__ import annotations

__version__ = "0.1.0"


def package_version(package: str) -> str | None:
    """The version that pip has installed; None for a package that is not."""
    from importlib import metadata  # takes as long as a whole check of a config

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

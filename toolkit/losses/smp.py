"""The former class of five losses that have names of their own now; for Python code that still asks for it."""

from __future__ import annotations

from typing import Any

from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem

_LOSSES = ("dice", "focal", "jaccard", "lovasz", "tversky")


def SmpLoss(name: str, **options: Any) -> PixelLoss:  # noqa: N802 - it was a class
    """The registered loss of that name (`focal` ...) with its options. Raises ConfigError for any other name.

    >>> SmpLoss("lovasz", per_image=True).term_name
    'lovasz'
    """
    if name not in _LOSSES:
        raise ConfigError(Problem("loss", f"no such loss: '{name}'", f"known: {', '.join(_LOSSES)}"))
    return LOSSES.find(name)(**options)

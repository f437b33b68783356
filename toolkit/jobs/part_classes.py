"""From a part's name in a config to its class: here, and only here, a name is looked up when something is built."""

from __future__ import annotations

# Importing the folders registers what they define.
import toolkit.backbones
import toolkit.data.datasets
import toolkit.engine.optim
import toolkit.evaluators
import toolkit.heads
import toolkit.losses
import toolkit.necks  # noqa: F401
from toolkit.config.parts import own_class
from toolkit.config.sections import KINDS
from toolkit.contracts import REGISTRIES, TRANSFORMS
from toolkit.data.transforms.pipeline import transform_class


def part_class(kind: str, name: str) -> type:
    """The class of a registered name, of `module:Class`, or of an albumentations transform.

    Raises ConfigError, with near names, for one that is not there.
    """
    registry = REGISTRIES[KINDS[kind]]
    if ":" in name:
        return own_class(kind, name)
    return transform_class(name) if registry is TRANSFORMS else registry.find(name)

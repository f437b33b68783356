"""Dense prediction for people who have pictures and a question.

The names below are imported when they are first used, so that `import toolkit` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from toolkit.version import __version__

if TYPE_CHECKING:
    from toolkit.analysis.describe import describe
    from toolkit.config.load import load_config
    from toolkit.inference.folder import predict
    from toolkit.jobs.build import build_model
    from toolkit.jobs.restore import load_model
    from toolkit.models.vision_model import VisionModel

_HOMES = {
    "load_config": "toolkit.config.load",
    "build_model": "toolkit.jobs.build",
    "load_model": "toolkit.jobs.restore",
    "predict": "toolkit.inference.folder",
    "describe": "toolkit.analysis.describe",
    "VisionModel": "toolkit.models.vision_model",
}

__all__ = ["VisionModel", "__version__", "build_model", "describe", "load_config", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toolkit' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)

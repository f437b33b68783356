"""Dense prediction for people who have pictures and a question.

    model = toolkit.load_model("runs/mine")
    for result in toolkit.predict(model, "photos/"):
        result.prediction.draw(result.image)

`dir(toolkit)` shows everything that is offered here: the verbs of the command line, nets of one line, what travels
between the parts, the base classes of parts and the registries that know them by name. The names are imported when
they are first used, so that `import toolkit` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from toolkit.version import __version__

if TYPE_CHECKING:
    from toolkit.config.load import load_config
    from toolkit.contracts import (
        BACKBONES,
        DATASETS,
        EVALUATORS,
        HEADS,
        LOSSES,
        NECKS,
        OPTIMIZERS,
        SCHEDULES,
        TRANSFORMS,
        Backbone,
        Dataset,
        DenseHead,
        Evaluator,
        FeaturePyramid,
        Head,
        Neck,
        PixelLoss,
        PyramidSpec,
        Transform,
    )
    from toolkit.errors import UserError
    from toolkit.inference.folder import predict
    from toolkit.jobs.build import build_model
    from toolkit.jobs.predictor import Predictor
    from toolkit.jobs.restore import load_model
    from toolkit.jobs.verbs import check, describe, evaluate, train
    from toolkit.models.vision_model import VisionModel
    from toolkit.nets import classifier, dilated, faster_rcnn, segnet, segnet_basic, unet
    from toolkit.predictions import Detections, ImageScores, ImageValues, LabelMap, ValueMap
    from toolkit.samples import Batch, Boxes, Sample, Truth, collate

_HOMES = {
    "toolkit.config.load": ("load_config",),
    "toolkit.contracts": (
        "BACKBONES", "DATASETS", "EVALUATORS", "HEADS", "LOSSES", "NECKS", "OPTIMIZERS", "SCHEDULES", "TRANSFORMS",
        "Backbone", "Dataset", "DenseHead", "Evaluator", "FeaturePyramid", "Head", "Neck", "PixelLoss", "PyramidSpec",
        "Transform",
    ),
    "toolkit.errors": ("UserError",),
    "toolkit.inference.folder": ("predict",),
    "toolkit.jobs.build": ("build_model",),
    "toolkit.jobs.predictor": ("Predictor",),
    "toolkit.jobs.restore": ("load_model",),
    "toolkit.jobs.verbs": ("check", "describe", "evaluate", "train"),
    "toolkit.nets": ("classifier", "dilated", "faster_rcnn", "segnet", "segnet_basic", "unet"),
    "toolkit.models.vision_model": ("VisionModel",),
    "toolkit.predictions": ("Detections", "ImageScores", "ImageValues", "LabelMap", "ValueMap"),
    "toolkit.samples": ("Batch", "Boxes", "Sample", "Truth", "collate"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_REGISTERED_BY = {
    "BACKBONES": "toolkit.backbones", "DATASETS": "toolkit.data.datasets", "EVALUATORS": "toolkit.evaluators",
    "HEADS": "toolkit.heads", "LOSSES": "toolkit.losses", "NECKS": "toolkit.necks", "OPTIMIZERS": "toolkit.engine.optim",
    "SCHEDULES": "toolkit.engine.optim", "TRANSFORMS": "toolkit.data.transforms.pipeline",
}  # fmt: skip
"""What has to be imported before a registry knows the parts of this package."""

__all__ = [
    "BACKBONES", "DATASETS", "EVALUATORS", "HEADS", "LOSSES", "NECKS", "OPTIMIZERS", "SCHEDULES", "TRANSFORMS",
    "Backbone", "Batch", "Boxes", "Dataset", "DenseHead", "Detections", "Evaluator", "FeaturePyramid", "Head",
    "ImageScores", "ImageValues", "LabelMap", "Neck", "PixelLoss", "Predictor", "PyramidSpec", "Sample", "Transform", "Truth",
    "UserError", "ValueMap", "VisionModel", "__version__", "build_model", "check", "classifier", "collate", "describe",
    "dilated", "evaluate", "faster_rcnn", "load_config", "load_model", "predict", "segnet", "segnet_basic", "train",
    "unet",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'toolkit' has no attribute '{name}'")
    if name in _REGISTERED_BY:
        importlib.import_module(_REGISTERED_BY[name])
    found = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = found  # so that it is asked for once
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

"""What the parts promise one another: an image becomes a pyramid, the pyramid a better pyramid, the pyramid an answer.

Two kinds of truth. What a part *will* produce is known when it is constructed and sizes the next part: `PyramidSpec`.
What it *did* produce are tensors: `FeaturePyramid`. Neither knows which net is running.
"""

from __future__ import annotations

from typing import Any

from toolkit.contracts.data import (
    DATASETS,
    LEFT_OUT,
    TRANSFORMS,
    Dataset,
    Draw,
    MixingTransform,
    Skip,
    Subset,
    Transform,
)
from toolkit.contracts.dense import DenseHead, Part
from toolkit.contracts.parts import (
    BACKBONES,
    HEADS,
    NECKS,
    AnchorLayout,
    AnchorStyle,
    AnchorUnit,
    Backbone,
    ClassRows,
    DetectionLimits,
    DetectionTensors,
    Head,
    Neck,
    Suppress,
)
from toolkit.contracts.pyramids import (
    ANY_SIZE,
    IMAGENET_STATS,
    FeaturePyramid,
    PixelStats,
    PoolIndices,
    PyramidSpec,
    SizeRule,
)
from toolkit.contracts.training import (
    EVALUATORS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Evaluator,
    OptimizerRule,
    PixelLoss,
    Schedule,
)
from toolkit.registry import Registry

__all__ = [
    "ANY_SIZE",
    "BACKBONES",
    "DATASETS",
    "EVALUATORS",
    "HEADS",
    "IMAGENET_STATS",
    "LEFT_OUT",
    "LOSSES",
    "NECKS",
    "OPTIMIZERS",
    "REGISTRIES",
    "SCHEDULES",
    "TRANSFORMS",
    "AnchorLayout",
    "AnchorStyle",
    "AnchorUnit",
    "Backbone",
    "ClassRows",
    "Dataset",
    "DenseHead",
    "DetectionLimits",
    "DetectionTensors",
    "Draw",
    "Evaluator",
    "FeaturePyramid",
    "Head",
    "MixingTransform",
    "Neck",
    "OptimizerRule",
    "Part",
    "PixelLoss",
    "PixelStats",
    "PoolIndices",
    "PyramidSpec",
    "Schedule",
    "SizeRule",
    "Skip",
    "Subset",
    "Suppress",
    "Transform",
]

REGISTRIES: dict[str, Registry[Any]] = {
    "backbones": BACKBONES,
    "necks": NECKS,
    "heads": HEADS,
    "losses": LOSSES,
    "datasets": DATASETS,
    "transforms": TRANSFORMS,
    "evaluators": EVALUATORS,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
}

"""An anatomy written by hand: two levels down, one up with a skip and pooling indices, a classifier, an auxiliary."""

from __future__ import annotations

from toolkit.analysis.anatomy import (
    Anatomy,
    InferenceMemory,
    Kept,
    LayerRow,
    MapRow,
    Memory,
    Part,
    TrainingMemory,
)

_ROWS = (
    LayerRow(
        "backbone.conv1", "conv", "backbone", ((3, 16, 24),), (4, 16, 24), (3, 3), (1, 1), (1, 1), (1, 1),
        (3, 3), (3, 3), (1.0, 1.0), (0.0, 0.0), parameters=112, trainable=112, macs=41472, depth=1,
    ),
    LayerRow(
        "backbone.norm1", "batch norm", "backbone", ((4, 16, 24),), (4, 16, 24), receptive_field=(3, 3),
        receptive_field_min=(3, 3), jump=(1.0, 1.0), centre=(0.0, 0.0), parameters=8, trainable=8, depth=1,
        sources=("backbone.conv1",),
    ),
    LayerRow(
        "backbone.pool", "max pool", "backbone", ((4, 16, 24),), (4, 8, 12), (2, 2), (2, 2), (0, 0), (1, 1), (4, 4),
        (4, 4), (2.0, 2.0), (0.5, 0.5), depth=1, sources=("backbone.norm1",),
    ),
    LayerRow(
        "backbone.conv2", "conv", "backbone", ((4, 8, 12),), (8, 8, 12), (3, 3), (1, 1), (1, 1), (1, 1), (8, 8), (8, 8),
        (2.0, 2.0), (0.5, 0.5), parameters=296, trainable=0, macs=27648, depth=2, sources=("backbone.pool",),
    ),
    LayerRow(
        "neck.unpool", "unpool", "neck", ((8, 8, 12),), (8, 16, 24), receptive_field=(8, 8), receptive_field_min=(0, 0),
        jump=(1.0, 1.0), centre=(0.0, 0.0), position_dependent=True, data_dependent=True, depth=2,
        sources=("backbone.conv2",),
    ),
    LayerRow(
        "neck.concat", "concat", "neck", ((8, 16, 24), (4, 16, 24)), (12, 16, 24), receptive_field=(8, 8),
        receptive_field_min=(3, 3), jump=(1.0, 1.0), centre=(0.0, 0.0), position_dependent=True, depth=2,
        sources=("neck.unpool", "backbone.norm1"),
    ),
    LayerRow(
        "head.classifier", "conv", "head", ((12, 16, 24),), (2, 16, 24), (1, 1), (1, 1), (0, 0), (1, 1), (8, 8), (3, 3),
        (1.0, 1.0), (0.0, 0.0), position_dependent=True, parameters=26, trainable=26, macs=9216, depth=3,
        sources=("neck.concat",),
    ),
    LayerRow("head.auxiliary", "linear", "head", parameters=18, trainable=18, runs=False),
)  # fmt: skip


def tiny_anatomy(name: str = "hand made", classes: tuple[str, ...] = ("road", "sky")) -> Anatomy:
    maps = (
        MapRow(4, 1, 0, (16, 24), "backbone.norm1", (3, 3), 48),
        MapRow(8, 2, 0, (8, 12), "backbone.conv2", (8, 8)),
    )
    parts = (
        Part("backbone", "vgg", "4@1, 8@2 with pooling indices", maps, 416, 120, 69120),
        Part("neck", "unpool", "12@1", (MapRow(12, 1, 0, (16, 24), "neck.concat", (8, 8)),), 0, 0, 0),
        Part("head", "pixel", "", (), 44, 44, 9216, (("logits", (2, 16, 24)),)),
    )
    kept = (Kept("backbone.conv1", 6144), Kept("neck.concat", 18432))
    memory = Memory(
        1872, (TrainingMemory(4, (16, 24), 98304, kept),), (InferenceMemory(1, (16, 24), 24576, "neck.concat", kept),)
    )
    return Anatomy(
        name, 460, 164, 8, 78336, (3, 16, 24), (2, 16, 24), _ROWS, parts, memory, (8, 8), (3, 3), True, classes,
        ("a note",),
    )  # fmt: skip

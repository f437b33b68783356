"""What an exported file says of itself: everything a user of it must know, as texts of JSON by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolkit.export.program import Program
from toolkit.models.vision_model import VisionModel
from toolkit.samples import PREDICTION_NAMES
from toolkit.version import __version__

EXPORT = "export"
"""Entry that describes the graph; a file without it is somebody else's."""
FORMAT = 1


def metadata_of(model: VisionModel, stored: Mapping[str, Any], program: Program, **about: Any) -> dict[str, Any]:
    """Entries of an exported file's metadata, of JSON's kinds.

    Those of the weights file (config, classes, palette, thresholds, conventions, what it was measured at), and `export`: what
    goes in and comes out.

    Args:
        model: the model that was exported.
        stored: metadata of the weights file.
        program: the program that `write_down` made of a model.
        about: further entries of `export`, by their names.
    """
    head, stats = model.head, model.pixel_stats
    height, width = program.size or (None, None)
    graph = {
        "format": FORMAT,
        "toolkit": __version__,
        "prediction": head.gives.__name__ if head.gives else None,
        "answers": PREDICTION_NAMES.get(head.gives, "") if head.gives else "",
        "input": {
            "name": program.input,
            "dtype": str(program.example.dtype).removeprefix("torch."),
            "channels": model.in_channels,
            "height": height,
            "width": width,
            "smallest": list(program.smallest),
        },
        "more_inputs": list(program.more),
        "outputs": list(program.outputs),
        "border": model.border,
        "stride": getattr(head, "stride", None),
        "sizes": list(model.spec.sizes),
        **about,
    }
    return {
        **stored,
        "classes": list(model.classes),
        "palette": [list(color) for color in model.palette],
        "category_ids": list(model.category_ids),
        "pixel_stats": {"mean": list(stats.mean), "std": list(stats.std), "bgr": stats.bgr},
        "value_range": model.value_range,
        EXPORT: graph,
    }  # fmt: skip


def as_texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The entries as texts of JSON, for formats whose metadata is text."""
    return {name: json.dumps(value, default=str) for name, value in metadata.items()}


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """The entries of texts; one that is no JSON stays text."""
    return {name: _parsed(text) for name, text in texts.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

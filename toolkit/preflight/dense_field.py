"""How many image pixels an answer of a dense model depends on."""

from __future__ import annotations

import torch

from toolkit.analysis.trace import Trace
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size


def dense_field(model: VisionModel, size: tuple[int, int]) -> int | None:
    """The larger side of the theoretical receptive field of the head's last layer; None where it cannot be told.

    model: on the meta device. size: (height, width) of the images.
    """
    images = torch.zeros((1, model.in_channels, *legal_size(size, model.spec.sizes)), device="meta")
    training = model.training
    try:
        with Trace(model.eval()).of(images) as trace:
            model(images)
        fields = [row.receptive_field for row in trace.rows() if row.part == "head" and row.receptive_field]
    except Exception:  # somebody's own part; whether it runs at all is another check's question
        return None
    finally:
        model.train(training)
    return max(fields[-1]) if fields else None

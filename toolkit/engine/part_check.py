"""Whether a model has the parts that the settings of a training name: known before anything is trained."""

from __future__ import annotations

from toolkit.engine.frozen_bn import freeze_batch_norms
from toolkit.engine.parameters import LateParts
from toolkit.engine.prepare import trained_groups
from toolkit.engine.settings import TrainSettings
from toolkit.models.vision_model import VisionModel


def check_parts(model: VisionModel, lr: float, settings: TrainSettings) -> None:
    """Raises what a training would: ConfigError for beginnings of names that the model has not, UserError when nothing
    is trained. Parameters are marked as the settings ask; the model may be on the meta device.
    """
    freeze_batch_norms(model, settings.frozen_bn)
    trained_groups(model, lr, settings)
    LateParts(model, settings.freeze_until)

"""What a training is made of: objects built elsewhere, so that the loop never sees a config."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from toolkit.contracts import Evaluator, OptimizerRule, Schedule
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.log import RunLog
from toolkit.engine.run_folder import RunFolder
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch


@dataclass
class Job:
    """Everything the loop needs.

    Args:
        model: the model that is trained.
        optimizer_rule: what makes the optimizer of parameter groups.
        schedule: factors of the learning rate by step, or None for a constant one.
        batches: endless batches from a step on, called with the number of the first.
        evaluate: one evaluation, or None without validation data; told `last=True` where it knows to be the last.
        judge: the evaluator whose `metric` decides which weights are kept as best.
        images_per_epoch: number of samples of the training data.
        step_images: number of images of a step, of all processes.
        seed: the run's seed, which every step's is made from.
        run: run folder that the training writes into.
        log: log that the training writes to.
        config_text: the resolved config as YAML.
        metadata: what is written into every weights file, by name.
        statistics: the batches over which batch normalisation is recomputed at the end, the same in every process, or
            None.
        val_images: how many images an evaluation looks at.
        kept: whether the run folder stays when the work is over.
    """

    model: VisionModel
    optimizer_rule: OptimizerRule
    schedule: Schedule | None
    batches: Callable[[int], Iterable[Batch]]
    evaluate: Callable[..., Evaluation] | None
    judge: Evaluator | None
    images_per_epoch: int
    step_images: int
    seed: int
    run: RunFolder
    log: RunLog
    config_text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    statistics: Callable[[], Iterable[Batch]] | None = None
    val_images: int = 0
    kept: bool = True

    def epoch(self, step: int) -> float:
        """Passes over the data after `step` updates, for reading only."""
        return step * self.step_images / max(self.images_per_epoch, 1)

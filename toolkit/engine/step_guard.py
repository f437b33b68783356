"""Around training steps: what PyTorch raises for want of memory, of a deterministic form or of a compiler, in plain words."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any

from toolkit.analysis.out_of_memory import is_out_of_memory, out_of_memory
from toolkit.engine.job import Job
from toolkit.engine.process import not_deterministic, precision_on
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep
from toolkit.errors import Problem, UserError, first_line


class StepGuard:
    """Translates out-of-memory, non-determinism and compiler errors into UserError: a context around training steps.

    Args:
        fabric: device of the training, for the messages.
        job: the training, for its batch and run folder.
        settings: the numbers that steer the training, for the remedies.
        step: the step that is guarded, for its module.
    """

    def __init__(self, fabric: Any, job: Job, settings: TrainSettings, step: TrainingStep) -> None:
        self.fabric, self.job, self.settings, self.step = fabric, job, settings, step

    def __enter__(self) -> StepGuard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, UserError):
            return
        found = not_deterministic(error) or self._compiler(error)
        if is_out_of_memory(error):
            found = self._memory(error)
        if found is not None:
            raise found from error

    def _memory(self, error: BaseException) -> UserError:
        number, batch = self.step.current
        images = batch.images if batch is not None else None
        settings = replace(self.settings, precision=precision_on(self.settings, self.fabric.device.type))
        remedies = training_remedies(settings, self.job.step_images, self.fabric.world_size)
        if self.job.run.state.is_file():
            remedies[-1] += (
                f". What was saved last is whole: continue with --resume --allow-changes --run-folder {self.job.run.path}"
            )
        return out_of_memory(error, f"training step {number + 1}", self.job.model, images, remedies, kept=True)

    def _compiler(self, error: BaseException) -> UserError | None:
        if not self.settings.compile or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return None
        reason = first_line(error)
        message = f"this model could not be compiled: {reason[:300]}"
        remedy = "set train.compile=false; on a CPU it needs a C++ compiler, on a GPU Triton as well"
        return UserError(Problem("train.compile", message, remedy))


def training_remedies(settings: TrainSettings, step_images: int, processes: int) -> list[str]:
    """What makes a training step smaller, best first: nothing lost, then time, then precision, then pixels.

    Args:
        settings: the numbers that steer the training.
        step_images: number of images of a step, of all processes.
        processes: number of processes that share the step.
    """
    found, batch = [], step_images // settings.accumulate
    if batch >= 2 * processes:
        smaller = max(processes, batch // 2)
        found.append(
            f"set data.batch_size={smaller} and train.accumulate={settings.accumulate * -(-batch // smaller)}: "
            "the same step in parts (data.batch_size=auto finds the largest that fits)"
        )
    if settings.recompute == "none":
        found.append("train.recompute=units: about half of what is kept, for some more time")
    elif settings.recompute == "units":
        found.append("train.recompute=blocks: still less is kept, for more time")
    if settings.precision == "32-true":
        found.append("train.precision=bf16-mixed: about half of what is kept")
    found.append("smaller images or crops in data.train.transforms")
    return found

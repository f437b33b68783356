"""The sections of a config: what may stand in the file, with types, bounds and defaults. Nothing else defines them.

A field annotated `Annotated[PartSpec, PartOf(KIND)]` is a part: a mapping with `name` and the arguments of that part's
constructor (or only its name). See `validate.py` for how it is checked. This file must not need torch: a mistake in a
config is reported without waiting for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval

from toolkit.bounds import NamesOf, NonNegativeInt, PositiveInt
from toolkit.engine.settings import TrainSettings

KINDS = {
    "backbone": "backbones",
    "neck": "necks",
    "head": "heads",
    "loss": "losses",
    "dataset": "datasets",
    "transform": "transforms",
    "evaluator": "evaluators",
    "optimizer": "optimizers",
    "schedule": "schedules",
}
"""The kinds of parts: the word of one, and of many."""


@dataclass(frozen=True)
class PartOf:
    """Marks an annotation as a part. kind: a word of `KINDS` ("backbone")."""

    kind: str


@dataclass(frozen=True)
class PartSpec:
    """A part as the config names it: checked, not built, and its class not imported.

    Args:
        kind: the word of its kind in `KINDS` ("backbone").
        name: a registered name, or `module:Class` of somebody's own.
        arguments: plain values, other PartSpecs, lists of them, or dicts where the constructor wants a section.
        path: place in the config, as keys and list positions.
        signature: the object schema of the constructor (`config/signatures.py`).
    """

    kind: str
    name: str
    arguments: dict[str, Any]
    path: tuple[str | int, ...] = ()
    signature: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


BackbonePart = Annotated[PartSpec, PartOf("backbone")]
NeckPart = Annotated[PartSpec, PartOf("neck")]
HeadPart = Annotated[PartSpec, PartOf("head")]
DatasetPart = Annotated[PartSpec, PartOf("dataset")]
TransformPart = Annotated[PartSpec, PartOf("transform")]
EvaluatorPart = Annotated[PartSpec, PartOf("evaluator")]
OptimizerPart = Annotated[PartSpec, PartOf("optimizer")]
SchedulePart = Annotated[PartSpec, PartOf("schedule")]


@dataclass(frozen=True)
class ModelSection:
    """backbone -> neck -> head.

    illegal_sizes: what happens to an image size that the parts cannot take: "pad" (mirrored) or "refuse".
    init_from: weights file, run folder or checkpoint to start from, in place of the parts' own `weights`; classes are
    matched by name, tensors that do not fit are listed and left out. init_rename: beginnings of names in that file and
    what they are called here, {head.classifier: neck.project}.
    samples: forward passes a prediction; above 1 dropout stays active and the softmaxes are averaged (Monte-Carlo
    dropout of Bayesian SegNet), which also gives the uncertainty of each pixel.
    """

    backbone: BackbonePart
    head: HeadPart
    neck: NeckPart | None = None
    illegal_sizes: Literal["pad", "refuse"] = "pad"
    init_from: str | None = None
    init_rename: dict[str, str] = field(default_factory=dict)
    samples: PositiveInt = 1


@dataclass(frozen=True)
class SplitSection:
    """A data set and what is done to each of its samples, in order."""

    dataset: DatasetPart
    transforms: list[TransformPart] = field(default_factory=list)


@dataclass(frozen=True)
class DataSection:
    """Where samples come from.

    classes: names of labels 0..K-1, or a preset's name; when absent, the training data set says. root: fills in the
    `root` of every data set that has none. batch_size: images of a batch, of all processes together, before accumulation;
    "auto": the largest that fits, found before training and written into the run's config as a number.
    group_by_aspect: training batches of landscape or of portrait images, where that can be, so that less of a batch is
    padding; for data sets that say the sizes of their images. workers: loader processes; 0 reads in the training
    process. The number of workers changes no result.
    sampling: of training images: "uniform", each once an epoch; "repeat_factor", an image comes as often as its rarest
    class asks, max(1, sqrt(repeat_threshold / share of the images that hold the class)) times an epoch (LVIS);
    "class_balanced", first a class, all equally often, then an image that holds it (`data/loading/sampling.py`).
    repeat_threshold: share of the images from which on a class is not rare, 0.001 in LVIS.
    on_bad: what happens to samples that cannot be read or are wrong (truncated images, masks of another size, labels
    outside the table, boxes outside their image): "stop" with a message when one is met; or "skip" them: every sample
    is read once before training (what was read is remembered in the user's cache folder), the bad ones are left out,
    and the start screen, the end, `skipped.json` in the run folder, check and evaluation say how many.
    """

    train: SplitSection
    val: SplitSection | None = None
    test: SplitSection | None = None
    classes: list[str] | Annotated[str, NamesOf("class preset", "a preset's name")] | None = None
    root: str | None = None
    batch_size: PositiveInt | Literal["auto"] = 4
    workers: NonNegativeInt = 2
    group_by_aspect: bool = False
    sampling: Literal["uniform", "class_balanced", "repeat_factor"] = "uniform"
    repeat_threshold: Annotated[float, Interval(gt=0, le=1)] = 0.001
    on_bad: Literal["stop", "skip"] = "stop"

    @property
    def batch_images(self) -> int:
        """`batch_size` as a number, 1 where it is still to be found ("auto")."""
        return self.batch_size if isinstance(self.batch_size, int) else 1


@dataclass(frozen=True, kw_only=True)
class TrainSection(TrainSettings):
    """How the model is trained: `TrainSettings`, the optimizer and the learning-rate schedule (null: constant)."""

    optimizer: OptimizerPart
    schedule: SchedulePart | None = None


@dataclass(frozen=True)
class EvaluateSection:
    """What is measured on `val` and `test`. The first evaluator's main number decides which weights are "best".

    batch_size: images of a batch; null takes data.batch_size. loss: also the loss, a mean over images of what each
    would have alone, in evaluation mode; it shares the net's pass with the metric where the images are of a legal size.
    """

    evaluators: list[EvaluatorPart] = field(default_factory=list)
    batch_size: PositiveInt | None = None
    loss: bool = True


@dataclass(frozen=True)
class Config:
    """One experiment, complete. name: of the run folder; null takes the file's name. seed: of everything random."""

    model: ModelSection
    data: DataSection
    train: TrainSection
    evaluate: EvaluateSection = field(default_factory=EvaluateSection)
    seed: NonNegativeInt = 0
    name: str | None = None

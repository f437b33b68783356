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

from toolkit.bounds import NamesOf, NonNegativeInt, PositiveFloat, PositiveInt
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
    """backbone -> neck -> head: the net, and the weights it starts from.

    Args:
        backbone: what turns images into feature maps at several strides (`toolkit list backbones`).
        head: what turns feature maps into answers and has the loss (`toolkit list heads`).
        neck: what joins or refines the backbone's maps before the head (`toolkit list necks`); null has none.
        illegal_sizes: what happens to an image size, in pixels, that the parts cannot take: "pad" mirrors the image at
            its edges up to the next legal size, "refuse" stops with a message.
        init_from: weights file, run folder or checkpoint to start from, in place of the parts' own `weights`; classes
            are matched by name, tensors that do not fit are listed and left out.
        init_rename: prefixes of names in that file and what they are called here, {head.classifier: neck.project}.
        samples: forward passes a prediction; above 1 dropout stays active and the softmaxes are averaged (Monte-Carlo
            dropout of Bayesian SegNet), which also gives the uncertainty of each pixel, at that many times the cost.
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
    """A data set and what is done to each of its samples, in order.

    Args:
        dataset: where images and labels are read from, and in which layout (`toolkit list datasets`).
        transforms: crops, flips, colours and sizes, applied to each sample in this order, every epoch anew
            (`toolkit list transforms`); for val and test only those that are not random and move no pixel.
    """

    dataset: DatasetPart
    transforms: list[TransformPart] = field(default_factory=list)


@dataclass(frozen=True)
class DivisionSection:
    """How the data set of `data.train` is divided into train, val and test: the same for ever, whatever else changes.

    Every class is in every part where it can be. Val and test get the transforms of train that are not random and move
    no pixel, unless they have a section of their own with the same data set. The names are kept in the run's `splits/`.

    Args:
        val: share of the images, 0 to 1, that is measured during training; does not count with `folds`.
        test: share of the images, 0 to 1, that only `toolkit evaluate --split test` measures.
        seed: number that the division follows from, beside the names; the config's own `seed` does not change it.
        by: what stays together: "group", near copies and the groups of `data.group` (every image is read once for it);
            or "image", each by itself.
        folds: number of parts of equal size, of which each once is `val`; null divides by `val`.
        fold: which of the folds is measured, 0 to folds - 1; the others are trained on.
        lists: a CSV file with the columns image and split, or a folder with train.txt, val.txt and test.txt, that says it
            all in place of the shares (`toolkit split` writes both).
    """

    val: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    test: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    seed: NonNegativeInt = 0
    by: Literal["group", "image"] = "group"
    folds: Annotated[int, Interval(ge=2)] | None = None
    fold: NonNegativeInt = 0
    lists: str | None = None


@dataclass(frozen=True)
class DataSection:
    """Where samples come from, and how many of them a batch takes.

    Args:
        train: data set and transforms of the images that the model learns from.
        val: data set and transforms of the images that are measured during training; null measures nothing.
        test: data set and transforms of the images that only `toolkit evaluate --split test` measures.
        classes: names of labels 0..K-1, or a preset's name (`toolkit list classes`); or which of the data's own classes
            each is made of, by name, {vehicle: [car, truck], person: [person], ignore: [bicycle]}, where those of
            `ignore` count neither for nor against, and what is not named is background; null: the training data set says.
        root: folder that fills in the `root` of every data set that has none, relative to the working directory.
        channels: channels or bands of every image, for data of another number than 3; null leaves it to the data sets.
        value_range: for files of more than 8 bits or of floating-point numbers, the stored numbers that become black and
            white, [0, 4095], or one such pair for each band; in between there are 256 levels, beyond it is cut. The same
            in training, evaluation and prediction. Null: files are of 8 bits.
        batch_size: images of a batch, of all processes together, before accumulation; "auto": the largest that fits
            into memory, found before training and written into the run's config as a number.
        workers: processes that read and transform images; 0 does it in the training process. Their number changes no
            result, only the speed.
        cache: where decoded pictures and masks of train and val are kept (uint8; the size is said before): "memory", shared by
            all workers; "disk", a file in the user's cache folder that later trainings use too; "none". What does not fit
            is decoded each time, a file that has changed is noticed. No result changes, only the speed. "device": the
            whole of train lies on the device and transform `warp`, its only one, is done there, within a gray level.
        group_by_aspect: whether training batches hold landscape or portrait images only, where that can be, so that
            less of a batch is padding; for data sets that say the sizes of their images.
        sampling: how training images are drawn: "uniform", each once an epoch; "repeat_factor", an image comes as often
            as its rarest class asks, max(1, sqrt(repeat_threshold / share of the images that hold the class)) times an
            epoch (LVIS); "class_balanced", first a class, all equally often, then an image that holds it.
        repeat_threshold: share of the images, 0 to 1, from which on a class is not rare; 0.001 in LVIS.
        on_bad: what happens to samples that cannot be read or are wrong (truncated images, masks of another size,
            labels outside the table, boxes outside their image): "stop" with a message when one is met; or "skip" them:
            every sample is read once before training (what was read is remembered in the user's cache folder), the bad
            ones are left out, and the start screen, the end, `skipped.json` in the run folder, check and evaluation say
            how many.
        shared_images: what happens when some pictures of `val` are also in `train`, pixel for pixel: "stop", because what
            is measured on them says nothing of new images, or "allow", which only says so.
        split: how the images of `train` are divided among train, val and test, for data of a single folder; null: each
            split has a data set of its own.
        group: which images belong together, as frames of a video or slices of a patient do: "folder", the path of a CSV
            file with the columns image and group, or a regular expression for the name ("patient[0-9]+"); null: none.
        share: how much of the training images is used, 0 to 1, for learning curves; smaller shares are part of larger
            ones, and every class keeps about its share.
    """

    train: SplitSection
    val: SplitSection | None = None
    test: SplitSection | None = None
    classes: (
        list[str] | Annotated[str, NamesOf("class preset", "a preset's name")] | dict[str, list[str] | str] | None
    ) = None
    root: str | None = None
    channels: PositiveInt | None = None
    value_range: list[float] | list[list[float]] | None = None
    batch_size: PositiveInt | Literal["auto"] = 4
    workers: NonNegativeInt = 2
    cache: Literal["none", "memory", "disk", "device"] = "none"
    group_by_aspect: bool = False
    sampling: Literal["uniform", "class_balanced", "repeat_factor"] = "uniform"
    repeat_threshold: Annotated[float, Interval(gt=0, le=1)] = 0.001
    on_bad: Literal["stop", "skip"] = "stop"
    shared_images: Literal["stop", "allow"] = "stop"
    split: DivisionSection | None = None
    group: str | None = None
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0

    @property
    def batch_images(self) -> int:
        """`batch_size` as a number, 1 where it is still to be found ("auto")."""
        return self.batch_size if isinstance(self.batch_size, int) else 1


@dataclass(frozen=True, kw_only=True)
class TrainSection(TrainSettings):
    """How the model is trained. Everything counts in optimizer steps, or is told in epochs by `epochs`.

    Args:
        steps: how many optimizer steps are made; left out where `epochs` says it.
        epochs: passes over the training images in place of `steps`; the steps they mean follow from the number of
            images and data.batch_size, are said when the training begins and stand in the run's config.
        optimizer: what turns gradients into updates, with its learning rate `lr` (`toolkit list optimizers`).
        schedule: how the learning rate changes over the steps (`toolkit list schedules`); null keeps it constant.
    """

    steps: PositiveInt = 0
    epochs: PositiveFloat | None = None
    optimizer: OptimizerPart
    schedule: SchedulePart | None = None


@dataclass(frozen=True)
class EvaluateSection:
    """What is measured on `val` and `test`.

    Args:
        evaluators: what counts predictions into numbers (`toolkit list evaluators`); the main number of the first
            decides which weights are "best".
        batch_size: images of a batch while measuring; null takes data.batch_size. It changes speed and memory only.
        loss: whether the loss is measured too, a mean over images of what each would have alone, in evaluation mode; it
            shares the net's pass with the metric where the images are of a legal size.
        exclude: names of classes that are in no mean over classes (mIoU, AP ...), and so do not decide what is "best";
            their own numbers are shown all the same.
        record: whether a training writes the record of its best weights on val (`evaluation/val/`) at its end; where the
            last weights are not the best ones it costs one more evaluation.
        mirrorings: 2 makes the answer of a picture and its mirror image left-right, 4 also of those up-down and both (for
            heads that answer for every pixel), at twice or four times the cost; 1 takes the picture alone. `predict`
            does as the weights were evaluated.
        scales: sizes at which each picture is shown as well, as 0.75 or 1.25 of its own, and what is said of all is made
            one answer; [] shows it at its own size only. Test-time augmentation, as `predict --tta`.
        tile: side in pixels of the tiles that a picture is cut into, with the result of the whole picture; "auto" cuts
            only what would need more than 1 GB beside the model; null never cuts. A detector's boxes come close to those of
            the whole.
        tile_overlap: pixels that a detector's tiles share at least; null follows from the sizes of the objects that it was
            trained on.
    """

    evaluators: list[EvaluatorPart] = field(default_factory=list)
    batch_size: PositiveInt | None = None
    loss: bool = True
    exclude: list[str] = field(default_factory=list)
    record: bool = True
    mirrorings: Literal[1, 2, 4] = 1
    scales: list[PositiveFloat] = field(default_factory=list)
    tile: PositiveInt | Literal["auto"] | None = None
    tile_overlap: PositiveInt | None = None


@dataclass(frozen=True)
class Config:
    """One experiment, complete: a model, its data, its training and what is measured.

    Args:
        model: the net, of a backbone, a neck and a head, and the weights it starts from.
        data: where images and labels come from, their classes, and the size of a batch.
        train: how many steps, with which optimizer, in which precision, on which device.
        evaluate: which numbers are measured on the validation and test images.
        seed: number that fixes everything random: first weights, order of the data, crops, dropout. 0 and above.
        name: name of the run folder, `runs/NAME`; null takes the name of the config file.
    """

    model: ModelSection
    data: DataSection
    train: TrainSection
    evaluate: EvaluateSection = field(default_factory=EvaluateSection)
    seed: NonNegativeInt = 0
    name: str | None = None

"""From a checked config to the objects of a training: data, model, loaders, evaluations, the size of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loading.batches import StepBatches
from toolkit.data.loading.loader import SeededDataset, eval_loader, train_loader
from toolkit.data.loading.picture_reader import Shelf
from toolkit.data.object_sizes import object_sizes
from toolkit.data.splits.lists import SplitNames
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.engine.batch_size import largest_batch
from toolkit.engine.evaluate import Evaluation, evaluate
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log import RunLog
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import ConfigError, PartsError, UserError
from toolkit.inference.several_looks import several_looks
from toolkit.jobs.bad_samples import SkipTable, read_skip_table, skip_table
from toolkit.jobs.build import (
    build_evaluators,
    build_model,
    build_optimizer_rule,
    build_schedule,
    computed_weights,
    with_class_weights,
)
from toolkit.jobs.build_data import (
    aspect_groups_of,
    build_dataset,
    build_transforms,
    check_classes,
    classes_of,
    division_of,
    draws_of,
    joined_by_name,
    transforms_to_measure,
)
from toolkit.jobs.conventions import conventions_of
from toolkit.jobs.division import Divided, kept_parts, written_out
from toolkit.jobs.epochs import with_steps
from toolkit.jobs.picture_cache import NOTHING_KEPT, Kept
from toolkit.jobs.restore import initialise
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction, Sample
from toolkit.version import __version__


class Assembled(NamedTuple):
    """What a config describes, built: the model and its data.

    Args:
        config: the config, with class weights that are computed as numbers, which `weights` repeats.
        model: the model, on the CPU, with its first weights.
        datasets: data sets by the name of their split.
        taken: what came from `model.init_from`, or None.
        weights: class weights that were computed from the data, one list a loss.
    """

    config: Config
    model: VisionModel
    datasets: dict[str, Dataset]
    taken: Transfer | None
    weights: list[list[float]]


def assemble(
    config: Config, *, fresh: bool = True, skips: SkipTable | None = None, parts: SplitNames | None = None
) -> Assembled:
    """Builds it.

    Raises UserError for what is wrong with data, parts or weights.

    Args:
        config: the whole config, checked but not built.
        fresh: whether the weights do not come from a state, so that they are pretrained or taken as the config says.
        skips: samples that were left out before, see `build_dataset`; None finds them out.
        parts: names of the images of each split where `data.split` divides them; None finds them.
    """
    splits = [split for split in ("train", "val") if getattr(config.data, split)]
    datasets = joined_by_name(config, {split: build_dataset(config, split, skips, parts) for split in splits})
    known = with_steps(with_class_weights(config, datasets["train"]), len(datasets["train"]))
    torch.manual_seed(config.seed)  # whatever happened before in this process
    pretrained = fresh and known.model.init_from is None
    model = build_model(known, pretrained=pretrained, classes=classes_of(known, datasets["train"]))
    taken = initialise(model, known) if fresh else None
    for split, dataset in datasets.items():
        check_classes(dataset, model, split)
        build_transforms(known, split)
    if model.head.max_detections is not None:
        seen_as = build_transforms(known, "val") if "val" in datasets else []
        model.object_sizes = object_sizes(datasets["train"], seen_as)
    answer_as_evaluated(known, model)
    weights = computed_weights(config, known)
    return Assembled(written_out(known, build_transforms(known, "train")), model, datasets, taken, weights)


def build_job(
    config: Config,
    fabric: Any,
    model: VisionModel,
    datasets: dict[str, Dataset],
    folder: RunFolder,
    log: RunLog,
    text: str,
    kept: Kept = NOTHING_KEPT,
) -> Job:
    """What `engine.train` needs.

    Args:
        config: the whole config, checked but not built.
        fabric: device, precision and processes (`make_fabric`).
        model: the model that is trained.
        datasets: data sets by the name of their split.
        folder: run folder that the training writes into.
        log: log that the training writes to.
        text: the resolved config as YAML, as the files of the run will carry it.
        kept: where pictures are kept, to be decoded once.
    """
    settings, data = config.train, config.data
    pin = fabric.device.type == "cuda"
    groups, draws = aspect_groups_of(config, datasets["train"]), draws_of(config, datasets["train"])

    def batches(step: int) -> Any:
        dataset, size, shares = datasets["train"], data.batch_images, (fabric.global_rank, fabric.world_size)
        start, stop = step * settings.accumulate, settings.steps * settings.accumulate
        if kept.on_device is not None:
            row = StepBatches(len(dataset), size, config.seed, start, stop, True, *shares, groups, draws)
            return kept.on_device.batches(row)
        return train_loader(
            dataset, build_transforms(config, "train"), size, config.seed, start, stop, data.workers, True, pin, *shares,
            groups, draws, kept.shelf,
        )  # fmt: skip

    def statistics() -> Any:
        transforms = build_transforms(config, "train")
        return train_loader(
            datasets["train"], transforms, data.batch_images, config.seed, 0, settings.recompute_bn, data.workers,
            shelf=kept.shelf,
        )  # fmt: skip

    evaluators = build_evaluators(config, model.classes)
    measured = "val" in datasets and bool(evaluators)

    def evaluate_val(stop: StopRequest, *, last: bool = False) -> Evaluation:
        recorded = last and config.evaluate.record
        looks = recorded and data.group is None
        return evaluation(
            config, fabric, model, datasets["val"], "val", stop, kept.shelf, with_rows=recorded, with_looks=looks
        )  # fmt: skip

    return Job(
        model=model,
        optimizer_rule=build_optimizer_rule(config),
        schedule=build_schedule(config),
        batches=batches,
        evaluate=evaluate_val if measured else None,
        judge=evaluators[0] if measured else None,
        images_per_epoch=len(datasets["train"]),
        step_images=data.batch_images * settings.accumulate,
        seed=config.seed,
        run=folder,
        log=log,
        config_text=text,
        metadata=model_metadata(model, text, datasets["train"]),
        statistics=statistics if settings.recompute_bn else None,
        val_images=len(datasets["val"]) if measured else 0,
    )


def model_metadata(model: VisionModel, config_text: str, dataset: Dataset) -> dict[str, Any]:
    """What a weights file says of itself, beside its step and metrics.

    conventions: settings that once meant something else. category_ids: of the labels, for COCO files, where the
    training data has such ids. object_sizes: how large a detector's training saw objects. toolkit: the version.

    Args:
        model: the model whose weights are written.
        config_text: the resolved config as YAML.
        dataset: the training data, for ids of categories where it has such (COCO files).
    """
    more: dict[str, Any] = {"category_ids": list(dataset.category_ids)} if dataset.category_ids else {}
    if model.object_sizes is not None:
        more["object_sizes"] = model.object_sizes.plain()
    return more | {
        "classes": list(model.classes),
        "palette": [list(color) for color in model.palette],
        "pixel_stats": model.backbone.pixel_stats._asdict(),
        "config": config_text,
        "conventions": conventions_of(model.head),
        "toolkit": __version__,
    }


def evaluation(
    config: Config,
    fabric: Any,
    model: VisionModel,
    dataset: Dataset,
    split: str,
    stop: StopRequest | None,
    shelf: Shelf | None = None,
    **kept: Any,
) -> Evaluation:
    """Measures a model on a split, with the config's evaluators.

    Args:
        config: the whole config, checked but not built.
        fabric: device, precision and processes (`make_fabric`).
        model: the model that is measured.
        dataset: the data set of the split.
        split: name of the split: "val", "test", or "train", which is looked at as val is.
        stop: asked between batches whether to end early; None never ends early.
        shelf: keeps decoded files; None keeps none.
        kept: what is kept of each image beside the numbers (`with_rows`, `with_looks`, `predicted` of `evaluate`).
    """
    loader = eval_loader(
        dataset,
        transforms_to_measure(config, split),
        config.evaluate.batch_size or max(1, config.data.batch_images // fabric.world_size),
        config.data.workers,
        fabric.device.type == "cuda",
        fabric.global_rank,
        fabric.world_size,
        shelf,
    )
    evaluators = build_evaluators(config, model.classes)
    wishes = {"with_loss": config.evaluate.loss, "answer": answer_as_evaluated(config, model), **kept}
    return evaluate(fabric, model, loader, evaluators, images=len(dataset), stop=stop, **wishes)


def answer_as_evaluated(config: Config, model: VisionModel) -> Callable[[Batch], list[Prediction]] | None:
    """How a model answers where `evaluate.mirrorings`, `scales` or `tile` ask for more than one look at a picture; else None.

    Raises ConfigError for a model that cannot be looked at so, or samples its dropout.

    Args:
        config: the whole config, whose section `evaluate` is looked at.
        model: the model that is to answer.
    """
    wishes = config.evaluate
    if wishes.mirrorings == 1 and not wishes.scales and wishes.tile is None:
        return None
    try:
        return several_looks(model, wishes.mirrorings, (1.0, *wishes.scales), wishes.tile, wishes.tile_overlap)
    except PartsError as error:
        raise ConfigError(problem.at("evaluate.tile") for problem in error.problems) from error


def agreed_table(
    fabric: Any,
    config: Config,
    path: Path | None,
    splits: Sequence[str] = ("train", "val"),
    parts: SplitNames | None = None,
) -> SkipTable | None:
    """What all processes leave out: found, or read from `path`, by the first and told to the others.

    Args:
        fabric: the processes that have to agree.
        config: the whole config, checked but not built.
        path: `skipped.json` of a run that is continued, or None.
        splits: names of the splits that are looked at.
        parts: names of the images of each split where `data.split` divides them; None finds them.
    """
    if config.data.on_bad == "stop" or (path is None and fabric.world_size == 1):
        return None
    table = None
    if fabric.is_global_zero:
        table = read_skip_table(path) if path is not None else None
        if table is None:
            known = [split for split in splits if getattr(config.data, split)]
            table = skip_table({split: build_dataset(config, split, None, parts) for split in known})
    return dict(fabric.broadcast(table))


def agreed_parts(fabric: Any, config: Config, lists: Path | None) -> Divided | None:
    """The images of each part that `data.split` makes: read from a run's lists, or found, by the first of all processes.

    Args:
        fabric: the processes that have to agree.
        config: the whole config, checked but not built.
        lists: folder `splits` of a run that is continued or measured, or None; where there is none the parts are found.
    """
    if config.data.split is None:
        return None
    parts = None
    if fabric.is_global_zero:
        kept = lists is not None and lists.is_dir()
        parts = kept_parts(lists) if kept and lists is not None else division_of(config)
    if fabric.world_size == 1:
        return parts
    told, notes = fabric.broadcast((dict(parts), parts.notes) if parts is not None else None)
    return Divided.of(told, notes)


LOOKED_AT = 32
"""Training samples whose sizes, after the transforms, stand for all."""


def with_batch_size(fabric: Any, built: Assembled, saved: Config | None = None) -> tuple[Assembled, list[str]]:
    """The same with a number for "auto", and lines that say how it came about.

    Raises UserError when not even one image fits.

    Args:
        fabric: device and processes, on which batches are tried.
        built: model and data of the config.
        saved: config of the run that is continued, whose number stays; None finds a number.
    """
    config = built.config
    if config.data.batch_size != "auto":
        return built, []
    if saved is not None:
        return built._replace(config=_with(config, saved.data.batch_images, len(built.datasets["train"]))), []
    dataset = built.datasets["train"]
    rule = build_optimizer_rule(config)
    samples = largest_samples(config, dataset)
    fit = largest_batch(fabric, built.model, rule, config.train, samples, len(dataset))
    note = f"the learning rate stays {rule.lr:g} whatever the batch; --find-lr tries others"
    known = _with(config, fit.images, len(dataset))
    return built._replace(config=known), [f"batch      {fit.describe()}", f"note       {note}"]


def largest_samples(config: Config, dataset: Dataset) -> list[Sample]:
    """The largest of some training samples spread over the data set, as the transforms leave them: by area, height, width."""
    seeded = SeededDataset(dataset, Pipeline(build_transforms(config, "train")), config.seed)
    samples = []
    for index in np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset))).round().astype(int).tolist():
        item = seeded[(0, index)]
        if isinstance(item, UserError):
            raise item
        samples.append(item[0])
    shapes = [sample.image.shape for sample in samples]
    keys = (lambda n: shapes[n][0] * shapes[n][1], lambda n: shapes[n][0], lambda n: shapes[n][1])
    return [samples[number] for number in dict.fromkeys(max(range(len(samples)), key=key) for key in keys)]


def _with(config: Config, number: int, images: int) -> Config:
    """The config with that batch size, and the steps that its epochs then are."""
    return with_steps(dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=number)), images)

"""A checkpoint measured on a split of the data that its own config names, and the record of it beside the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from toolkit.config.load import parse_config
from toolkit.config.paths import is_run_folder
from toolkit.config.plain import differences
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.classes.choice import by_name
from toolkit.data.loading.workers import worker_deaths_explained
from toolkit.data.splits.groups import image_groups
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.machine import environment
from toolkit.engine.process import make_fabric, pick_device, precision_on
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.settings import TrainSettings
from toolkit.errors import CheckpointError, ConfigError, DataError, Problem
from toolkit.export.engine_model import EngineModel
from toolkit.export.programs import is_program
from toolkit.files import cannot_write
from toolkit.inference.tiling.tiled import MEMORY
from toolkit.jobs.agreement import check_channels
from toolkit.jobs.assemble import agreed_parts, agreed_table, evaluation
from toolkit.jobs.build import build_evaluators
from toolkit.jobs.build_data import build_dataset, check_classes
from toolkit.jobs.division import sample_names
from toolkit.jobs.predicted_files import PredictedFiles
from toolkit.jobs.predictor import Predictor
from toolkit.jobs.record import (
    Measured,
    Source,
    about_evaluation,
    made_record,
    makers_of,
    refuse_other_record,
    told_of_record,
    with_all_numbers,
    write_record,
)
from toolkit.jobs.restore import Restored, in_file, restore
from toolkit.labels import ClassTable
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import read_weights, tensors_digest
from toolkit.preflight.findings import Report
from toolkit.report.evaluation.pictures import reader_of
from toolkit.results.operating_points import ENTRY, stored_points
from toolkit.results.record import Record
from toolkit.results.tags import read_tags
from toolkit.samples import Batch, Prediction

_CHANGES_NO_NUMBER = (
    "data.workers", "data.cache", "data.batch_size", "evaluate.batch_size", "evaluate.loss", "evaluate.record", "train.device",
    "train.devices", "train.threads",
)  # fmt: skip
"""Keys of a config that may differ between two evaluations of one record."""


class RecordWishes(NamedTuple):
    """What is wanted of a record.

    Args:
        out: its folder; None is `evaluation/SPLIT` in the run, and none for weights outside of a run.
        group: which images belong together, in place of the config's `data.group`.
        tags: a CSV file of image and tags, whose values get numbers of their own.
        save_predictions: whether label maps are written as pictures too.
    """

    out: str | Path | None = None
    group: str | None = None
    tags: str | Path | None = None
    save_predictions: bool = False


class AnswerWishes(NamedTuple):
    """How images are answered, as `toolkit predict` takes it; None is as the config says.

    Args:
        tta: "none", "flips", "scales" or "flips+scales" (`--tta`).
        tile: side of a tile in pixels, "auto", or "off" (`--tile`).
        overlap: pixels that a detector's tiles share at least (`--overlap`).
        samples: forward passes with dropout that an answer is the mean of (`--samples-mc`).
        score: detections below it, 0..1, are left out (`--score`).
        memory: bytes that an image may take beside the model, for tiles of "auto" (`--memory`).
        engine: what computes the forward pass of a dense model on the CPU (`--engine`); the loss is PyTorch's.
    """

    tta: str | None = None
    tile: int | Literal["auto", "off"] | None = None
    overlap: int | None = None
    samples: int | None = None
    score: float | None = None
    memory: int | None = None
    engine: str | None = None

    def options(self) -> dict[str, Any]:
        """The options that were given, by their names on the command line."""
        return {_OPTIONS[name]: value for name, value in self._asdict().items() if value is not None}

    def answer(self, restored: Restored) -> Callable[[Batch], list[Prediction]] | None:
        """What answers for a batch as `predict` does, of the model where it is; None where nothing is asked for."""
        if not self.options():
            return None
        tile = restored.config.evaluate.tile if self.tile is None else self.tile
        predictor = Predictor(
            restored,
            device=None,
            batch_size=restored.config.evaluate.batch_size or 1,
            tile=None if tile == "off" else tile,
            overlap=self.overlap or restored.config.evaluate.tile_overlap,
            tta=self.tta,
            samples=self.samples,
            score=self.score,
            memory=self.memory or MEMORY,
            engine=self.engine or "torch",
            thresholds=False,
        )
        predictor.model  # noqa: B018 - what does not suit it is said before the first image is read
        return predictor.answer


_OPTIONS = {
    "tta": "--tta", "tile": "--tile", "overlap": "--overlap", "samples": "--samples-mc", "score": "--score",
    "memory": "--memory", "engine": "--engine",
}  # fmt: skip
"""What each wish is called on the command line."""


def run_evaluation(
    checkpoint: str | Path,
    split: str = "val",
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    trust_code: bool = False,
    wishes: RecordWishes | None = None,
    answers: AnswerWishes | None = None,
) -> dict[str, Any]:
    """Evaluates a checkpoint or run folder on a split of its own config's data; returns {"metrics", "tables", ...}.

    Its record is written too, see `RecordWishes`: "record" is its folder, or None.

    Args:
        checkpoint: a weights file or a run folder, whose best weights are taken.
        split: name of the split: "val", "test" or "train".
        overrides: changes of the config it was trained with, each `key=value`.
        quiet: whether nothing is said on stderr.
        trust_code: whether parts of the form module:Class that the file names are imported, which runs their module.
        wishes: where the record goes, its groups and tags.
        answers: how images are answered; the record says it.
    """
    wishes, answers = wishes or RecordWishes(), answers or AnswerWishes()
    restored = restore(checkpoint, overrides, trust_code=trust_code)
    config = restored.config
    if config is None:
        message = "was not written by toolkit export, so that no data is named in it"
        advice = "predict with it, and measure the results: toolkit evaluate --predictions FOLDER --annotations FOLDER"
        raise ConfigError(Problem(restored.path, message, advice))
    settings: TrainSettings = dataclasses.replace(config.train, deterministic=False)
    fabric = make_fabric(settings)
    dataset = measured_split(fabric, restored, split)
    source = _source(restored, checkpoint, split, overrides, wishes, answers)
    folder = record_folder(restored.path, split, wishes.out)
    tags = read_tags(wishes.tags) if wishes.tags is not None else None
    rule = _fitting_groups(restored, dataset, wishes.group, overrides)
    if folder is not None and fabric.is_global_zero:
        refuse_other_record(folder, source)
        make_folder(folder)
    result = _evaluated(fabric, restored, dataset, split, folder, rule is None, wishes.save_predictions, answers)
    about = about_evaluation(
        build_evaluators(config, restored.model.classes), class_table_of(restored.model, dataset), split, source
    )
    about["environment"] = environment(str(fabric.device.type), config.seed)
    makers = makers_of(lambda: build_evaluators(config, restored.model.classes))
    stored_points(restored.metadata, restored.model.classes, restored.path)
    points = restored.metadata.get(ENTRY)
    record = with_all_numbers(made_record(measured(result, dataset), about, rule, tags), makers, points)
    if folder is not None and fabric.is_global_zero:
        write_record(folder, record, makers, reader_of(dataset), run_around(restored.path))
    return _told(restored, split, dataset, result, record, folder)


def measured_split(fabric: Any, restored: Restored, split: str) -> Dataset:
    """The images of a split, which the model can be measured on. Raises UserError when it cannot.

    Args:
        fabric: Lightning's Fabric, through which processes agree on the files.
        restored: the model, with the config that names its data.
        split: name of the split in the config.
    """
    config = restored.config
    parts = agreed_parts(fabric, config, RunFolder(restored.path.parent).splits)
    dataset = build_dataset(config, split, agreed_table(fabric, config, None, [split], parts), parts)
    dataset = by_name(dataset, restored.model.classes)
    check_classes(dataset, restored.model, split)
    _refuse_unannotated(dataset, split)
    _refuse_other_channels(config, restored.model, dataset, split)
    if not config.evaluate.evaluators:
        raise ConfigError(
            Problem("evaluate.evaluators", "the config names no evaluator", "add evaluate.evaluators=[semantic]")
        )
    return dataset


def _fitting_groups(restored: Restored, dataset: Dataset, asked: str | None, overrides: Sequence[str]) -> str | None:
    """The rule by which images belong together. Raises UserError, before anything is measured, when it does not fit.

    Args:
        restored: the model, whose config has a rule.
        dataset: the images.
        asked: `--group`, which counts before the config's.
        overrides: changes of the config, on the command line.
    """
    rule = restored.config.data.group if asked is None else asked
    try:
        image_groups(sample_names(dataset), rule)
    except DataError as error:
        (problem,) = error.problems
        if problem.where != "data.group":  # a table, which names itself
            raise
        if asked is not None:
            raise DataError(problem.at("--group")) from error
        if any(override.startswith("data.group=") for override in overrides):
            raise
        raise CheckpointError(in_file(problem, restored.path)) from error
    return rule


def _evaluated(
    fabric: Any,
    restored: Restored,
    dataset: Dataset,
    split: str,
    folder: Path | None,
    looks: bool,
    masks: bool,
    answers: AnswerWishes,
) -> Evaluation:
    """Measures a split image by image; predicted files go into the record's folder, if there is one."""
    model = restored.model.to(fabric.device)
    answer = answers.answer(restored)
    asked: dict[str, Any] = {"answer": answer} if answer is not None else {}
    files = PredictedFiles(folder, class_table_of(model), masks, dataset) if folder is not None else None
    with worker_deaths_explained(), StopRequest() as stop:
        result = evaluation(
            restored.config, fabric, model, dataset, split, stop,
            with_rows=True, with_looks=looks, predicted=files.add if files is not None else None, **asked,
        )  # fmt: skip
    if files is not None:
        files.finish(fabric)
    return result


def measured(result: Evaluation, dataset: Dataset) -> Measured:
    """What an evaluation gives a record. dataset: the images, for those that were left out."""
    skipped = [skip._asdict() for skip in dataset.skips]
    more = {"losses": result.losses, "unlabelled": result.unlabelled, "skipped": skipped}
    return Measured(result.rows, result.metrics, more)


def class_table_of(model: VisionModel, dataset: Dataset | None = None) -> ClassTable:
    """Classes and colours of a model, with the ids of a data set, or else of the data it was trained on."""
    ids = dataset.category_ids if dataset is not None and dataset.category_ids else model.category_ids
    return ClassTable(tuple(model.classes), tuple(model.palette), tuple(ids))


def record_folder(weights: Path, split: str, out: str | Path | None) -> Path | None:
    """Where the record of weights on a split goes, or None: weights outside of a run have no place of their own.

    Args:
        weights: the file of weights that is measured.
        split: name of the split: "val", "test" or "train".
        out: the folder that is asked for; None is `evaluation/SPLIT` of the run.
    """
    if out is not None:
        return Path(out)
    return weights.parent / "evaluation" / split if is_run_folder(weights.parent) and not is_program(weights) else None


def run_around(weights: Path) -> Path | None:
    """The run folder that a file of weights lies in, or None."""
    return weights.parent if is_run_folder(weights.parent) else None


def make_folder(folder: Path) -> None:
    """Makes a folder that can be written to, before any work is done for it. Raises UserError with --out to say."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        refused = cannot_write(folder, error)
        raise type(refused)(
            problem.advising("name another folder with --out DIR") for problem in refused.problems
        ) from error


def _source(
    restored: Restored,
    checkpoint: str | Path,
    split: str,
    overrides: Sequence[str],
    wishes: RecordWishes,
    answers: AnswerWishes,
) -> Source:
    command = ["toolkit", "evaluate", str(checkpoint), "--split", split]
    asked = answers.options()
    for option, value in (("--group", wishes.group), ("--tags", wishes.tags), ("--out", wishes.out), *asked.items()):
        command += [option, str(value)] if value is not None else []
    command += ["--save-predictions"] if wishes.save_predictions else []
    digest = digest_of(restored)
    options = changed_options(restored, overrides) | asked
    return Source(digest, None, options, str(restored.path), [*command, *overrides])


def digest_of(restored: Restored) -> str:
    """What tells these weights from others; an exported file carries that of the weights it was made of."""
    exported = restored.metadata.get("export")
    if isinstance(exported, dict):
        return f"{exported.get('weights')} as {restored.path.suffix.lstrip('.')}"
    return tensors_digest(read_weights(restored.path)[0])


def changed_options(restored: Restored, overrides: Sequence[str]) -> dict[str, Any]:
    """What the overrides of a checkpoint's config change, {key: value}, without what changes no number."""
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    if not keys:
        return {}
    stored = parse_config(str(restored.metadata["config"]), f"{restored.path} (config)", trust=True)
    return {
        one.key: one.new
        for one in differences(stored, restored.config)
        if one.key not in _CHANGES_NO_NUMBER and any(one.key.startswith(key) or key.startswith(one.key) for key in keys)
    }


def _told(
    restored: Restored, split: str, dataset: Dataset, result: Evaluation, record: Record, folder: Path | None
) -> dict[str, Any]:
    return {
        "checkpoint": str(restored.path),
        "split": split,
        "images": result.images,
        "skipped": [skip._asdict() for skip in dataset.skips],
        "seconds": round(result.seconds, 3),
        "metrics": result.metrics,
        "losses": result.losses,
        "unlabelled": result.unlabelled,
        "tables": result.tables,
        **told_of_record(record, folder, [*dataset.notes, *_not_measured(restored), *_as_val(split)]),
    }


def _as_val(split: str) -> list[str]:
    note = "the training images are looked at as those of val, without what a training changes at random"
    return [note] if split == "train" else []


def _not_measured(restored: Restored) -> list[str]:
    """What is left out for a model that another engine computes, and what is otherwise than for its checkpoint."""
    if not isinstance(restored.model, EngineModel):
        return []
    notes = ["the loss is not measured: it asks for maps of the net, which an exported file keeps to itself"]
    settings = restored.config.train
    precision = precision_on(settings, pick_device(settings.device))
    if "16" in precision:
        notes.append(
            f"the checkpoint is measured in {precision}, and this file is not: compare with train.precision=32-true"
        )
    return notes


def _refuse_unannotated(dataset: Dataset, split: str) -> None:
    if not dataset.annotated:
        message = f"its {len(dataset)} images have no annotations, so there is nothing to measure"
        remedy = f"toolkit predict makes results of them: give it {dataset.files(0)[0].parent}"
        raise DataError(Problem(f"data.{split}", message, remedy))


def _refuse_other_channels(config: Config, model: VisionModel, dataset: Dataset, split: str) -> None:
    """Raises ConfigError when the images of a split have not the channels that the model takes."""
    report = Report()
    if len(dataset):
        check_channels(report, config, model, dataset[0], split)
    report.stop_on_errors()

"""The record of a training's best weights on its validation images, written at its end."""

from __future__ import annotations

from typing import Any

from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.log import RunLog
from toolkit.engine.machine import environment
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.train import Trained
from toolkit.errors import DataError, UserError
from toolkit.jobs.assemble import Assembled, evaluation
from toolkit.jobs.build import build_evaluators
from toolkit.jobs.evaluate import class_table_of, measured, record_folder
from toolkit.jobs.record import Source, about_evaluation, made_record, makers_of, with_all_numbers, write_record
from toolkit.models.weights import load_into, read_weights, tensors_digest
from toolkit.report.evaluation.pictures import reader_of
from toolkit.results.record import Record


def record_best(fabric: Any, built: Assembled, folder: RunFolder, trained: Trained, log: RunLog) -> None:
    """Writes `evaluation/val` of a run: from its last evaluation where that was the best, else the best is measured again.

    A record of the same weights stays. What keeps it from being written is a line in the log: the training is done.

    Args:
        fabric: the processes that trained; the first writes.
        built: model and data; the model may get the best weights.
        folder: the run whose best weights are measured.
        trained: how the training ended, with its last evaluation.
        log: takes a line about where the record is.
    """
    try:
        result, digest = _best(fabric, built, folder, trained)
        if result is None or not fabric.is_global_zero:
            return
        path = record_folder(folder.best, "val", None) or folder.path / "evaluation" / "val"
        config, model, dataset = built.config, built.model, built.datasets["val"]
        command = ["toolkit", "evaluate", str(folder.path), "--split", "val"]
        source = Source(digest, None, {}, str(folder.best), command)
        about = about_evaluation(
            build_evaluators(config, model.classes), class_table_of(model, dataset), "val", source
        )  # fmt: skip
        about["environment"] = environment(str(fabric.device.type), config.seed)
        makers = makers_of(lambda: build_evaluators(config, model.classes))
        record = made_record(measured(result, dataset), about, config.data.group)
        write_record(path, with_all_numbers(record, makers), makers, reader_of(dataset), folder.path)
    except UserError as error:
        log.line(f"note       no record of the best weights: {error}; `toolkit evaluate {folder.path}` writes it")
        return
    log.line(f"record     of the best weights, step {trained.best['step']:.0f}: {path}")


def _best(fabric: Any, built: Assembled, folder: RunFolder, trained: Trained) -> tuple[Evaluation | None, str]:
    """An evaluation of the best weights, the same in all processes, and their digest; None where its record is there."""
    state, digest = fabric.broadcast(_read(folder) if fabric.is_global_zero else None)
    if fabric.broadcast(_recorded(folder) if fabric.is_global_zero else None) == digest:
        return None, digest
    last = trained.evaluation
    if last is not None and last.rows and trained.best["step"] == trained.step:
        return last, digest
    load_into(built.model, state, where=folder.best)
    config, dataset = built.config, built.datasets["val"]
    with StopRequest() as stop:
        looks = config.data.group is None
        result = evaluation(
            config, fabric, built.model, dataset, "val", stop, with_rows=True, with_looks=looks
        )  # fmt: skip
    return result, digest


def _read(folder: RunFolder) -> tuple[dict[str, Any], str]:
    state, _ = read_weights(folder.best)
    return state, tensors_digest(state)


def _recorded(folder: RunFolder) -> str | None:
    """Digest of the weights whose record is there."""
    try:
        about = Record.read(folder.path / "evaluation" / "val").about
    except DataError:
        return None
    return about.get("weights") if not about.get("options") else None

"""A whole training: what it begins with, everything it needs, its first screen, its steps."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from toolkit.config.load import own_code
from toolkit.config.plain import Difference, flattened, to_yaml
from toolkit.config.sections import Config
from toolkit.data.faults.skipped import skipped_text
from toolkit.data.loading.workers import worker_deaths_explained
from toolkit.data.splits.lists import write_lists
from toolkit.engine.interrupt import StopAtOnce
from toolkit.engine.log import RunLog
from toolkit.engine.loggers import open_loggers
from toolkit.engine.machine import environment
from toolkit.engine.process import explained, leave, make_fabric, precision_on
from toolkit.engine.run_folder import RunFolder, fresh_for_all
from toolkit.engine.train import train
from toolkit.jobs.assemble import Assembled, agreed_parts, agreed_table, assemble, build_job, with_batch_size
from toolkit.jobs.bad_samples import skip_table
from toolkit.jobs.build_data import build_transforms
from toolkit.jobs.check import check_settings, quick_check
from toolkit.jobs.conventions import as_trained
from toolkit.jobs.data_folders import refuse_run_in_data
from toolkit.jobs.data_of_a_run import data_noted
from toolkit.jobs.division import division_said
from toolkit.jobs.epochs import epochs_said
from toolkit.jobs.picture_cache import open_cache
from toolkit.jobs.record_best import record_best
from toolkit.jobs.resume import (
    NewRun,
    SavedRun,
    changes_of,
    compare_images,
    compare_precision,
    config_file_text,
    resolve,
    say_changes,
)
from toolkit.jobs.start_screen import announce


def run_training(
    config: Config,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    quiet: bool = False,
    root: str = "runs",
    trust_code: bool = False,
) -> dict[str, Any]:
    """Trains; returns {"run", "step", "metrics"}.

    Args:
        config: checked config of the training.
        run: folder of the run; None makes `ROOT/NAME`, with a number when that is used.
        resume: whether the run in that folder is continued in place, to the bit.
        allow_changes: whether it goes on although the config differs from the one the run began with.
        quiet: whether lines for people are kept off the terminal; the log file has them all the same.
        trust_code: whether code that the state of the run names (module:Class), but the config does not, may be imported.
        root: folder of runs without a folder of their own.

    Raises UserError (see `toolkit.errors`) for everything a user can mend, Interrupted after a saved stop.
    """
    fabric = make_fabric(config.train)
    base = Path(run) if run is not None else Path(root) / (config.name or "run")
    with explained(fabric), worker_deaths_explained(), StopAtOnce(), ExitStack() as folders:
        check_settings(config)
        trust = True if trust_code else own_code(config)
        begun = resolve(base, exact=run is not None, resume=resume, locked=fabric.is_global_zero, trust=trust)
        folders.enter_context(begun.folder)
        return _training(fabric, config, begun, folders, allow_changes=allow_changes, quiet=quiet)


def _training(
    fabric: Any, config: Config, run: NewRun | SavedRun, folders: ExitStack, *, allow_changes: bool, quiet: bool
) -> dict[str, Any]:
    """One process's part of a training. Everything that can fail for the user's reasons comes before the folder is made.

    folders: unlocks, at its end, those that are entered.
    """
    if isinstance(run, SavedRun):
        config = as_trained(config, run.state.conventions, run.folder.state)
    parts = agreed_parts(fabric, config, run.splits)
    skips = agreed_table(fabric, config, run.skipped, parts=parts)
    built = assemble(config, fresh=run.state is None, skips=skips, parts=parts)
    precision = precision_on(config.train, fabric.device.type)
    notes = _refuse_or_note(run, built, precision, allow_changes=allow_changes)
    if parts is not None:
        notes += division_said(config, parts, build_transforms(config, "train"))
    built, sized = with_batch_size(fabric, built, run.config)
    changes = [] if isinstance(run, NewRun) else changes_of(run, built.config, built.model, allowed=allow_changes)
    kept = open_cache(built.config, built.datasets, fabric.device, fabric.world_size)
    folder = run.folder
    if isinstance(run, NewRun):
        folder = folders.enter_context(fresh_for_all(fabric, folder, exact=run.exact))
    if fabric.is_global_zero:
        _write_records(folder, run, built, changes, str(fabric.device.type), precision)
        if parts is not None and not isinstance(run, SavedRun):
            write_lists(folder.splits, parts)
        folders.enter_context(data_noted(folder.data, built.datasets))
    log = RunLog(folder.metrics, folder.log, shown=fabric.is_global_zero, quiet=quiet)
    if folder.lock is not None and folder.lock.taken_from is not None:
        log.line(f"note       {folder.path} was locked by {folder.lock.taken_from}, which is gone")
    job = build_job(built.config, fabric, built.model, built.datasets, folder, log, to_yaml(built.config), kept)
    announce(log, built, fabric, run.state, folder, [*epochs_said(config, built.config), *notes, *sized, *kept.lines])
    if isinstance(run, SavedRun):
        say_changes(log, run, changes)
    names = built.config.train.loggers if log.shown else []
    step = run.state.step if run.state is not None else 0
    with log.sending(open_loggers(names, folder.path, flattened(built.config), step)):
        trained = train(fabric, job, built.config.train, run.state)
    log.line(f"done: {trained.step} steps; {folder.path}")
    if built.config.evaluate.record and job.evaluate is not None and trained.best:
        record_best(fabric, built, folder, trained, log)
    if trained.early and run.state is not None and trained.step == run.state.step:
        log.line("note       it had stopped early: more steps need a larger train.patience, with --allow-changes")
    for split, dataset in built.datasets.items():
        if dataset.skips:
            log.line(f"skipped    {split}: {skipped_text(dataset)}")
    leave(fabric)
    return {"run": str(folder.path), "step": trained.step, "metrics": trained.metrics}


def _refuse_or_note(run: NewRun | SavedRun, built: Assembled, precision: str, *, allow_changes: bool) -> list[str]:
    """What a training may be surprised by, as lines. Raises UserError for what is wrong."""
    if isinstance(run, SavedRun):
        told = compare_images(run, built.datasets, allowed=allow_changes) + compare_precision(run, precision)
        return [f"note       {text}" for text in told]
    refuse_run_in_data(run.folder.path, built.config, built.datasets)
    found = quick_check(built.config, built.model, built.datasets)
    found.stop_on_errors()
    again = ["note       the run ended before it saved anything: it starts from the beginning"] if run.again else []
    return [*(f"note       {problem.where}: {problem.message}" for problem in found.warnings), *again]


def _write_records(
    folder: RunFolder, run: NewRun | SavedRun, built: Assembled, changes: list[Difference], device: str, precision: str
) -> None:  # fmt: skip
    """What a run says of itself in its folder: config, environment, samples left out."""
    text = to_yaml(built.config)
    folder.write_text(folder.config, text if isinstance(run, NewRun) else config_file_text(run, changes, text))
    counts = {"images": {split: len(dataset) for split, dataset in built.datasets.items()}}
    folder.write_json(folder.environment, environment(device, built.config.seed) | counts | {"precision": precision})
    if built.config.data.on_bad == "skip":
        folder.write_json(folder.skipped, skip_table(built.datasets))

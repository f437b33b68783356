"""Whole jobs from a checked config: train, evaluate. What the command line calls, and what Python users may call."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from toolkit.config.plain import to_yaml
from toolkit.config.sections import Config
from toolkit.data.faults.skipped import skipped_text
from toolkit.data.loading.workers import worker_deaths_explained
from toolkit.engine.interrupt import StopAtOnce
from toolkit.engine.log import RunLog
from toolkit.engine.machine import environment
from toolkit.engine.process import explained, leave, make_fabric
from toolkit.engine.run_folder import RunFolder, fresh_for_all
from toolkit.engine.train import train
from toolkit.jobs.assemble import agreed_table, assemble, build_job, with_batch_size
from toolkit.jobs.bad_samples import skip_table
from toolkit.jobs.before_training import check_before_training
from toolkit.jobs.check import quick_check
from toolkit.jobs.data_folders import refuse_run_in_data
from toolkit.jobs.resume import changes_of, config_file_text, saved_run, say_changes
from toolkit.jobs.sent_elsewhere import sent_elsewhere
from toolkit.jobs.start_screen import introduce, say_start
from toolkit.preflight.findings import Report


def run_training(
    config: Config,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    quiet: bool = False,
    root: str = "runs",
) -> dict[str, Any]:
    """Trains; returns {"run", "step", "metrics"}.

    run: the folder; None makes `runs/NAME`, with a number when that is used. resume: continue in place.
    allow_changes: although the config differs from the one the run began with. Raises UserError (see `toolkit.errors`)
    for everything a user can mend, Interrupted after a saved stop.
    """
    fabric = make_fabric(config.train)
    base = Path(run) if run is not None else Path(root) / (config.name or "run")
    with explained(fabric), worker_deaths_explained(), StopAtOnce(), ExitStack() as at_the_end:
        return _training(fabric, config, base, run is not None, resume, allow_changes, quiet, at_the_end)


def _training(
    fabric: Any,
    config: Config,
    base: Path,
    exact: bool,
    resume: bool,
    allow_changes: bool,
    quiet: bool,
    at_the_end: ExitStack,
) -> dict[str, Any]:
    """One process's part of a training, in the folder `base` or, unless `exact`, one numbered after it."""
    check_before_training(config)
    saved = None
    if resume:
        folder = RunFolder.to_continue(base, exact=exact, locked=fabric.is_global_zero)
        at_the_end.enter_context(folder)
        saved = saved_run(folder)
    state = saved.state if saved is not None else None
    # Everything that can fail for the user's reasons comes before the folder is made.
    skips = agreed_table(fabric, config, saved.folder.skipped if saved is not None and state is not None else None)
    built = assemble(config, fresh=state is None, skips=skips)
    config, model, datasets = built.config, built.model, built.datasets
    if saved is None:
        refuse_run_in_data(base, config, datasets)
    found = quick_check(config, model, datasets) if state is None else Report()
    found.stop_on_errors()
    built, sized = with_batch_size(fabric, built, saved.config if saved is not None else None)
    config = built.config
    changes = changes_of(saved, config, model, allowed=allow_changes) if saved is not None else []
    folder = saved.folder if saved is not None else RunFolder(base)
    if state is None:
        folder = fresh_for_all(fabric, folder, exact=exact or saved is not None)
        at_the_end.enter_context(folder)
    log = RunLog(folder.metrics, folder.log, shown=fabric.is_global_zero, quiet=quiet)
    if folder.lock is not None and folder.lock.taken_from is not None:
        log.line(f"note       {folder.path} was locked by {folder.lock.taken_from}, which is gone")
    text = to_yaml(config)
    if fabric.is_global_zero:
        folder.write_text(folder.config, config_file_text(saved, changes, text))
        folder.write_json(folder.environment, environment(str(fabric.device.type), config.seed))
        if config.data.on_bad == "skip":
            folder.write_json(folder.skipped, skip_table(datasets))
    job = build_job(config, fabric, model, datasets, folder, log, text)
    introduce(log, config, model, datasets, fabric, state, folder)
    for problem in found.warnings:
        log.line(f"note       {problem.where}: {problem.message}")
    for line in sized:
        log.line(line)
    say_start(log, config, built.taken, built.weights)
    if saved is not None:
        say_changes(log, saved, changes)
    with sent_elsewhere(log, config, folder, state):
        trained = train(fabric, job, config.train, state)
    log.line(f"done: {trained.step} steps; {folder.path}")
    if trained.early and state is not None and trained.step == state.step:
        log.line("note       it had stopped early: more steps need a larger train.patience, with --allow-changes")
    for split, dataset in datasets.items():
        if dataset.skips:
            log.line(f"skipped    {split}: {skipped_text(dataset)}")
    leave(fabric)
    return {"run": str(folder.path), "step": trained.step, "metrics": trained.metrics}

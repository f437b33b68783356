"""Short works on a training config that train nothing to keep: dry run, one batch overfitted, learning rate, replay."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from toolkit.config.load import parse_config
from toolkit.config.plain import to_yaml
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import eval_loader
from toolkit.engine.checkpoint import load_state
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.finite import load_bad_batch
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log import RunLog
from toolkit.engine.lr_finder import RangeTest, find_learning_rate
from toolkit.engine.overfit import overfit
from toolkit.engine.prepare import trained_module
from toolkit.engine.process import leave, make_fabric
from toolkit.engine.replay import replay
from toolkit.engine.run_folder import RunFolder, fresh_for_all
from toolkit.engine.train import train
from toolkit.errors import listed
from toolkit.jobs.assemble import Assembled, assemble, build_job, evaluation, with_batch_size
from toolkit.jobs.build import build_model, with_train_settings
from toolkit.jobs.build_data import build_transforms
from toolkit.jobs.check import check_settings
from toolkit.jobs.data_folders import refuse_run_in_data
from toolkit.jobs.restore import restore
from toolkit.labels import ClassTable, default_palette
from toolkit.report.charts import rate_curve, rate_lines
from toolkit.report.page import write_drawing

OVERFIT_STEPS = 100


def dry_run(config: Config, *, quiet: bool = False) -> dict[str, Any]:
    """One step of everything: a training step, an evaluated batch, files saved, loaded, and a picture predicted.

    In a temporary folder, of which nothing is left. Returns {"ok", "seconds", "loss", "metrics", "predicted"}; raises
    UserError as the training would.
    """
    check_settings(config)
    began = time.monotonic()
    short = with_train_settings(
        config, steps=1, epochs=None, log_every=1, evaluate_every=None, save_every=None, loggers=[], patience=None,
        warmup_steps=0, freeze_until={}, recompute_bn=min(config.train.recompute_bn, 1),
    )  # fmt: skip
    fabric, folder, log = _temporary(short, quiet)
    try:
        built, _ = with_batch_size(fabric, assemble(short))
        job = _job(built, fabric, folder, log)
        if job.evaluate is not None:
            job.evaluate = _one_batch(built, fabric)
        trained = train(fabric, job, short.train, None)
        load_state(folder.state)
        name = _predict_one(folder.last, built.datasets.get("val") or built.datasets["train"])
        events = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    finally:
        fabric.barrier()
        if fabric.is_global_zero:
            shutil.rmtree(folder.path, ignore_errors=True)
    seconds = round(time.monotonic() - began, 1)
    RunLog(None, None, shown=fabric.is_global_zero, quiet=quiet).line(
        f"dry run    ok: one step, one evaluated batch, saved, loaded, {name} predicted, in {seconds} s; nothing is kept"
    )
    leave(fabric)
    loss = next(event["loss"] for event in events if "loss" in event)
    return {"ok": True, "seconds": seconds, "loss": loss, "metrics": trained.metrics, "predicted": name}


def overfit_batch(config: Config, *, quiet: bool = False, steps: int | None = None) -> dict[str, Any]:
    """Trains on the first batch only; returns {"ok", "steps", "first", "last", "losses", "images"}.

    ok: whether the loss lost at least a tenth.

    Args:
        config: the config of the training.
        quiet: whether nothing is said on stderr.
        steps: number of steps; None means 100, or `train.steps` when that is smaller.
    """
    steps = steps or min(OVERFIT_STEPS, config.train.steps or OVERFIT_STEPS)
    fabric, folder, log = _temporary(config, quiet)
    try:
        job = _job(with_batch_size(fabric, assemble(config))[0], fabric, folder, log)
        result = overfit(fabric, job, config.train, steps)
    finally:
        fabric.barrier()
        if fabric.is_global_zero:
            shutil.rmtree(folder.path, ignore_errors=True)
    job.log.line(f"batch      {', '.join(result.names)}")
    for place in sorted({0, *range(9, steps, max(1, steps // 10)), steps - 1}):
        job.log.line(f"step {place + 1:4d}  loss {result.losses[place]:.4f}")
    share = 100 * result.last / result.first if result.first else 100.0
    verdict = "falls: the model can learn this batch" if result.falls else (
        "does not fall: look at the labels of this batch (toolkit check --preview), the learning rate and what is frozen"
    )  # fmt: skip
    job.log.line(
        f"the loss went from {result.first:.4f} to {result.last:.4f} ({share:.0f} %) in {steps} steps; it {verdict}"
    )
    leave(fabric)
    return {
        "ok": result.falls, "steps": steps, "first": result.first, "last": result.last,
        "losses": result.losses, "images": list(result.names),
    }  # fmt: skip


def find_lr(
    config: Config, run: str | Path | None = None, *, quiet: bool = False, root: str = "runs", steps: int = 100
) -> dict[str, Any]:
    """A learning-rate range test on a throw-away copy; returns {"run", "suggestion", "rates", "losses", "smoothed"}.

    Args:
        config: the config of the training.
        run: fresh folder for `learning_rates.json` and `learning_rates.svg`; None makes `runs/NAME-find-lr`.
        quiet: whether nothing is said on stderr.
        root: folder for run folders, where `run` is None.
        steps: number of steps, each with a larger rate.
    """
    config = with_train_settings(config, steps=max(steps, config.train.steps), epochs=None)
    fabric = make_fabric(config.train)
    built, _ = with_batch_size(fabric, assemble(config))
    base = Path(run) if run is not None else Path(root) / f"{config.name or 'run'}-find-lr"
    refuse_run_in_data(base, built.config, built.datasets)
    log = RunLog(None, None, shown=fabric.is_global_zero, quiet=quiet)
    with fresh_for_all(fabric, RunFolder(base), exact=run is not None) as folder:
        result = find_learning_rate(fabric, _job(built, fabric, folder, log), config.train, steps)
        _tell_rates(fabric, folder, log, config, result)
    leave(fabric)
    return {"run": str(folder.path), **result._asdict()}


def _tell_rates(fabric: Any, folder: RunFolder, log: RunLog, config: Config, result: RangeTest) -> None:
    """The curve as JSON and as a picture, and the suggestion on the screen."""
    for line in rate_lines(result.rates, result.smoothed, result.suggestion):
        log.line(line)
    if fabric.is_global_zero:
        numbers = [{"lr": lr, "loss": _plain(a), "smoothed": _plain(b)} for lr, a, b in zip(*result[:3], strict=True)]
        folder.write_json(folder.path / "learning_rates.json", {"suggestion": result.suggestion, "curve": numbers})
        picture = folder.path / "learning_rates.svg"
        write_drawing(picture, rate_curve(result.rates, result.losses, result.smoothed, result.suggestion))
    if result.suggestion is None:
        log.line("the loss did not fall at any rate: try --overfit-batch, which shows whether the model learns at all")
    else:
        optimizer, rate = config.train.optimizer.name, result.suggestion
        log.line(f"suggestion train.optimizer.lr={rate:.2g} for {optimizer} ({folder.path / 'learning_rates.svg'})")


def replay_batch(
    file: str | Path, overrides: Sequence[str] = (), *, quiet: bool = False, trust: bool | Container[str] = False
) -> dict[str, Any]:
    """The step of a saved batch once more; returns {"step", "saved", "terms", "module", "parameters", "gradients"}.

    Args:
        file: `nonfinite_batch.state` of a run folder, which carries the config.
        overrides: changes of that config, each `key=value`.
        quiet: whether nothing is said on stderr.
        trust: names of the form module:Class in the file that may be imported (see `parse_config`).
    """
    bad = load_bad_batch(Path(file))
    config = with_train_settings(
        parse_config(bad.config, f"{file} (config)", overrides, trust=trust),
        devices=1, nodes=1, compile=False, recompute="none", sync_bn=False,
    )  # fmt: skip
    fabric = make_fabric(config.train)
    table = ClassTable(tuple(bad.classes), default_palette(len(bad.classes)))
    model = build_model(config, pretrained=False, classes=table)
    module = fabric.setup(trained_module(fabric, model, config.train))
    result = replay(fabric, module, bad, config.train)
    log = RunLog(None, None, quiet=quiet)
    log.line(f"batch      of step {bad.step + 1}: {', '.join(bad.batch.names)}")
    log.line(f"saved      {_shown(bad.terms)}")
    log.line(f"replayed   {_shown(result.terms)}")
    if result.parameters:
        log.line(f"weights    not finite already: {listed(result.parameters, 8)}")
    if result.module:
        log.line(f"first      output that is not finite: {result.module}")
    elif result.gradients:
        log.line(f"gradient   not finite: {listed(result.gradients, 8)}")
    elif not result.finite:
        log.line("first      no module's output: it is the loss itself")
    else:
        log.line("finite     this time: another precision or device, or other gradients of an accumulated step")
    return {"step": bad.step + 1, "saved": _finite(bad.terms), **result._asdict(), "terms": _finite(result.terms)}


def _temporary(config: Config, quiet: bool) -> tuple[Any, RunFolder, RunLog]:
    """A run folder that is thrown away, the same in all processes."""
    fabric = make_fabric(config.train)
    path = tempfile.mkdtemp(prefix="toolkit-") if fabric.is_global_zero else None
    folder = RunFolder(Path(fabric.broadcast(path)))
    return fabric, folder, RunLog(folder.metrics, None, shown=fabric.is_global_zero, quiet=quiet)


def _job(built: Assembled, fabric: Any, folder: RunFolder, log: RunLog) -> Job:
    job = build_job(built.config, fabric, built.model, built.datasets, folder, log, to_yaml(built.config))
    job.kept = False
    return job


def _one_batch(built: Assembled, fabric: Any) -> Callable[..., Any]:
    size = built.config.evaluate.batch_size or built.config.data.batch_images
    whole = built.datasets["val"]
    samples = whole.subset(range(min(len(whole), size * fabric.world_size)))

    def evaluate(stop: StopRequest | None, *, last: bool = False) -> Evaluation:
        return evaluation(built.config, fabric, built.model, samples, "val", stop)

    return evaluate


def _predict_one(weights: Path, dataset: Dataset) -> str:
    """Loads a weights file as a user would, and predicts the first picture."""
    restored = restore(weights, trust_code=True)  # of this very run
    split = "val" if restored.config.data.val is not None else "train"
    transforms = [one for one in build_transforms(restored.config, split) if not (one.random or one.moves)]
    batch = next(iter(eval_loader(dataset.subset([0]), transforms)))
    restored.model.predict(batch._replace(truths=()))
    return batch.names[0]


def _shown(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in terms.items())


def _finite(terms: dict[str, float]) -> dict[str, float | str]:
    return {name: _plain(value) for name, value in terms.items()}


def _plain(value: float) -> float | str:
    """JSON has no word for inf and nan."""
    return value if value - value == 0 else str(value)

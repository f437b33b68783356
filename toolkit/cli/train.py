"""`toolkit train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.options import config_argument, json_option, print_json, trust_option

if TYPE_CHECKING:
    from toolkit.config.sections import Config


@click.command("train", epilog="Example: toolkit train configs/tiny/unet_shapes.yaml train.steps=300 --run runs/first")
@config_argument
@click.option(
    "--run",
    "--run-folder",
    type=click.Path(),
    help="Run folder; default runs/NAME, with a number when that is used. torchrun needs the long name.",
)
@click.option("--resume", is_flag=True, help="Continue in place: the run is the uninterrupted run, to the bit.")
@click.option("--allow-changes", is_flag=True, help="With --resume: although the config is not the one it began with.")
@click.option("--dry-run", is_flag=True, help="One step of everything, in a temporary folder; keeps nothing.")
@click.option("--overfit-batch", is_flag=True, help="Train on one batch only: does the loss fall? Keeps nothing.")
@click.option("--find-lr", is_flag=True, help="Try rising learning rates on a copy, show the curve, suggest one.")
@click.option("--replay", type=click.Path(), help="Run a saved batch whose loss was not finite once more.")
@trust_option
@json_option
def command(
    config: Config, overrides: tuple[str, ...], run: str | None, resume: bool, allow_changes: bool, dry_run: bool,
    overfit_batch: bool, find_lr: bool, replay: str | None, trust_code: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train a model, or continue a training.

    key=value arguments override the config: train.steps=100 data.batch_size=2
    """
    from toolkit.config.load import own_code
    from toolkit.jobs import diagnostics
    from toolkit.jobs.train import run_training

    if allow_changes and not resume:
        raise click.UsageError(
            "--allow-changes goes with --resume: it lets the config differ from the one a run began with"
        )
    aids = {"--dry-run": dry_run, "--overfit-batch": overfit_batch, "--find-lr": find_lr, "--replay": replay}
    chosen = [name for name, given in aids.items() if given]
    if len(chosen) + resume > 1:
        raise click.UsageError(f"{' and '.join([*chosen, *(['--resume'] if resume else [])])} do not go together")
    if run is not None and chosen and not find_lr:
        raise click.UsageError(f"--run does not go with {chosen[0]}, which keeps nothing")
    if dry_run:
        result = diagnostics.dry_run(config)
    elif overfit_batch:
        result = diagnostics.overfit_batch(config)
    elif find_lr:
        result = diagnostics.find_lr(config, run)
    elif replay is not None:
        result = diagnostics.replay_batch(replay, overrides, trust=trust_code or own_code(config))
    else:
        result = run_training(config, run, resume=resume, allow_changes=allow_changes, trust_code=trust_code)
    if as_json:
        print_json(result)
    if not result.get("ok", True):
        click.get_current_context().exit(1)

"""`toolkit train`."""

from __future__ import annotations

import click

from toolkit.cli.options import config_argument, json_option, print_json


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
@json_option
def command(
    config: str, overrides: tuple[str, ...], run: str | None, resume: bool, allow_changes: bool, as_json: bool
) -> None:
    """Train a model, or continue a training.

    key=value arguments override the config: train.steps=100 data.batch_size=2
    """
    from toolkit.config.jobs import run_training
    from toolkit.config.load import load_config
    from toolkit.engine.peers import is_first_process

    if allow_changes and not resume:
        raise click.UsageError(
            "--allow-changes goes with --resume: it lets the config differ from the one a run began with"
        )
    result = run_training(load_config(config, overrides), run, resume=resume, allow_changes=allow_changes)
    if as_json and is_first_process():
        print_json(result)
